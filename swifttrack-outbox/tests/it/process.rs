//! Relays as processes of their own, which can be frozen and killed.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use swifttrack_outbox::{Database, Fencing, KafkaPublisher, Relay, slot_owners};

use crate::support::Db;

const URL: &str = "OUTBOX_RELAY_URL";
const BROKERS: &str = "OUTBOX_RELAY_BROKERS";
const FENCING: &str = "OUTBOX_RELAY_FENCING";
const NAME: &str = "OUTBOX_RELAY_NAME";

pub(crate) const LEASE: Duration = Duration::from_secs(2);
const BATCH: u32 = 20;
/// Rows that a relay has read, handed over, or not deleted yet: its batch times the batches that
/// it has in flight by default, and the page with which it goes past that.
pub(crate) const ROWS_MAX: usize = BATCH as usize * (8 + 1);

/// The other process: this test's own binary, told by its environment what to do.
#[tokio::test]
#[ignore = "run by other tests, in a process of its own"]
async fn relay() {
    let Ok(url) = std::env::var(URL) else { return };
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let publisher = KafkaPublisher::new(std::env::var(BROKERS).unwrap());
    let fencing = match std::env::var(FENCING).unwrap().as_str() {
        "transactions" => Fencing::KafkaTransactions,
        _ => Fencing::Lease,
    };
    let _relay = Relay::new(Database::postgres(pool), publisher)
        .lease_ttl(LEASE)
        .batch(BATCH, 1_000_000)
        .fencing(fencing)
        .name(std::env::var(NAME).unwrap())
        .spawn()
        .await
        .unwrap();
    // Until it is killed.
    std::future::pending::<()>().await;
}

/// A relay in a process of its own; it is killed with the value.
pub(crate) struct RelayProcess(Child);

impl RelayProcess {
    pub(crate) fn start(url: &str, brokers: &str, fencing: Fencing, name: &str) -> Self {
        let fencing = match fencing {
            Fencing::KafkaTransactions => "transactions",
            _ => "lease",
        };
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::relay", "--ignored"])
            .env(URL, url)
            .env(BROKERS, brokers)
            .env(FENCING, fencing)
            .env(NAME, name)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        let told = Command::new("kill").args([signal, &pid]).status();
        assert!(told.unwrap().success());
    }
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        // A frozen one too.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many slots the relay of this name holds.
pub(crate) async fn slots_of(db: &Db, name: &str) -> usize {
    let owners = slot_owners(&db.database()).await.unwrap();
    let of_it = |relay: &Option<String>| relay.as_deref() == Some(name);
    owners.iter().filter(|owner| of_it(&owner.relay)).count()
}
