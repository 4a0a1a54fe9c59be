//! The stores, by the laws of the suite and by what is special to each.

#[cfg(feature = "postgres")]
mod faults;
mod foreign;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
pub(crate) mod proxy;
#[cfg(feature = "postgres")]
mod sagas;
#[cfg(feature = "postgres")]
mod schema;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(all(feature = "postgres", feature = "sqlite"))]
mod start_in;
