//! What CMS answers.

use chrono::NaiveDate;
use swifttrack_adapters::soap::{Decode, Element, Encode, Invalid, Writer};

use super::{NAMESPACE, fixed, words};
use crate::cms::Money;

/// The contract that covers an order. Its status is SUCCESS and its billing APPROVED; anything else is a fault.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VerifyContractResponse {
    /// Names the contract.
    pub contract_id: String,
    /// What the order will cost.
    pub estimated_cost: Money,
    /// In which currency, such as LKR.
    pub currency: String,
    /// What the client may still spend.
    pub remaining_credit: Money,
    /// The last day of the contract.
    pub valid_until: NaiveDate,
    /// Whether this is an earlier answer once more.
    pub replayed: bool,
}

/// What a cancel found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelState {
    /// A contract, which is now cancelled.
    Cancelled,
    /// A contract that had been cancelled before.
    AlreadyCancelled,
    /// None; and none can come any more.
    Tombstoned,
}

words!(CancelState {
    Cancelled = "CANCELLED",
    AlreadyCancelled = "ALREADY_CANCELLED",
    Tombstoned = "TOMBSTONED",
});

/// What a cancel did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CancelContractResponse {
    /// What it found.
    pub state: CancelState,
}

/// How an order stands with CMS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContractState {
    /// CMS knows nothing of it.
    None,
    /// It has a contract.
    Verified,
    /// It was cancelled, whether it had one or not.
    Cancelled,
}

words!(ContractState {
    None = "NONE",
    Verified = "VERIFIED",
    Cancelled = "CANCELLED",
});

/// How an order stands, and by which contract.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GetContractResponse {
    /// How it stands.
    pub state: ContractState,
    /// The contract, if there is or was one.
    pub contract_id: Option<String>,
}

/// Any of the three.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Response {
    /// To a verify.
    Verify(VerifyContractResponse),
    /// To a cancel.
    Cancel(CancelContractResponse),
    /// To a get.
    Get(GetContractResponse),
}

impl Encode for Response {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Verify(response) => response.encode(out),
            Self::Cancel(response) => response.encode(out),
            Self::Get(response) => response.encode(out),
        }
    }
}

impl Decode for VerifyContractResponse {
    fn decode(e: &mut Element<'_, '_>) -> Result<Option<Self>, Invalid> {
        if !e.named(NAMESPACE, "VerifyContractResponse") {
            return Ok(None);
        }
        fixed(e, "Status", "SUCCESS")?;
        let contract_id = e.string("ContractId")?;
        fixed(e, "BillingStatus", "APPROVED")?;
        Ok(Some(Self {
            contract_id,
            estimated_cost: e.value("EstimatedCost")?,
            currency: e.string("Currency")?,
            remaining_credit: e.value("RemainingCredit")?,
            valid_until: e.value("ValidUntil")?,
            replayed: e.child("Replayed", |e| boolean(&e.content()?))?,
        }))
    }
}

impl Encode for VerifyContractResponse {
    fn encode(&self, out: &mut Writer) {
        out.element("c:VerifyContractResponse", |out| {
            out.text("c:Status", "SUCCESS");
            out.text("c:ContractId", &self.contract_id);
            out.text("c:BillingStatus", "APPROVED");
            out.value("c:EstimatedCost", self.estimated_cost);
            out.text("c:Currency", &self.currency);
            out.value("c:RemainingCredit", self.remaining_credit);
            out.value("c:ValidUntil", self.valid_until);
            out.value("c:Replayed", self.replayed);
        });
    }
}

impl Decode for CancelContractResponse {
    fn decode(e: &mut Element<'_, '_>) -> Result<Option<Self>, Invalid> {
        if !e.named(NAMESPACE, "CancelContractResponse") {
            return Ok(None);
        }
        let state = e.value("State")?;
        Ok(Some(Self { state }))
    }
}

impl Encode for CancelContractResponse {
    fn encode(&self, out: &mut Writer) {
        out.element("c:CancelContractResponse", |out| {
            out.text("c:State", self.state.as_str());
        });
    }
}

impl Decode for GetContractResponse {
    fn decode(e: &mut Element<'_, '_>) -> Result<Option<Self>, Invalid> {
        if !e.named(NAMESPACE, "GetContractResponse") {
            return Ok(None);
        }
        Ok(Some(Self {
            state: e.value("State")?,
            contract_id: e.string_opt("ContractId")?,
        }))
    }
}

impl Encode for GetContractResponse {
    fn encode(&self, out: &mut Writer) {
        out.element("c:GetContractResponse", |out| {
            out.text("c:State", self.state.as_str());
            out.text_opt("c:ContractId", self.contract_id.as_deref());
        });
    }
}

/// An `xsd:boolean`, which Rust's own parser does not know whole.
fn boolean(text: &str) -> Result<bool, Invalid> {
    match text.trim() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Invalid::new("Replayed is neither true nor false")),
    }
}
