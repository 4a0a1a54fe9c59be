//! What the tests of several crates share: a database of one's own, the address of a real
//! Kafka, and waiting for a condition instead of sleeping.
//!
//! ```text
//!   cargo xtask test ──► TEST_DATABASE_URL ──► pg::TestDb       one fresh database a test
//!                   └──► TEST_KAFKA_BROKERS ─► kafka::brokers   one broker, unique() topics
//! ```
//!
//! A test that needs one of the two is ignored by default, so that a plain `cargo test` works
//! on any machine, and names the command that runs it:
//!
//! ```
//! # async fn serve_from(url: &str) {}
//! # async fn is_ready() -> bool { true }
//! #[tokio::test]
//! #[ignore = "needs Postgres: cargo xtask test"]
//! async fn a_replica_serves_from_an_empty_database() {
//!     let db = testkit::pg::TestDb::create().await;
//!     serve_from(db.url()).await;
//!     testkit::wait_until("the replica is ready", std::time::Duration::from_secs(10), async || {
//!         is_ready().await
//!     })
//!     .await;
//! }
//! # fn main() {}
//! ```
//!
//! | module | what is in it |
//! |---|---|
//! | [`pg`] | [`pg::TestDb`], a Postgres database that ends with the test |
//! | [`kafka`] | [`kafka::brokers`], where Kafka is |
//! | root | [`wait_until`], [`unique`] |

pub mod kafka;
pub mod pg;

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

/// How long [`wait_until`] rests between two looks at its condition.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Looks at `condition` until it holds, for as long as `limit`.
///
/// What a test waits for is then in the test, and the time that it takes is the time that it
/// needs. The limit is there to end a broken test and is no measure of speed: make it generous.
/// It is kept even while `condition` itself hangs. Time is tokio's; with the clock paused the
/// limit passes at once where only outside work could make the condition true.
///
/// # Panics
/// When the limit has passed; the message is `what`.
///
/// # Cancel safety
/// Dropping it drops the look that is under way, and nothing else.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// let handled = AtomicUsize::new(0);
/// let work = async { handled.fetch_add(1, Ordering::Relaxed); };
/// let seen = testkit::wait_until("one is handled", std::time::Duration::from_secs(10), async || {
///     handled.load(Ordering::Relaxed) == 1
/// });
/// tokio::join!(seen, work);
/// # }
/// ```
pub async fn wait_until(what: &str, limit: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    let polling = async {
        while !condition().await {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    if tokio::time::timeout(limit, polling).await.is_err() {
        panic!("waited {:?} in vain until {what}", started.elapsed());
    }
}

/// A name that no other test uses, for a topic, a consumer group or an order: `prefix-` and 32
/// hex digits.
#[must_use]
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_when_the_condition_holds() {
        let mut looks = 0;
        wait_until(
            "it was looked at three times",
            Duration::from_secs(1),
            async || {
                looks += 1;
                looks == 3
            },
        )
        .await;
        assert_eq!(looks, 3);
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "in vain until the sun rises")]
    async fn the_panic_names_what_was_waited_for() {
        wait_until("the sun rises", Duration::from_secs(1), async || false).await;
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "in vain until an answer comes")]
    async fn a_look_that_hangs_is_ended_too() {
        wait_until("an answer comes", Duration::from_secs(1), async || {
            std::future::pending().await
        })
        .await;
    }

    #[test]
    fn names_do_not_repeat() {
        let (a, b) = (unique("orders"), unique("orders"));
        assert_ne!(a, b);
        assert!(a.starts_with("orders-"));
    }
}
