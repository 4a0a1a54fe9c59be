//! What a person does to a saga: who and why, and in view of what.

use std::error::Error as _;
use std::time::Duration;

use swifttrack_saga::hook::{End, What};
use swifttrack_saga::store::memory::MemoryStore;
use swifttrack_saga::store::{Page, Sighting, Standing, Store as _};
use swifttrack_saga::{Answer, By, Engine, Error, Saga, Status, StepStatus};

use crate::parts::{Partner, Trouble, abc};

const NEVER: Duration = Duration::from_secs(100_000);

/// A saga whose first step is done and whose second waits.
async fn waiting(partner: &Partner, store: &MemoryStore) -> Engine {
    let saga = abc(partner);
    let engine = Engine::builder(store.clone())
        .register(&saga)
        .spawn()
        .await
        .unwrap();
    partner.trouble("b", [Trouble::RetryAfter(NEVER)]);
    engine.start(&saga, "1", &7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    engine
}

/// Verbs as the journal tells them: verb, who, why, and whether it did anything.
async fn told(engine: &Engine) -> Vec<(String, String, String, bool)> {
    let history = engine.history("abc", "1", 0, 100).await.unwrap();
    let verbs = history.iter().filter_map(|t| match &t.what {
        What::Operator {
            verb,
            who,
            reason,
            applied,
        } => Some((
            verb.to_string(),
            who.to_string(),
            reason.to_string(),
            *applied,
        )),
        _ => None,
    });
    verbs.collect()
}

#[tokio::test(start_paused = true)]
async fn a_verb_in_view_of_another_state_is_refused() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let engine = waiting(&partner, &store).await;
    let seen = engine.get("abc", "1").await.unwrap().unwrap();
    let by = |seq| By::new("alice", "ticket 7").if_seq(seq);
    let moved = engine
        .retry("abc", "1", Some("b"), by(seen.seq - 1))
        .await
        .unwrap();
    assert_eq!(moved, Sighting::Moved { seq: seen.seq });
    assert!(told(&engine).await.is_empty() && partner.calls() == ["a", "b"]);
    let accepted = engine
        .retry("abc", "1", Some("b"), by(seen.seq))
        .await
        .unwrap();
    assert!(
        matches!(accepted, Sighting::Accepted { .. }),
        "{accepted:?}"
    );
    engine.ended("abc", "1").await.unwrap();
    let alice = (
        "retry".to_owned(),
        "alice".to_owned(),
        "ticket 7".to_owned(),
        true,
    );
    assert_eq!(told(&engine).await, [alice]);
}

/// What was accepted and did not fit stands in the journal as having done nothing.
#[tokio::test(start_paused = true)]
async fn a_verb_that_does_not_fit_is_told_as_such() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let engine = waiting(&partner, &store).await;
    let by = || By::new("bob", "tries");
    // Its output is used, so it cannot be skipped; it is not parked; there is no such step.
    engine.skip("abc", "1", "b", by()).await.unwrap();
    engine.retry("abc", "1", None, by()).await.unwrap();
    engine.resume("abc", "1", by()).await.unwrap();
    engine.skip("abc", "1", "nothing", by()).await.unwrap();
    let answer = Answer::Done("not a number".to_owned());
    engine.resolve("abc", "1", "b", answer, by()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let told = told(&engine).await;
    assert_eq!(told.len(), 5);
    assert!(told.iter().all(|(.., applied)| !applied), "{told:?}");
    assert_eq!(partner.calls(), ["a", "b"]);
    let snapshot = engine.get("abc", "1").await.unwrap().unwrap();
    assert_eq!(snapshot.steps[1].status, StepStatus::Waiting);
}

/// Turning back is not itself cancelled: neither while an undo runs, nor while one waits.
#[tokio::test(start_paused = true)]
async fn a_cancel_changes_nothing_in_a_saga_that_turns_back() {
    let pause = Duration::from_secs(5);
    for (trouble, tries) in [(Trouble::Slow(pause), 1), (Trouble::RetryAfter(pause), 2)] {
        let (partner, store) = (Partner::default(), MemoryStore::new());
        let saga = abc(&partner);
        let engine = Engine::builder(store).register(&saga);
        let engine = engine.spawn().await.unwrap();
        partner.trouble("c", [Trouble::Reject]);
        partner.trouble("b:undo", [trouble]);
        engine.start(&saga, "1", &7).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let by = By::new("bob", "too late");
        let accepted = engine.cancel("abc", "1", by).await.unwrap();
        assert!(matches!(accepted, Sighting::Accepted { .. }));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let [verb, who, why] = ["cancel", "bob", "too late"].map(str::to_owned);
        assert_eq!(told(&engine).await, [(verb, who, why, false)]);
        let snapshot = engine.get("abc", "1").await.unwrap().unwrap();
        assert_eq!(snapshot.status, Status::Compensating);
        assert_eq!(partner.calls(), ["a", "b", "c", "b:undo"]);

        let end = engine.ended("abc", "1").await.unwrap();
        let Some(End::Compensated {
            undone,
            cancelled,
            failed,
            ..
        }) = end
        else {
            panic!("{end:?}")
        };
        assert_eq!(*undone, ["b".into(), "a".into()]);
        assert_eq!((failed.as_deref(), cancelled), (Some("c"), false));
        let undos = partner.calls().split_off(3);
        assert_eq!(undos[..tries], vec!["b:undo"; tries]);
        assert_eq!(undos[tries..], ["a:undo"]);
    }
}

/// Who knows a definition may be another process: it does what was asked.
#[tokio::test(start_paused = true)]
async fn a_saga_of_another_binary_can_be_asked_and_not_read() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let knows = waiting(&partner, &store).await;
    let other = Saga::<u32>::define("other", 1, |s, input| s.finish(input)).unwrap();
    let stranger = Engine::builder(store.clone()).register(&other);
    let stranger = stranger.spawn().await.unwrap();

    let commits = store.commits();
    let error = stranger.start(&abc(&partner), "2", &7).await.unwrap_err();
    assert!(error.is_invalid());
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    assert!(cause.is_some_and(Error::is_unregistered), "{error:?}");
    for error in [
        stranger.get("abc", "1").await.map(drop).unwrap_err(),
        stranger.ended("abc", "1").await.map(drop).unwrap_err(),
        stranger
            .history("abc", "1", 0, 100)
            .await
            .map(drop)
            .unwrap_err(),
    ] {
        assert!(error.is_unregistered(), "{error:?}");
    }
    assert!(store.find("abc", "2").await.unwrap().is_none());
    assert_eq!(store.commits(), commits);

    let by = By::new("alice", "no");
    let accepted = stranger.cancel("abc", "1", by).await.unwrap();
    assert!(matches!(accepted, Sighting::Accepted { .. }));
    let end = knows.ended("abc", "1").await.unwrap();
    assert!(matches!(end, Some(End::Compensated { .. })), "{end:?}");
    let error = stranger.get("abc", "1").await.unwrap_err();
    assert!(error.is_unregistered(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_person_can_say_that_a_step_was_done_or_was_not() {
    for (answer, calls) in [
        (Answer::Done("9".to_owned()), vec!["a", "b", "c"]),
        (Answer::NotDone, vec!["a", "b", "a:undo"]),
    ] {
        let (partner, store) = (Partner::default(), MemoryStore::new());
        let engine = waiting(&partner, &store).await;
        let by = By::new("alice", "asked them");
        engine.resolve("abc", "1", "b", answer, by).await.unwrap();
        engine.ended("abc", "1").await.unwrap();
        assert_eq!(partner.calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn lists_say_where_sagas_stand() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let engine = waiting(&partner, &store).await;
    let standing = async || {
        let all = engine.list(Page::of(10).definition("abc")).await.unwrap();
        assert_eq!(all.len(), 1);
        let standing = all[0].standing().unwrap();
        let same = engine.list(Page::of(10).standing(standing)).await.unwrap();
        assert_eq!(same.len(), 1);
        assert!(
            engine
                .list(Page::of(10).after(all[0].saga))
                .await
                .unwrap()
                .is_empty()
        );
        standing
    };
    assert_eq!(standing().await, Standing::Running);
    engine
        .pause("abc", "1", By::new("alice", "wait"))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(standing().await, Standing::Paused);
    engine
        .resume("abc", "1", By::new("alice", "go on"))
        .await
        .unwrap();
    partner.trouble("a:undo", [Trouble::RetryAfter(NEVER)]);
    engine
        .cancel("abc", "1", By::new("alice", "no"))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(standing().await, Standing::TurningBack);
}
