//! A saga that is followed while it runs, from its own process and from another.

use std::time::Duration;

use swifttrack_saga::Engine;
use swifttrack_saga::hook::Transition;
use swifttrack_saga::store::memory::MemoryStore;

use crate::parts::{Partner, Trouble, abc};

/// What a watch gave, and how long after it had happened the latest came.
struct Seen {
    transitions: Vec<Transition>,
    latest: Duration,
    dropped: u32,
}

/// Follows the saga to its end, and drops each question that is not answered soon.
async fn follow(engine: &Engine, store: &MemoryStore) -> Seen {
    let mut watch = engine.watch("abc", "1").await.unwrap().unwrap();
    let mut seen = Seen {
        transitions: Vec::new(),
        latest: Duration::ZERO,
        dropped: 0,
    };
    loop {
        let next = tokio::time::timeout(Duration::from_millis(300), watch.next()).await;
        match next.map(Result::unwrap) {
            Err(_) => seen.dropped += 1,
            Ok(Some(transition)) => {
                seen.latest = seen.latest.max(store.now().since(transition.at));
                seen.transitions.push(transition);
            }
            Ok(None) => break,
        }
    }
    assert!(watch.next().await.unwrap().is_none(), "nothing follows");
    seen
}

#[tokio::test(start_paused = true)]
async fn a_watch_gives_each_transition_once_in_order_and_soon() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let spawn = || Engine::builder(store.clone()).register(&saga).spawn();
    let (runs, looks) = (spawn().await.unwrap(), spawn().await.unwrap());
    // They share out the shards first.
    tokio::time::sleep(Duration::from_secs(20)).await;
    partner.trouble("a", [Trouble::Retry; 2]);
    partner.trouble("b", [Trouble::Slow(Duration::from_secs(3))]);
    partner.trouble("c", [Trouble::Reject]);
    partner.trouble("b:undo", [Trouble::Retry]);
    runs.start(&saga, "1", &7).await.unwrap();
    let both = async { tokio::join!(follow(&runs, &store), follow(&looks, &store)) };
    let both = tokio::time::timeout(Duration::from_hours(1), both).await;
    let (own, other) = both.expect("a watch ends with its saga");

    let history = runs.history("abc", "1", 0, 100).await.unwrap();
    let told: Vec<String> = history.iter().map(|t| format!("{t:?}")).collect();
    for seen in [&own, &other] {
        let seqs: Vec<u32> = seen.transitions.iter().map(|t| t.seq).collect();
        let count = u32::try_from(history.len()).unwrap();
        assert!(seqs.iter().copied().eq(1..=count), "{seqs:?}");
        let given: Vec<String> = seen.transitions.iter().map(|t| format!("{t:?}")).collect();
        assert_eq!(given, told);
        assert!(seen.dropped > 0);
    }
    assert_eq!(own.latest, Duration::ZERO, "its own process tells it");
    assert!(other.latest <= Duration::from_secs(1), "{:?}", other.latest);
}
