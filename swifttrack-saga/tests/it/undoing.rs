//! What turns back, and what cannot: in which order, how patiently, and until when.

use std::time::Duration;

use swifttrack_saga::hook::{End, What};
use swifttrack_saga::store::Sighting;
use swifttrack_saga::store::memory::MemoryStore;
use swifttrack_saga::{By, Saga, Status, Tune as _, TuneForward as _};

use crate::engine::{compensated, end, engine};
use crate::parts::{A, B, C, Onward, Partner, QUICK, Trouble, abc};

#[tokio::test(start_paused = true)]
async fn an_undo_of_maybe_waits_out_the_quiet_period_without_tombstones() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = {
        let partner = partner.clone();
        Saga::<u32>::define("abc", 1, |s, input| {
            let never = swifttrack_saga::Retry::never();
            let a = s.step(
                A(partner).retry(never).quiet(Duration::from_secs(40)),
                input,
            );
            s.finish(a)
        })
        .unwrap()
    };
    let engine = engine(&store, &saga).await;
    partner.trouble("a", [Trouble::Unknown]);
    engine.start(&saga, "1", &7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(49)).await;
    assert_eq!(partner.calls(), ["a"], "its deadline and 40 s more");
    end(&engine, "1").await;
    assert_eq!(partner.calls(), ["a", "a:undo maybe"]);
}

#[tokio::test(start_paused = true)]
async fn an_undo_waits_for_an_earlier_attempt_though_a_later_one_succeeded() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = {
        let partner = partner.clone();
        Saga::<u32>::define("abc", 1, |s, input| {
            let quiet = Duration::from_secs(40);
            let a = s.step(A(partner.clone()).retry(QUICK).quiet(quiet), input);
            let b = s.step(B(partner).tombstone(), a);
            s.finish(b)
        })
        .unwrap()
    };
    let engine = engine(&store, &saga).await;
    // What the first attempt sent may arrive long after the second was answered.
    partner.trouble("a", [Trouble::Unknown]);
    partner.trouble("b", [Trouble::Reject]);
    engine.start(&saga, "1", &7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert!(!partner.calls().iter().any(|call| call.contains("undo")));
    assert_eq!(compensated(&end(&engine, "1").await), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn after_the_pivot_there_is_no_way_back() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = {
        let partner = partner.clone();
        Saga::<u32>::define("abc", 1, |s, input| {
            let a = s.step(A(partner.clone()).tombstone(), input);
            let (s, b) = s.pivot(B(partner.clone()).retry(QUICK), a);
            let c = s.step(Onward(partner).retry(QUICK), b);
            s.finish(c)
        })
        .unwrap()
    };
    let engine = engine(&store, &saga).await;
    // Rejected for certain: the way back is open again.
    partner.trouble("b", [Trouble::Retry, Trouble::Reject]);
    engine.start(&saga, "1", &7).await.unwrap();
    assert_eq!(compensated(&end(&engine, "1").await), ["a"]);
    // Rejected after an unknown attempt: a person decides.
    partner.trouble("b", [Trouble::Unknown, Trouble::Reject]);
    engine.start(&saga, "2", &7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let snapshot = engine.get("abc", "2").await.unwrap().unwrap();
    assert!(
        matches!(snapshot.status, Status::Parked { .. }),
        "{snapshot:?}"
    );
    let by = By::new("alice", "looked it up");
    let answer = swifttrack_saga::Answer::Done("5".to_owned());
    engine
        .resolve("abc", "2", "b", answer, by.clone())
        .await
        .unwrap();
    assert!(matches!(end(&engine, "2").await, End::Completed { .. }));
    // A forward step that runs out of retries: a person retries.
    partner.trouble("onward", [Trouble::Retry; 3]);
    engine.start(&saga, "3", &7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let past = engine.cancel("abc", "3", by.clone()).await.unwrap();
    assert_eq!(past, Sighting::PastPivot);
    engine.retry("abc", "3", None, by).await.unwrap();
    assert!(matches!(end(&engine, "3").await, End::Completed { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_failing_undo_asks_for_eyes_and_never_goes_on_to_the_next() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let engine = engine(&store, &saga).await;
    partner.trouble("c", [Trouble::Reject]);
    partner.trouble("b:undo", [Trouble::Retry; 12]);
    engine.start(&saga, "1", &7).await.unwrap();
    assert_eq!(compensated(&end(&engine, "1").await), ["b", "a"]);
    let history = engine.history("abc", "1", 0, 100).await.unwrap();
    let attention = history
        .iter()
        .filter(|t| matches!(t.what, What::Attention { .. }));
    assert_eq!(attention.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_undo_whose_policy_ends_parks_the_saga() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = {
        let partner = partner.clone();
        Saga::<u32>::define("abc", 1, |s, input| {
            let a = s.step(A(partner.clone()), input);
            let b = s.step(B(partner.clone()).undo_retry(QUICK), a);
            let c = s.step(C(partner), b);
            s.finish(c)
        })
        .unwrap()
    };
    let engine = engine(&store, &saga).await;
    partner.trouble("c", [Trouble::Reject]);
    partner.trouble("b:undo", [Trouble::Retry; 3]);
    engine.start(&saga, "1", &7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let snapshot = engine.get("abc", "1").await.unwrap().unwrap();
    assert!(matches!(snapshot.status, Status::Parked { .. }));
    assert!(!partner.calls().contains(&"a:undo".to_owned()));
    let by = By::new("alice", "by hand").if_seq(snapshot.seq);
    engine.skip("abc", "1", "b", by).await.unwrap();
    let end = end(&engine, "1").await;
    assert_eq!(compensated(&end), ["a"]);
    assert!(matches!(end, End::Compensated { irrevocable, .. } if &*irrevocable[0] == "b"));
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_is_retried_still_comes_before_the_next() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = {
        let partner = partner.clone();
        Saga::<u32>::define("abc", 1, |s, input| {
            let a = s.step(A(partner.clone()), input);
            let b = s.step(B(partner.clone()).undo_retry(QUICK), a);
            let c = s.step(C(partner), b);
            s.finish(c)
        })
        .unwrap()
    };
    let engine = engine(&store, &saga).await;
    partner.trouble("c", [Trouble::Reject]);
    partner.trouble("b:undo", [Trouble::Retry; 4]);
    engine.start(&saga, "1", &7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let by = By::new("alice", "once more");
    engine.retry("abc", "1", None, by).await.unwrap();
    assert_eq!(compensated(&end(&engine, "1").await), ["b", "a"]);
    let undone: Vec<String> = partner.calls().split_off(3);
    assert_eq!(undone[..5], ["b:undo"; 5]);
    assert_eq!(undone[5..], ["a:undo"]);
}
