//! Orders, each with the end that it must come to.

use serde_json::{Value, json};

/// An order that every partner takes.
pub(crate) fn good(id: &str) -> Value {
    json!({
        "id": id,
        "clientId": "CLIENT-001",
        "priority": "STANDARD",
        "packages": [
            {"sku": "ITEM-001", "description": "Product Description", "quantity": 2, "priority": "STANDARD"}
        ],
        "deliveryAddresses": ["123 Main Street, City, Country"],
    })
}

/// What a partner refuses, and how the order must end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    /// The step that fails.
    pub(crate) step: &'static str,
    /// The partners that had done their part by then, in order.
    pub(crate) undone: &'static [&'static str],
    spoil: fn(&mut Value),
}

impl Refusal {
    pub(crate) fn order(&self, id: &str) -> Value {
        let mut order = good(id);
        (self.spoil)(&mut order);
        order
    }
}

/// One for each kind of refusal that the partners document.
pub(crate) const REFUSALS: [Refusal; 6] = [
    Refusal {
        code: "CLIENT_SUSPENDED",
        step: "CMS_VERIFICATION",
        undone: &[],
        spoil: |order| order["clientId"] = json!("CLIENT-003"),
    },
    Refusal {
        code: "CONTRACT_EXPIRED",
        step: "CMS_VERIFICATION",
        undone: &[],
        spoil: |order| order["clientId"] = json!("CLIENT-EXPIRED"),
    },
    Refusal {
        code: "CREDIT_LIMIT_EXCEEDED",
        step: "CMS_VERIFICATION",
        undone: &[],
        spoil: |order| order["clientId"] = json!("CLIENT-POOR"),
    },
    Refusal {
        code: "INVALID_SKU",
        step: "WMS_REGISTRATION",
        undone: &["CMS"],
        spoil: |order| order["packages"][0]["sku"] = json!("NO-SUCH-THING"),
    },
    Refusal {
        code: "INVENTORY_SHORTAGE",
        step: "WMS_REGISTRATION",
        undone: &["CMS"],
        spoil: |order| {
            order["packages"][0]["sku"] = json!("SKU-LOW");
            order["packages"][0]["quantity"] = json!(3);
        },
    },
    Refusal {
        code: "UNKNOWN_ZONE",
        step: "ROS_OPTIMIZATION",
        undone: &["CMS", "WMS"],
        spoil: |order| order["deliveryAddresses"] = json!(["RESTRICTED area 7"]),
    },
];

/// The events of an order that runs through.
pub(crate) const HAPPY_PATH: [&str; 9] = [
    "ORDER_ACCEPTED",
    "DISTRIBUTED_TRANSACTION_START",
    "CMS_VERIFICATION_STARTED",
    "CMS_VERIFIED",
    "WMS_REGISTRATION_STARTED",
    "WMS_REGISTERED",
    "ROS_OPTIMIZATION_STARTED",
    "ROS_OPTIMIZED",
    "ORDER_READY_FOR_DELIVERY",
];
