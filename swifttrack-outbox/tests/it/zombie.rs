//! Relays that are frozen past their lease, or killed, as processes of their own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use swifttrack_outbox::Fencing;

use crate::process::{LEASE, ROWS_MAX, RelayProcess, slots_of};
use crate::support::{Broker, Db, PATIENCE, Tune, check_order, numbered};

/// The zombie has slots and rows under way, freezes, loses all to another, and thaws.
async fn freeze(fencing: Fencing) -> usize {
    let (db, broker) = (Db::postgres().await, Broker::kafka());
    let Db::Postgres { _db: test, .. } = &db else {
        unreachable!()
    };
    let topic = broker.topic().await;
    let zombie = RelayProcess::start(test.url(), &broker.address(), fencing, "zombie");
    testkit::wait_until("the zombie has all", PATIENCE, async || {
        slots_of(&db, "zombie").await == 64
    })
    .await;
    for round in 0..20 {
        db.append(&numbered(&topic, 20, 1 + round * 10, 200))
            .await
            .unwrap();
        if round == 10 {
            zombie.freeze();
        }
    }
    let tune = Tune {
        ttl: LEASE,
        fencing,
        ..Tune::default()
    };
    let heir = broker.relay(&db, tune).await;
    testkit::wait_until("the heir has all", PATIENCE, async || {
        heir.status().slots == 64
    })
    .await;
    zombie.thaw();
    for round in 20..30 {
        db.append(&numbered(&topic, 20, 1 + round * 10, 200))
            .await
            .unwrap();
    }
    db.until_empty().await;
    // It is back under a new life, so what it had to say it has said.
    testkit::wait_until("the zombie is back", PATIENCE, async || {
        slots_of(&db, "zombie").await == 32
    })
    .await;
    heir.shutdown(PATIENCE).await.unwrap();
    drop(zombie);
    check_order(&broker.read(&topic).await, 20, 300)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and Kafka: cargo xtask test"]
async fn a_frozen_relay_does_not_overtake_its_heir() {
    freeze(Fencing::Lease).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and Kafka: cargo xtask test"]
async fn a_frozen_relay_is_fenced_by_kafka() {
    assert_eq!(freeze(Fencing::KafkaTransactions).await, 0);
}

/// Relays that share the work, by name.
struct Four<'t> {
    db: &'t Db,
    url: &'t str,
    brokers: String,
    fencing: Fencing,
    relays: Vec<(String, RelayProcess)>,
    started: usize,
}

impl Four<'_> {
    fn start_one(&mut self) {
        self.started += 1;
        let name = format!("relay-{}", self.started);
        let relay = RelayProcess::start(self.url, &self.brokers, self.fencing, &name);
        self.relays.push((name, relay));
    }

    fn thaw_all(&self) {
        for (_, relay) in &self.relays {
            relay.thaw();
        }
    }

    /// Each has its share, which no relay gets that does not live.
    async fn until_all_work(&self) {
        testkit::wait_until("all four have slots", PATIENCE, async || {
            for (name, _) in &self.relays {
                if slots_of(self.db, name).await == 0 {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// Its lease has run out, and others have its slots.
    async fn until_succeeded(&self, name: &str) {
        testkit::wait_until("others have its slots", PATIENCE, async || {
            slots_of(self.db, name).await == 0
        })
        .await;
    }
}

/// Four relays, of which one or two are always frozen past their lease or killed, while a writer
/// does not rest. Returns how many records a reader saw twice, and how often a relay was taken out
/// of its work.
async fn freeze_and_kill(fencing: Fencing) -> (usize, usize) {
    const KEYS: u64 = 40;
    let (db, broker) = (Db::postgres().await, Broker::kafka());
    let Db::Postgres { _db: test, .. } = &db else {
        unreachable!()
    };
    let topic = broker.topic().await;
    let done = AtomicBool::new(false);
    let write = async {
        let mut last = 0;
        while !done.load(Ordering::Relaxed) {
            // So that something is under way at each moment, and an end is in sight.
            if db.rows().await > 2_000 {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
            let events = numbered(&topic, KEYS, last + 1, KEYS * 5);
            db.append(&events).await.unwrap();
            last += 5;
        }
        last
    };
    let trouble = async {
        let mut four = Four {
            db: &db,
            url: test.url(),
            brokers: broker.address(),
            fencing,
            relays: Vec::new(),
            started: 0,
        };
        (0..4).for_each(|_| four.start_one());
        four.until_all_work().await;
        let mut taken_out = 0;
        for _ in 0..2 {
            // One freezes past its lease and comes back.
            four.relays[0].1.freeze();
            four.until_succeeded(&four.relays[0].0).await;
            four.thaw_all();
            four.until_all_work().await;
            // Two freeze, and one of the others is killed before they are succeeded.
            four.relays[1].1.freeze();
            four.relays[2].1.freeze();
            let (killed, relay) = four.relays.remove(3);
            drop(relay);
            four.start_one();
            four.until_succeeded(&killed).await;
            four.until_succeeded(&four.relays[1].0).await;
            four.until_succeeded(&four.relays[2].0).await;
            // One thaws; the other is killed in its sleep.
            let (_, asleep) = four.relays.remove(1);
            drop(asleep);
            four.thaw_all();
            four.start_one();
            four.until_all_work().await;
            taken_out += 5;
        }
        done.store(true, Ordering::Relaxed);
        // All of them live until the end, so that what a zombie has to say is said.
        db.until_empty().await;
        (four, taken_out)
    };
    let (last, (four, taken_out)) = tokio::join!(write, trouble);
    db.until_empty().await;
    four.until_all_work().await;
    drop(four);
    let repeats = check_order(&broker.read(&topic).await, KEYS, last);
    (repeats, taken_out)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and Kafka: cargo xtask test"]
async fn four_relays_that_freeze_and_die_repeat_what_they_had_in_flight_at_most() {
    let (repeats, taken_out) = freeze_and_kill(Fencing::Lease).await;
    assert!(repeats <= taken_out * ROWS_MAX, "{repeats} repeats");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and Kafka: cargo xtask test"]
async fn four_relays_that_freeze_and_die_repeat_nothing_with_transactions() {
    let (repeats, _) = freeze_and_kill(Fencing::KafkaTransactions).await;
    assert_eq!(repeats, 0);
}
