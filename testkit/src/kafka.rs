//! Where the tests find Kafka.

/// The brokers of `TEST_KAFKA_BROKERS`, as `bootstrap.servers` takes them.
///
/// They are shared by all tests, so name each topic, group and transactional id by
/// [`unique`](crate::unique).
///
/// # Panics
/// When the variable is not set; the message says how to have it set.
#[must_use]
pub fn brokers() -> String {
    std::env::var("TEST_KAFKA_BROKERS").unwrap_or_else(|_| {
        panic!(
            "this test needs Kafka: run `cargo xtask test`, which starts one, \
             or set TEST_KAFKA_BROKERS=host:port"
        )
    })
}
