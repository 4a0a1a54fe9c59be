//! The bodies that go over the wire.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How soon an order, or one of its packages, is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Priority {
    /// In its turn.
    #[default]
    Standard,
    /// Before the others.
    High,
    /// At once.
    Urgent,
}

/// The body of `PUT /v1/orders/{orderId}/route`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteRequest {
    /// Who sends.
    pub client_id: String,
    /// How soon.
    #[serde(default)]
    pub priority: Priority,
    /// What.
    #[serde(default)]
    pub packages: Vec<Package>,
    /// Where to, in any order: finding the order is the partner's work.
    #[serde(default)]
    pub delivery_addresses: Vec<String>,
}

/// One line of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Package {
    /// The article.
    pub sku: String,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How many pieces.
    #[serde(default = "one")]
    pub quantity: u32,
    /// How soon.
    #[serde(default)]
    pub priority: Priority,
}

const fn one() -> u32 {
    1
}

/// The answer to it, and to `GET` on the same path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The order.
    pub order_id: String,
    /// The route's own name.
    pub route_id: String,
    /// Minutes until the last stop.
    pub eta_minutes: u32,
    /// Length of the whole route, to 100 m.
    pub total_distance_km: f64,
    /// Who drives.
    pub assigned_driver: String,
    /// In what.
    pub assigned_vehicle: String,
    /// The stops in the order in which they are driven.
    pub optimized_stops: Vec<Stop>,
    /// When the last stop is reached.
    pub estimated_delivery: DateTime<Utc>,
    /// This route's length over that of driving the addresses as they came; 1 is no gain.
    pub optimization_score: f64,
    /// Whether it had been answered before.
    pub replayed: bool,
}

/// One stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    /// Counts from 1.
    pub sequence: u32,
    /// Where.
    pub address: String,
    /// Minutes from the start of the route.
    pub eta_minutes: u32,
}
