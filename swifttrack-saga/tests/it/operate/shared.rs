//! Several workers, in virtual time: what they send when nothing happens, and how soon one
//! follows another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use swifttrack_saga::hook::{HookError, Transition};
use swifttrack_saga::store::memory::MemoryStore;
use swifttrack_saga::store::{Command, Request, Standing, Store as _};
use swifttrack_saga::{By, Engine, Resolution, Saga, Status, Tune as _};
use tokio::time::Instant;

use crate::counting::Counting;
use crate::parts::{A, Partner, Trouble, abc};

const LEASE: Duration = Duration::from_secs(15);

async fn spawn(store: &Counting, saga: &Saga<u32, u32>) -> Engine {
    let builder = Engine::builder(store.clone()).register(saga).lease(LEASE);
    builder.spawn().await.unwrap()
}

/// One heartbeat, one survey and one sweep are one statement each (see the SQL stores).
#[tokio::test(start_paused = true)]
async fn an_idle_worker_sends_at_most_one_statement_a_second() {
    for workers in 1..=3 {
        let store = MemoryStore::new();
        let saga = abc(&Partner::default());
        let mut counted = Vec::new();
        for _ in 0..workers {
            let own = Counting::new(store.clone());
            spawn(&own, &saga).await;
            counted.push(own);
        }
        // They share out the shards first.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let before: Vec<u64> = counted.iter().map(Counting::calls).collect();
        tokio::time::sleep(Duration::from_secs(100)).await;
        for (own, before) in counted.iter().zip(before) {
            let calls = own.calls() - before;
            assert!(
                calls <= 100,
                "{calls} in 100 s, {workers} workers: {:?}",
                own.by_name()
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_workers_sagas_go_on_within_its_lease_and_a_second() {
    let store = MemoryStore::new();
    let partner = Partner::default();
    let saga = abc(&partner);
    // Several times, so that the death falls anywhere between two heartbeats.
    for round in 0..10_u64 {
        let dying = spawn(&Counting::new(store.clone()), &saga).await;
        // The heir looks at a pace of its own, and far less often.
        let heir = Engine::builder(store.clone())
            .register(&saga)
            .lease(3 * LEASE);
        let heir = heir.spawn().await.unwrap();
        tokio::time::sleep(Duration::from_secs(30)).await;
        let ids: Vec<String> = (0..20).map(|n| format!("{round}.{n}")).collect();
        partner.trouble("b", vec![Trouble::Hang; ids.len()]);
        for id in &ids {
            dying.start(&saga, id, &7).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(777 * round)).await;
        let died = Instant::now();
        dying.crash();
        for id in &ids {
            heir.ended("abc", id).await.unwrap();
        }
        let after = died.elapsed();
        assert!(
            after <= LEASE + Duration::from_secs(1),
            "round {round}: {after:?}"
        );
        heir.shutdown(Duration::from_secs(5)).await;
    }
}

/// One saga's failure never fails another's transition in the same batch, and finding it out
/// costs a logarithm of the batch.
#[tokio::test(start_paused = true)]
async fn one_of_500_for_which_the_hook_always_fails_holds_up_nobody() {
    const MANY: usize = 500;
    let calls: Arc<Mutex<Vec<usize>>> = Arc::default();
    let store = MemoryStore::new().hook({
        let calls = calls.clone();
        move |batch: &[&Transition]| {
            calls.lock().unwrap().push(batch.len());
            match batch.iter().any(|t| &*t.id == "250" && t.seq == 2) {
                true => Err(HookError::from(std::io::Error::other("never"))),
                false => Ok(()),
            }
        }
    });
    let partner = Partner::default();
    let saga = abc(&partner);
    let engine = Engine::builder(store.clone())
        .register(&saga)
        .spawn()
        .await
        .unwrap();
    let starts = (0..MANY).map(|id| {
        let (engine, saga) = (engine.clone(), saga.clone());
        tokio::spawn(async move { engine.start(&saga, &id.to_string(), &7).await })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap().unwrap();
    }
    let others = async {
        for id in (0..MANY).filter(|id| *id != 250) {
            engine.ended("abc", &id.to_string()).await.unwrap();
        }
    };
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, others)
        .await
        .expect("nobody waits for it");
    assert_eq!(engine.active(), 1);
    let all = calls.lock().unwrap().clone();
    let largest = all.iter().max().copied().unwrap_or_default();
    assert!(largest > MANY / 4, "they shared commits: {all:?}");
    // Two lanes, four transitions a saga; the batch with the culprit in halves; then it alone.
    assert!(all.len() < 60, "{} calls of the hook: {all:?}", all.len());
    // It stays visible, and is tried again alone.
    let tries = all.iter().filter(|many| **many == 1).count();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let again = calls
        .lock()
        .unwrap()
        .iter()
        .filter(|many| **many == 1)
        .count();
    assert!(again > tries, "{tries}, {again}");
    let found = store.find("abc", "250").await.unwrap().unwrap();
    assert_eq!(found.running.map(|head| head.seq), Some(1));
}

/// What the database says under load is no failure of a saga.
#[tokio::test(start_paused = true)]
async fn a_batch_that_is_to_be_tried_again_is_tried_again_in_halves() {
    use swifttrack_saga::store::memory::Fault;
    let store = MemoryStore::new();
    let partner = Partner::default();
    let saga = abc(&partner);
    let engine = Engine::builder(store.clone())
        .register(&saga)
        .spawn()
        .await
        .unwrap();
    for _ in 0..20 {
        store.inject(Fault::Retriable);
    }
    let mut ends: BTreeMap<usize, bool> = BTreeMap::new();
    let starts = (0..50).map(|id| {
        let (engine, saga) = (engine.clone(), saga.clone());
        tokio::spawn(async move {
            // A start that failed alone says so, and may be tried again.
            while engine.start(&saga, &id.to_string(), &7).await.is_err() {}
            engine
                .ended("abc", &id.to_string())
                .await
                .unwrap()
                .is_some()
        })
    });
    for (id, start) in starts.collect::<Vec<_>>().into_iter().enumerate() {
        ends.insert(id, start.await.unwrap());
    }
    assert!(ends.values().all(|ended| *ended));
    assert_eq!(partner.calls().len(), 150, "each step once");
}

/// A saga whose process dies again and again while it runs is found, and the others are not
/// held back by it.
#[tokio::test(start_paused = true)]
async fn a_saga_that_kills_its_process_is_found_and_parked() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let spawn = || {
        let engine = Engine::builder(store.clone()).register(&saga).lease(LEASE);
        engine.crashes_max(2).spawn()
    };
    // It never answers; in life its process dies of it.
    partner.trouble("b", [Trouble::Hang; 10]);
    let first = spawn().await.unwrap();
    first.start(&saga, "poison", &7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    first.crash();
    for death in 2..=3 {
        let next = spawn().await.unwrap();
        tokio::time::sleep(LEASE + Duration::from_secs(1)).await;
        let found = store.find("abc", "poison").await.unwrap().unwrap();
        let standing = found.running.unwrap().standing();
        assert_eq!(standing, Some(Standing::Running), "before death {death}");
        next.crash();
    }
    let last = spawn().await.unwrap();
    tokio::time::sleep(LEASE + Duration::from_secs(1)).await;
    let snapshot = last.get("abc", "poison").await.unwrap().unwrap();
    let Status::Parked { reason } = &snapshot.status else {
        panic!("{snapshot:?}")
    };
    assert!(reason.contains("died 3 times"), "{reason}");
    assert!(snapshot.attention);
    // A person looks at it, and it is asked about before it is repeated.
    partner.answer("b", Resolution::Done(5));
    let by = By::new("alice", "the partner is mended");
    last.retry("abc", "poison", None, by).await.unwrap();
    last.ended("abc", "poison").await.unwrap();
    assert_eq!(partner.calls().last().map(String::as_str), Some("c"));
}

/// Two ran whenever the process died, and one of them is innocent.
#[tokio::test(start_paused = true)]
async fn suspects_run_one_at_a_time() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let spawn = || {
        let engine = Engine::builder(store.clone()).register(&saga).lease(LEASE);
        engine.crashes_max(2).spawn()
    };
    let ran = || partner.calls().iter().filter(|call| *call == "b").count();
    partner.trouble("b", [Trouble::Hang; 5]);
    let first = spawn().await.unwrap();
    for id in ["one", "other"] {
        first.start(&saga, id, &7).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    first.crash();
    for (death, expected) in [(2, 4), (3, 5)] {
        let next = spawn().await.unwrap();
        tokio::time::sleep(LEASE + Duration::from_secs(1)).await;
        assert_eq!(ran(), expected, "before death {death}");
        next.crash();
    }
    let last = spawn().await.unwrap();
    tokio::time::sleep(LEASE + Duration::from_secs(5)).await;
    let mut parked = 0;
    for id in ["one", "other"] {
        let snapshot = last.get("abc", id).await.unwrap().unwrap();
        parked += usize::from(matches!(snapshot.status, Status::Parked { .. }));
    }
    assert_eq!((parked, ran()), (1, 6), "the innocent one has ended");
}

/// The first commit after a takeover conflicts with what was asked meanwhile.
#[tokio::test(start_paused = true)]
async fn a_crash_is_counted_though_somebody_asks_meanwhile() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let spawn = async || {
        let counting = Counting::new(store.clone());
        let engine = Engine::builder(counting.clone()).register(&saga);
        let engine = engine.lease(LEASE).crashes_max(1).spawn().await.unwrap();
        (counting, engine)
    };
    partner.trouble("b", [Trouble::Hang; 5]);
    let (_, first) = spawn().await;
    first.start(&saga, "poison", &7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    first.crash();
    let (meddling, second) = spawn().await;
    meddling.request_before_commit(Request {
        definition: "abc".to_owned(),
        id: "poison".to_owned(),
        if_seq: None,
        before_pivot: false,
        command: Command {
            n: 0,
            verb: "resume".to_owned(),
            who: "alice".to_owned(),
            reason: "it seems to stand".to_owned(),
            body: None,
        },
    });
    tokio::time::sleep(LEASE + Duration::from_secs(1)).await;
    assert_eq!(meddling.by_name()["request"], 1, "it came in between");
    second.crash();
    let (_, last) = spawn().await;
    tokio::time::sleep(LEASE + Duration::from_secs(1)).await;
    let snapshot = last.get("abc", "poison").await.unwrap().unwrap();
    let Status::Parked { reason } = &snapshot.status else {
        panic!("{snapshot:?}")
    };
    assert!(reason.contains("died 2 times"), "{reason}");
}

/// What ends in a minute is forgotten in a second or two, however much it is.
#[tokio::test(start_paused = true)]
async fn retention_keeps_up_with_what_ends() {
    const MANY: usize = 3_000;
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let builder = Engine::builder(store.clone()).register(&saga);
    let engine = builder
        .retention(Duration::from_secs(1))
        .spawn()
        .await
        .unwrap();
    for id in 0..MANY {
        engine.start(&saga, &id.to_string(), &7).await.unwrap();
    }
    engine.ended("abc", &(MANY - 1).to_string()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(62)).await;
    for id in 0..MANY {
        let found = store.find("abc", &id.to_string()).await.unwrap();
        assert!(found.is_none(), "{id} is still there");
    }
}

/// Who waits for a slow partner waits at its gate, and nobody else does.
#[tokio::test(start_paused = true)]
async fn a_slow_partner_does_not_slow_sagas_that_do_not_need_it() {
    let (slow, quick) = (Partner::default(), Partner::default());
    let stuck = {
        let slow = slow.clone();
        Saga::<u32>::define("stuck", 1, |s, input| {
            let a = s.step(A(slow).concurrency(5).tombstone(), input);
            s.finish(a)
        })
        .unwrap()
    };
    let saga = abc(&quick);
    let builder = Engine::builder(MemoryStore::new()).register(&stuck);
    let engine = builder.register(&saga).spawn().await.unwrap();
    slow.trouble("a", vec![Trouble::Hang; 1000]);
    for id in 0..1000 {
        engine.start(&stuck, &id.to_string(), &7).await.unwrap();
    }
    let began = Instant::now();
    for id in 0..100 {
        engine.start(&saga, &id.to_string(), &7).await.unwrap();
        engine.ended("abc", &id.to_string()).await.unwrap();
    }
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(slow.calls().len(), 5, "the others wait at the gate");
}
