//! The time by which a request must be answered, all its tries together.
//!
//! The deadline travels with the request, so that a retry does not wait beyond
//! it and the adapter inside can tell the partner.

mod carried;
mod layer;
mod service;

pub use self::carried::{Call, Deadline, HasDeadline};
pub use self::layer::DeadlineLayer;
pub use self::service::DeadlineService;
