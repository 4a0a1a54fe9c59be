//! Steps for definitions that must not compile.

#![allow(dead_code)] // each case uses some

use serde::{Deserialize, Serialize};
use swifttrack_saga::{
    Attempt, Compensate, Evidence, ForwardError, ForwardStep, NotYet, Signal, Step, StepError,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewOrder {
    pub id: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Contract;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Packages;

pub const PICKED_UP: Signal<String> = Signal::new("picked-up");

/// Takes the order.
pub struct VerifyContract;

impl Step for VerifyContract {
    const NAME: &'static str = "verify-contract";
    type In = NewOrder;
    type Out = Contract;

    async fn run(&self, _: &Attempt, _: &NewOrder) -> Result<Contract, StepError> {
        Ok(Contract)
    }
}

impl Compensate for VerifyContract {
    async fn undo(
        &self,
        _: &Attempt,
        _: &NewOrder,
        _: Evidence<&Contract>,
    ) -> Result<(), NotYet> {
        Ok(())
    }
}

/// Takes the order and its contract.
pub struct RegisterPackages;

impl Step for RegisterPackages {
    const NAME: &'static str = "register-packages";
    type In = (NewOrder, Contract);
    type Out = Packages;

    async fn run(&self, _: &Attempt, _: &Self::In) -> Result<Packages, StepError> {
        Ok(Packages)
    }
}

impl Compensate for RegisterPackages {
    async fn undo(
        &self,
        _: &Attempt,
        _: &Self::In,
        _: Evidence<&Packages>,
    ) -> Result<(), NotYet> {
        Ok(())
    }
}

/// Has no undo.
pub struct ChargeCard;

impl Step for ChargeCard {
    const NAME: &'static str = "charge-card";
    type In = NewOrder;
    type Out = Contract;

    async fn run(&self, _: &Attempt, _: &NewOrder) -> Result<Contract, StepError> {
        Ok(Contract)
    }
}

/// Succeeds if it is only repeated.
pub struct SendReceipt;

impl ForwardStep for SendReceipt {
    const NAME: &'static str = "send-receipt";
    type In = NewOrder;
    type Out = ();

    async fn run(&self, _: &Attempt, _: &NewOrder) -> Result<(), ForwardError> {
        Ok(())
    }
}
