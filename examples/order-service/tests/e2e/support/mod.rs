//! What every test needs: a service, its partners, and a way to ask both.

pub(crate) mod backend;
pub(crate) mod http;
pub(crate) mod order;
pub(crate) mod partners;
pub(crate) mod random;
pub(crate) mod service;
pub(crate) mod topic;

use std::time::Duration;

pub(crate) use backend::Backend;
pub(crate) use partners::Partners;
pub(crate) use service::Service;

/// How long a test waits for what must happen. It ends broken tests and measures nothing.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Runs each named test on both backends.
macro_rules! on_both_backends {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use crate::support::Backend;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$name(Backend::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs Postgres and any Kafka broker: cargo xtask test"]
            async fn postgres_and_kafka() {
                super::$name(Backend::postgres_and_kafka().await).await;
            }
        }
    )+};
}
pub(crate) use on_both_backends;
