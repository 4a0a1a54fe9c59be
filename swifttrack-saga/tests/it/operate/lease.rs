//! A worker whose heartbeats do not arrive stops by its own clock, before its lease ends.

use std::time::Duration;

use swifttrack_saga::store::memory::MemoryStore;
use swifttrack_saga::{Engine, Saga, Tune as _};

use crate::counting::Counting;
use crate::parts::{A, B, Partner, Trouble};

const LEASE: Duration = Duration::from_secs(15);

/// a, which one saga at a time may call, then b.
fn gated(partner: &Partner) -> Saga<u32, u32> {
    let partner = partner.clone();
    Saga::<u32>::define("abc", 1, |s, input| {
        let a = A(partner.clone()).attempt_timeout(Duration::from_mins(1));
        let a = s.step(a.concurrency(1).tombstone(), input);
        let b = s.step(B(partner).tombstone(), a);
        s.finish(b)
    })
    .unwrap()
}

async fn spawn(store: &Counting, saga: &Saga<u32, u32>) -> Engine {
    let builder = Engine::builder(store.clone()).register(saga).lease(LEASE);
    builder.spawn().await.unwrap()
}

fn sorted(partner: &Partner) -> Vec<String> {
    let mut calls = partner.calls();
    calls.sort_unstable();
    calls
}

#[tokio::test(start_paused = true)]
async fn who_cannot_renew_a_lease_begins_nothing_in_its_last_part() {
    let (partner, store) = (Partner::default(), Counting::new(MemoryStore::new()));
    let saga = gated(&partner);
    let engine = spawn(&store, &saga).await;
    store.lose_heartbeats(true);
    let opens = LEASE - Duration::from_secs(2);
    partner.trouble("a", [Trouble::Slow(opens)]);
    for id in ["1", "2"] {
        engine.start(&saga, id, &7).await.unwrap();
    }
    tokio::time::sleep(opens + Duration::from_secs(1)).await;
    assert_eq!(
        partner.calls(),
        ["a"],
        "not the next at the gate, nor the next step"
    );
    // The store still counts it as alive: it loses nothing and goes on.
    store.lose_heartbeats(false);
    for id in ["1", "2"] {
        engine.ended("abc", id).await.unwrap();
    }
    assert_eq!(sorted(&partner), ["a", "a", "b", "b"]);
}

#[tokio::test(start_paused = true)]
async fn who_was_taken_over_unawares_begins_nothing() {
    let store = MemoryStore::new();
    let (lost, heard) = (Partner::default(), Partner::default());
    let cut = Counting::new(store.clone());
    let first = spawn(&cut, &gated(&lost)).await;
    cut.lose_heartbeats(true);
    let opens = LEASE + Duration::from_secs(5);
    lost.trouble("a", [Trouble::Slow(opens)]);
    for id in ["1", "2"] {
        first.start(&gated(&lost), id, &7).await.unwrap();
    }
    tokio::time::sleep(LEASE).await;

    let second = spawn(&Counting::new(store), &gated(&heard)).await;
    for id in ["1", "2"] {
        second.ended("abc", id).await.unwrap();
    }
    assert_eq!(sorted(&heard), ["a", "a", "a?", "a?", "b", "b"]);
    tokio::time::sleep(opens).await;
    assert_eq!(lost.calls(), ["a"], "what it began before");

    // Once it hears that it is a stranger, it begins again as another worker.
    cut.lose_heartbeats(false);
    tokio::time::sleep(2 * LEASE).await;
    first.start(&gated(&lost), "3", &7).await.unwrap();
    first.ended("abc", "3").await.unwrap();
    assert_eq!(lost.calls(), ["a", "a", "b"]);
}
