//! A transactional outbox: events written in your transaction, published to Kafka in order per key, deduplicated by the consumer.
