//! A logistics order service made of the SwiftTrack crates.
//!
//! `POST /api/orders` answers 202 at once; a saga verifies the contract at the CMS
//! (SOAP), registers the packages at the WMS (binary TCP), optimizes the route at the
//! ROS (REST), undoes what happened if one of them refuses for good, and tells Kafka
//! every step. Start reading at [`wire`], which builds every stack once.
//!
//! | module | what it holds |
//! |---|---|
//! | [`wire`] | everything, put together |
//! | [`config`] | the environment |
//! | [`order`] | an order and its rules |
//! | [`saga`] | three steps forward, and back |
//! | [`gate`] | circuit and bulkhead before each partner |
//! | [`partner`] | SOAP, frames and JSON behind one trait |
//! | [`projection`] | what a transition means for the order |
//! | [`db`] | the tables, written by transitions and read by the API |
//! | [`outbox`] | the way to Kafka |
//! | [`api`] | HTTP |

pub mod api;
pub mod app;
pub mod broker_lock;
pub mod circuits;
pub mod config;
pub mod control;
pub mod db;
pub mod embedded;
pub mod estimate;
pub mod event;
pub mod feed;
pub mod gate;
pub mod idempotency;
pub mod order;
pub mod outbox;
pub mod partner;
pub mod projection;
pub mod saga;
pub mod server;
pub mod step;
pub mod upkeep;
pub mod wire;

/// The examples of the README compile, since they are tests of this crate, which has all four.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
