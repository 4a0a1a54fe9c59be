//! Who may order, and for how much.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::Money;
use super::message::{Code, Priority, VerifyContractRequest};
use crate::ledger::Books;

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Active,
    Suspended,
    Expired,
}

/// A load test of a million orders, all at the highest price, spends a hundredth of it.
const PLENTY: Money = Money::hundredths(1_000_000_000_000_000);

const CLIENTS: [(&str, Standing, Money); 7] = [
    ("CLIENT-001", Standing::Active, PLENTY),
    ("CLIENT-002", Standing::Active, PLENTY),
    ("client-123", Standing::Active, PLENTY),
    ("TEST-CLIENT", Standing::Active, PLENTY),
    ("CLIENT-003", Standing::Suspended, PLENTY),
    ("CLIENT-EXPIRED", Standing::Expired, PLENTY),
    ("CLIENT-POOR", Standing::Active, Money::units(100)),
];

/// A client that is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Client(usize);

impl From<Client> for String {
    fn from(client: Client) -> Self {
        CLIENTS[client.0].0.to_owned()
    }
}

impl TryFrom<String> for Client {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::find(&name).ok_or("no such client")
    }
}

impl Client {
    fn find(name: &str) -> Option<Self> {
        CLIENTS.iter().position(|client| client.0 == name).map(Self)
    }
}

/// Credit that an order holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credit {
    client: Client,
    hundredths: i64,
}

/// The contract that was answered first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Contract {
    pub(crate) contract_id: String,
    pub(crate) cost: i64,
    pub(crate) remaining: i64,
    pub(crate) valid_until: NaiveDate,
}

/// What each client has left.
#[derive(Debug)]
pub(crate) struct Accounts([i64; CLIENTS.len()]);

impl Accounts {
    pub(crate) const fn new() -> Self {
        let mut left = [0; CLIENTS.len()];
        let mut client = 0;
        while client < CLIENTS.len() {
            left[client] = CLIENTS[client].2.as_hundredths();
            client += 1;
        }
        Self(left)
    }

    /// What the order would hold, and what its client has left then.
    pub(crate) fn price(&self, order: &VerifyContractRequest) -> Result<(Credit, i64), Code> {
        let client = Client::find(&order.client_id).ok_or(Code::InvalidClientId)?;
        match CLIENTS[client.0].1 {
            Standing::Active => {}
            Standing::Suspended => return Err(Code::ClientSuspended),
            Standing::Expired => return Err(Code::ContractExpired),
        }
        let hundredths = cost(order).as_hundredths();
        let remaining = self.0[client.0] - hundredths;
        if remaining < 0 {
            return Err(Code::CreditLimitExceeded);
        }
        Ok((Credit { client, hundredths }, remaining))
    }
}

impl Credit {
    pub(crate) const fn hundredths(self) -> i64 {
        self.hundredths
    }
}

impl Books for Accounts {
    type Hold = Credit;
    type Answer = Contract;

    fn take(&mut self, credit: &Credit) {
        self.0[credit.client.0] -= credit.hundredths;
    }

    fn give_back(&mut self, credit: Credit) {
        self.0[credit.client.0] += credit.hundredths;
    }
}

/// 250 a line, 150 an address, 500 for haste.
fn cost(order: &VerifyContractRequest) -> Money {
    let lines = 250 * order.packages.len() as i64;
    let addresses = 150 * order.delivery_addresses.len() as i64;
    let haste = match order.priority {
        Priority::Urgent => 500,
        Priority::Standard | Priority::High => 0,
    };
    Money::hundredths(100 * (lines + addresses + haste))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cms::message::Package;
    use std::num::NonZeroU32;

    fn order(
        client: &str,
        lines: usize,
        addresses: usize,
        priority: Priority,
    ) -> VerifyContractRequest {
        let package = Package {
            sku: "ITEM-001".into(),
            description: None,
            quantity: NonZeroU32::MIN,
            priority: None,
        };
        VerifyContractRequest {
            order_id: "ORD-1".into(),
            client_id: client.into(),
            priority,
            packages: vec![package; lines],
            delivery_addresses: vec!["1 Main Street".into(); addresses],
        }
    }

    #[test]
    fn an_order_costs_what_the_price_list_says() {
        for (lines, addresses, priority, units) in [
            (1, 1, Priority::Standard, 400),
            (3, 2, Priority::High, 1050),
            (2, 1, Priority::Urgent, 1150),
        ] {
            let order = order("CLIENT-001", lines, addresses, priority);
            let (credit, _) = Accounts::new().price(&order).unwrap();
            assert_eq!(credit.hundredths(), units * 100);
        }
    }

    #[test]
    fn each_client_is_answered_by_its_standing() {
        for (client, refusal) in [
            ("CLIENT-001", None),
            ("CLIENT-002", None),
            ("client-123", None),
            ("TEST-CLIENT", None),
            ("CLIENT-003", Some(Code::ClientSuspended)),
            ("CLIENT-EXPIRED", Some(Code::ContractExpired)),
            ("CLIENT-POOR", Some(Code::CreditLimitExceeded)),
            ("client-001", Some(Code::InvalidClientId)),
            ("", Some(Code::InvalidClientId)),
        ] {
            let order = order(client, 1, 1, Priority::Standard);
            assert_eq!(Accounts::new().price(&order).err(), refusal, "{client}");
        }
    }

    #[test]
    fn credit_that_is_given_back_is_there_again() {
        let mut accounts = Accounts::new();
        let order = order("TEST-CLIENT", 1, 1, Priority::Standard);
        let (first, left) = accounts.price(&order).unwrap();
        accounts.take(&first);
        let (second, less) = accounts.price(&order).unwrap();
        assert_eq!(less, left - second.hundredths());
        accounts.give_back(first);
        assert_eq!(accounts.price(&order).unwrap().1, left);
    }
}
