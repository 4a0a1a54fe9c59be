//! The three partners, each behind the same trait.
//!
//! A file a partner: its messages mapped to and from the words below. What may
//! be retried and what is undone is not decided here but by the saga.

mod cms;
mod ros;
#[cfg(test)]
mod tests;
mod wms;

use serde::{Deserialize, Serialize};

pub use self::cms::CmsAdapter;
pub use self::ros::RosAdapter;
pub use self::wms::WmsAdapter;

/// How to name an order's effect at a partner, to ask about it or to take it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The order.
    pub order_id: String,
    /// The partner's own id of the effect, when it is known: a contract, a package.
    pub partner_id: Option<String>,
    /// Why it is taken back.
    pub reason: String,
}

/// What the contract system gives. As it stands in events and in `partners.cms`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contract {
    /// Its id of the contract.
    pub contract_id: String,
    /// In the currency's units, with two places.
    pub estimated_cost: f64,
    /// ISO 4217.
    pub currency: String,
}

/// What the warehouse gives. As it stands in events and in `partners.wms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// Its id of the packages.
    pub package_id: String,
    /// The zone where they stand.
    pub location: String,
}

/// What the route optimizer gives. As it stands in events and in `partners.ros`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Its id of the route.
    pub route_id: String,
    /// How long it takes.
    pub eta_minutes: u32,
    /// Which vehicle.
    pub assigned_vehicle: String,
}
