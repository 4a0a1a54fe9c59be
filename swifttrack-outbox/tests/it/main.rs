//! The laws of the outbox, on real databases and brokers.
//!
//! What every relay owes runs in all cells of {Postgres, SQLite} × {memory, in-process broker,
//! Apache Kafka}. A fault runs where it can happen and can be seen; what is left out, and why:
//!
//! | fault | cells | left out |
//! |---|---|---|
//! | late and inverted commits, idle readers and writers, broken connections (`late`), a crash of the database (`crash`) | Postgres × memory | SQLite has one writer, so its commits cannot invert, and no server; the reader does not know the broker |
//! | a refused event, blocks, dead letters, take-over, replay (`faults`) | both × memory | a real broker refuses by size only: the next line |
//! | a refused record in its batch, small requests | Postgres × Kafka | the in-process broker takes any size; the database has no part in it |
//! | a broker that stops | both × in-process; both × a Kafka of the test's own (`restart`) | the in-process broker's log does not survive it, so it is paused |
//! | a broker with TLS and passwords (`secure`) | SQLite × a Kafka of the test's own | the in-process broker has no security; the database has no part in it |
//! | relays that die | both × in-process, Postgres × Kafka | one process per SQLite file, so several relays on it are of one process |
//! | transactions | Postgres × Kafka | the in-process broker has none worth the name |
//! | a missing topic, a deleted one | Postgres × Kafka, away and back: both × memory | the in-process broker makes a topic by its first use and deletes none |
//! | a full queue | both × in-process, Postgres × Kafka | memory has no queue |
//! | frozen and killed processes (`zombie`) | Postgres × Kafka | one process per SQLite file |
//! | relays whose clocks differ | the simulation | a test has one clock |

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod append;
mod cdc;
mod consumer;
mod crash;
mod faults;
mod inbox;
mod late;
mod own_kafka;
mod process;
mod relay;
mod restart;
mod secure;
mod support;
mod zombie;
