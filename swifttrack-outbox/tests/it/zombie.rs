//! A relay that is frozen past its lease, as a process of its own.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use swifttrack_outbox::{Database, Fencing, KafkaPublisher, Relay, slot_owners};

use crate::support::{Broker, Db, PATIENCE, Tune, check_order, numbered};

const URL: &str = "OUTBOX_ZOMBIE_URL";

/// The other process: this test's own binary, told by its environment what to do.
#[tokio::test]
#[ignore = "run by the tests below, in a process of its own"]
async fn frozen_relay() {
    let Ok(url) = std::env::var(URL) else { return };
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let publisher = KafkaPublisher::new(std::env::var("OUTBOX_ZOMBIE_BROKERS").unwrap());
    let fencing = match std::env::var("OUTBOX_ZOMBIE_FENCING").unwrap().as_str() {
        "transactions" => Fencing::KafkaTransactions,
        _ => Fencing::Lease,
    };
    let _relay = Relay::new(Database::postgres(pool), publisher)
        .lease_ttl(Duration::from_secs(2))
        .batch(20, 1_000_000)
        .fencing(fencing)
        .name("zombie")
        .spawn()
        .await
        .unwrap();
    // Until it is killed.
    std::future::pending::<()>().await;
}

struct Zombie(Child);

impl Zombie {
    fn start(url: &str, brokers: &str, fencing: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "zombie::frozen_relay", "--ignored"])
            .env(URL, url)
            .env("OUTBOX_ZOMBIE_BROKERS", brokers)
            .env("OUTBOX_ZOMBIE_FENCING", fencing)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Zombie {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The zombie has slots and rows under way, freezes, loses all to another, and thaws.
async fn freeze(fencing: Fencing, name: &str) -> usize {
    let (db, broker) = (Db::postgres().await, Broker::kafka());
    let Db::Postgres { pool, _db: test } = &db else {
        unreachable!()
    };
    let topic = broker.topic().await;
    let zombie = Zombie::start(test.url(), &broker.address(), name);
    let owned_by = async |who: &str| {
        let owners = slot_owners(&db.database()).await.unwrap();
        owners
            .iter()
            .filter(|owner| owner.relay.as_deref() == Some(who))
            .count()
    };
    testkit::wait_until("the zombie has all", PATIENCE, async || {
        owned_by("zombie").await == 64
    })
    .await;
    for round in 0..20 {
        db.append(&numbered(&topic, 20, 1 + round * 10, 200))
            .await
            .unwrap();
        if round == 10 {
            zombie.signal("-STOP");
        }
    }
    let tune = Tune {
        ttl: Duration::from_secs(2),
        fencing,
        ..Tune::default()
    };
    let heir = broker.relay(&db, tune).await;
    testkit::wait_until("the heir has all", PATIENCE, async || {
        heir.status().slots == 64
    })
    .await;
    zombie.signal("-CONT");
    for round in 20..30 {
        db.append(&numbered(&topic, 20, 1 + round * 10, 200))
            .await
            .unwrap();
    }
    db.until_empty().await;
    // It is back under a new life, so what it had to say it has said.
    testkit::wait_until("the zombie is back", PATIENCE, async || {
        owned_by("zombie").await == 32
    })
    .await;
    heir.shutdown(PATIENCE).await.unwrap();
    drop(zombie);
    assert!(!pool.is_closed());
    check_order(&broker.read(&topic).await, 20, 300)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and Kafka: cargo xtask test"]
async fn a_frozen_relay_does_not_overtake_its_heir() {
    freeze(Fencing::Lease, "lease").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and Kafka: cargo xtask test"]
async fn a_frozen_relay_is_fenced_by_kafka() {
    assert_eq!(freeze(Fencing::KafkaTransactions, "transactions").await, 0);
}
