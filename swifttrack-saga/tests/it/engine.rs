//! The engine over a store in memory, in paused time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use swifttrack_saga::hook::{End, HookError, Transition, What};
use swifttrack_saga::store::memory::{Fault, MemoryStore};
use swifttrack_saga::store::{Sighting, SignalOutcome, Store};
use swifttrack_saga::{By, Engine, Resolution, Saga, Signal, StartError, Started, Tune as _};

use crate::parts::{A, B, Partner, Trouble, abc};

const LEASE: Duration = Duration::from_secs(15);

pub(crate) async fn engine<I, O>(store: &MemoryStore, saga: &Saga<I, O>) -> Engine {
    let engine = Engine::builder(store.clone()).register(saga).lease(LEASE);
    engine.spawn().await.unwrap()
}

pub(crate) async fn end(engine: &Engine, id: &str) -> End {
    engine.ended("abc", id).await.unwrap().unwrap()
}

pub(crate) fn compensated(end: &End) -> Vec<&str> {
    match end {
        End::Compensated { undone, .. } => undone.iter().map(|name| &**name).collect(),
        End::Completed { .. } => panic!("it completed"),
    }
}

#[tokio::test(start_paused = true)]
async fn n_steps_make_n_plus_one_transitions() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let engine = engine(&store, &saga).await;
    engine.start(&saga, "1", &7).await.unwrap();
    let end = end(&engine, "1").await;
    assert_eq!(
        end,
        End::Completed {
            result: b"1"[..].into()
        }
    );
    assert_eq!(partner.calls(), ["a", "b", "c"]);
    let history = engine.history("abc", "1", 0, 100).await.unwrap();
    let starts: Vec<_> = history.iter().map(|t| t.starts.concat()).collect();
    assert_eq!(starts, ["a", "b", "c", ""]);
    assert_eq!(store.commits(), 4);
    assert_eq!(engine.active(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_step_turns_the_saga_back() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let engine = engine(&store, &saga).await;
    partner.trouble("c", [Trouble::Reject]);
    engine.start(&saga, "1", &7).await.unwrap();
    let end = end(&engine, "1").await;
    assert_eq!(compensated(&end), ["b", "a"]);
    let End::Compensated { failed, error, .. } = end else {
        panic!()
    };
    assert_eq!(failed.as_deref(), Some("c"));
    assert_eq!(&*error.unwrap().code, "NO");
    assert_eq!(partner.calls(), ["a", "b", "c", "b:undo", "a:undo"]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_asked_about_and_then_undone_as_maybe() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let engine = engine(&store, &saga).await;
    partner.trouble("b", [Trouble::Unknown, Trouble::Retry, Trouble::Reject]);
    engine.start(&saga, "1", &7).await.unwrap();
    assert_eq!(compensated(&end(&engine, "1").await), ["b", "a"]);
    let expected = ["a", "b", "b?", "b", "b?", "b", "b:undo maybe", "a:undo"];
    assert_eq!(partner.calls(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_the_question_is_the_output() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let engine = engine(&store, &saga).await;
    partner.trouble("c", [Trouble::Hang]);
    partner.answer("c", Resolution::Done(42));
    engine.start(&saga, "1", &7).await.unwrap();
    let end = end(&engine, "1").await;
    assert_eq!(
        end,
        End::Completed {
            result: b"42"[..].into()
        }
    );
    assert_eq!(partner.calls(), ["a", "b", "c", "c?"]);
}

#[tokio::test(start_paused = true)]
async fn never_clears_maybe() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let engine = engine(&store, &saga).await;
    partner.trouble("b", [Trouble::Unknown]);
    partner.answer("b", Resolution::Never);
    engine.start(&saga, "1", &7).await.unwrap();
    let end = end(&engine, "1").await;
    assert!(matches!(&end, End::Compensated { failed: Some(b), .. } if &**b == "b"));
    // Never proves that the last attempt had no effect, and that no late one will.
    assert_eq!(compensated(&end), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_unknown_outcome() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let engine = engine(&store, &saga).await;
    partner.trouble("a", [Trouble::Panic]);
    engine.start(&saga, "1", &7).await.unwrap();
    assert!(matches!(end(&engine, "1").await, End::Completed { .. }));
    assert_eq!(partner.calls(), ["a", "a?", "a", "b", "c"]);
    let history = engine.history("abc", "1", 0, 100).await.unwrap();
    let panicked = history.iter().any(|transition| match &transition.what {
        What::StepRetry { error, unknown, .. } => *unknown && &*error.code == "PANICKED",
        _ => false,
    });
    assert!(panicked);
}

#[tokio::test(start_paused = true)]
async fn a_blocked_step_uses_up_nothing_and_goes_on_when_woken() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let engine = engine(&store, &saga).await;
    partner.trouble("a", [Trouble::Blocked("p")]);
    engine.start(&saga, "1", &7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(engine.blocked(), [("p".into(), 1)]);
    assert_eq!(engine.wake("p"), 1);
    end(&engine, "1").await;
    assert_eq!(store.commits(), 4);
}

#[tokio::test(start_paused = true)]
async fn waking_a_partner_ends_the_pauses_between_attempts() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = {
        let partner = partner.clone();
        let slow = swifttrack_saga::Retry::exponential(Duration::from_secs(50));
        Saga::<u32>::define("abc", 1, |s, input| {
            let a = s.step(A(partner).retry(slow).on("p"), input);
            s.finish(a)
        })
        .unwrap()
    };
    let engine = engine(&store, &saga).await;
    partner.trouble("a", [Trouble::Retry]);
    let began = tokio::time::Instant::now();
    engine.start(&saga, "1", &7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    engine.wake("p");
    end(&engine, "1").await;
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn blocked_for_long_asks_for_eyes_and_success_takes_it_back() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let engine = engine(&store, &saga).await;
    partner.trouble("a", [Trouble::Blocked("p"), Trouble::Blocked("p")]);
    engine.start(&saga, "1", &7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3700)).await;
    assert!(engine.get("abc", "1").await.unwrap().unwrap().attention);
    tokio::time::sleep(Duration::from_secs(3700)).await;
    end(&engine, "1").await;
    let history = engine.history("abc", "1", 0, 100).await.unwrap();
    let cleared = |t: &Transition| matches!(t.what, What::AttentionCleared);
    assert_eq!(history.iter().filter(|t| cleared(t)).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn cancel_is_a_promise_and_compensates() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let engine = engine(&store, &saga).await;
    partner.trouble("b", [Trouble::Retry]);
    engine.start(&saga, "1", &7).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let by = By::new("alice", "ticket 7");
    let sighting = engine.cancel("abc", "1", by.clone()).await.unwrap();
    assert!(matches!(sighting, Sighting::Accepted { .. }));
    let end = end(&engine, "1").await;
    assert_eq!(compensated(&end), ["a"]);
    assert!(matches!(
        end,
        End::Compensated {
            cancelled: true,
            ..
        }
    ));
    assert_eq!(
        engine.cancel("abc", "1", by).await.unwrap(),
        Sighting::Ended
    );
    assert_eq!(partner.calls(), ["a", "b", "a:undo"]);
}

#[tokio::test(start_paused = true)]
async fn a_running_attempt_is_awaited_before_anything_is_undone() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let engine = engine(&store, &saga).await;
    partner.trouble("b", [Trouble::Hang]);
    engine.start(&saga, "1", &7).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    engine.cancel("abc", "1", By::new("a", "b")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(partner.calls(), ["a", "b"]);
    assert_eq!(compensated(&end(&engine, "1").await), ["b", "a"]);
    assert_eq!(partner.calls()[2..], ["b:undo maybe", "a:undo"]);
}

#[tokio::test(start_paused = true)]
async fn the_same_start_twice_is_one_saga_and_another_input_an_error() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let engine = engine(&store, &saga).await;
    let (one, two) = tokio::join!(engine.start(&saga, "1", &7), engine.start(&saga, "1", &7));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.saga, two.saga);
    assert!(one.existing ^ two.existing);
    end(&engine, "1").await;
    let again = engine.start(&saga, "1", &7).await.unwrap();
    assert_eq!(
        again,
        Started {
            saga: one.saga,
            existing: true
        }
    );
    let other = engine.start(&saga, "1", &8).await.unwrap_err();
    assert!(other.is_conflict());
    assert_eq!(other.existing(), Some(one.saga));
    assert_eq!(partner.calls(), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn bad_ids_and_large_inputs_are_refused_before_anything_is_written() {
    let store = MemoryStore::new();
    let saga = Saga::<String>::define("text", 1, |s, input| s.finish(input)).unwrap();
    let engine = engine(&store, &saga).await;
    let small = String::new();
    for id in ["", "a:b", "a b", "ä", &"x".repeat(201)] {
        let error = engine.start(&saga, id, &small).await.unwrap_err();
        assert!(error.is_invalid(), "{id:?}");
    }
    let large = "x".repeat(1024 * 1024);
    assert!(
        engine
            .start(&saga, "1", &large)
            .await
            .unwrap_err()
            .is_invalid()
    );
    assert_eq!(store.commits(), 0);
    let full = "x".repeat(1024 * 1024 - 2);
    engine.start(&saga, &"x".repeat(200), &full).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_a_commit_is_read_back() {
    for fault in [Fault::LostAnswer, Fault::LostCommit] {
        for nth in 0..4 {
            let (partner, store) = (Partner::default(), MemoryStore::new());
            let saga = abc(&partner);
            let engine = engine(&store, &saga).await;
            let until = tokio::spawn({
                let (engine, saga) = (engine.clone(), saga.clone());
                async move { engine.start(&saga, "1", &7).await }
            });
            while store.commits() < nth {
                tokio::task::yield_now().await;
            }
            store.inject(fault);
            let started: Result<Started, StartError> = until.await.unwrap();
            assert!(!started.unwrap().existing);
            assert!(matches!(end(&engine, "1").await, End::Completed { .. }));
            let calls = partner.calls();
            assert_eq!(calls, ["a", "b", "c"], "{fault:?} at {nth}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_for_one_saga_does_not_fail_the_others() {
    let healed = Arc::new(AtomicU32::new(0));
    let partner = Partner::default();
    let store = MemoryStore::new().hook({
        let healed = healed.clone();
        move |batch: &[&Transition]| {
            let sick = |t: &&Transition| &*t.id == "50" && t.seq == 2;
            if healed.load(Ordering::Relaxed) == 0 && batch.iter().any(sick) {
                return Err(std::io::Error::other("no").into());
            }
            Ok(())
        }
    });
    let saga = abc(&partner);
    let engine = engine(&store, &saga).await;
    for id in 0..100 {
        engine.start(&saga, &id.to_string(), &7).await.unwrap();
    }
    for id in (0..100).filter(|id| *id != 50) {
        end(&engine, &id.to_string()).await;
    }
    assert_eq!(engine.active(), 1);
    healed.store(1, Ordering::Relaxed);
    assert!(matches!(end(&engine, "50").await, End::Completed { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_hook_may_refuse_a_start_with_a_reason() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let store = MemoryStore::new().hook({
        let seen = seen.clone();
        move |batch: &[&Transition]| {
            let refused: Vec<_> = batch
                .iter()
                .filter(|t| t.seq == 1 && t.attachment.as_ref().is_some_and(|a| a.is::<&str>()))
                .map(|t| (t.saga, Arc::new(409_u16) as Arc<_>))
                .collect();
            if !refused.is_empty() {
                return Err(HookError::Refuse(refused));
            }
            seen.lock()
                .unwrap()
                .extend(batch.iter().map(|t| t.id.to_string()));
            Ok(())
        }
    });
    let partner = Partner::default();
    let saga = abc(&partner);
    let engine = engine(&store, &saga).await;
    let (bad, good) = tokio::join!(
        engine.start_with(&saga, "bad", &7, Arc::new("bad")),
        engine.start(&saga, "good", &7)
    );
    let refusal = bad.unwrap_err();
    assert_eq!(refusal.refusal().unwrap().downcast_ref(), Some(&409_u16));
    good.unwrap();
    end(&engine, "good").await;
    assert_eq!(*seen.lock().unwrap(), ["good"; 4]);
    assert!(engine.get("abc", "bad").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn another_worker_goes_on_after_a_crash_and_asks_first() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    partner.trouble("b", [Trouble::Hang]);
    // A runtime of its own, so that all of its tasks end with it: a crash.
    let dying = {
        let (store, saga) = (store.clone(), saga.clone());
        tokio::spawn(async move {
            let engine = engine(&store, &saga).await;
            engine.start(&saga, "1", &7).await.unwrap();
            engine
        })
    };
    let dead = dying.await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    dead.crash();
    let heir = engine(&store, &saga).await;
    assert!(matches!(end(&heir, "1").await, End::Completed { .. }));
    assert_eq!(partner.calls(), ["a", "b", "b?", "b", "c"]);
    let history = heir.history("abc", "1", 0, 100).await.unwrap();
    let interrupted = |t: &Transition| {
        matches!(
            t.what,
            What::Other {
                kind: "interrupted",
                ..
            }
        )
    };
    assert!(history.iter().any(interrupted));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_hands_over_without_a_doubt() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let first = engine(&store, &saga).await;
    partner.trouble("a", [Trouble::Retry]);
    for id in 0..20 {
        first.start(&saga, &id.to_string(), &7).await.unwrap();
    }
    first.shutdown(Duration::from_secs(30)).await;
    assert!(
        first
            .start(&saga, "late", &7)
            .await
            .unwrap_err()
            .is_shutting_down()
    );
    let second = engine(&store, &saga).await;
    for id in 0..20 {
        end(&second, &id.to_string()).await;
        let history = second
            .history("abc", &id.to_string(), 0, 100)
            .await
            .unwrap();
        let unknown = |t: &Transition| {
            matches!(
                t.what,
                What::Other {
                    kind: "interrupted",
                    ..
                }
            )
        };
        assert!(!history.iter().any(unknown));
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_replica_gets_its_share() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let first = engine(&store, &saga).await;
    let _second = engine(&store, &saga).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let survey = store.survey(&["abc@1".to_owned()]).await.unwrap();
    let held: Vec<u32> = survey.held.iter().map(|(.., held)| *held).collect();
    assert_eq!(held, [32, 32]);
    first.crash();
    tokio::time::sleep(LEASE + Duration::from_secs(1)).await;
    let survey = store.survey(&["abc@1".to_owned()]).await.unwrap();
    assert_eq!(survey.held.iter().map(|(.., held)| *held).sum::<u32>(), 64);
}

const GO: Signal<String> = Signal::new("go");

#[tokio::test(start_paused = true)]
async fn sleeps_signals_and_groups() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = {
        let partner = partner.clone();
        Saga::<u32>::define("abc", 1, |s, input| {
            s.sleep("nap", Duration::from_hours(2));
            let (_, _) = s.parallel(|g| {
                let a = g.step(A(partner.clone()), input);
                let b = g.step(B(partner.clone()), input);
                (a, b)
            });
            let word = s.await_signal(GO);
            let none = s.await_signal(Signal::<u8>::new("none").or_none_after(QUIET));
            s.finish((word, none))
        })
        .unwrap()
    };
    let engine = engine(&store, &saga).await;
    let began = tokio::time::Instant::now();
    engine.start(&saga, "1", &7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(engine.active(), 0, "a long sleep takes no memory");
    let word = "word".to_owned();
    engine.signal("abc", "1", &GO, "k", &word).await.unwrap();
    let twice = engine.signal("abc", "1", &GO, "k", &word).await.unwrap();
    assert_eq!(twice, SignalOutcome::Duplicate);
    tokio::time::sleep_until(began + Duration::from_mins(119)).await;
    assert!(partner.calls().is_empty(), "an early signal ends no sleep");
    let end = end(&engine, "1").await;
    let result = br#"["word",null]"#[..].into();
    assert_eq!(end, End::Completed { result });
    assert_eq!(partner.calls(), ["a", "b"]);
}

const QUIET: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn a_signal_that_is_late_turns_the_saga_back() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let limit = Duration::from_hours(1);
    let saga = {
        let partner = partner.clone();
        Saga::<u32>::define("abc", 1, |s, input| {
            let a = s.step(A(partner.clone()).tombstone(), input);
            let word = s.await_signal(GO.within(limit));
            let b = s.step(B(partner).tombstone(), a);
            s.finish((word, b))
        })
        .unwrap()
    };
    let engine = engine(&store, &saga).await;
    let began = tokio::time::Instant::now();
    engine.start(&saga, "late", &7).await.unwrap();
    engine.start(&saga, "timely", &7).await.unwrap();
    tokio::time::sleep_until(began + limit - Duration::from_secs(1)).await;
    assert_eq!(partner.calls(), ["a", "a"]);
    let word = "word".to_owned();
    let heard = engine.signal("abc", "timely", &GO, "k", &word).await;
    assert!(matches!(heard.unwrap(), SignalOutcome::Accepted { .. }));
    let result = br#"["word",1]"#[..].into();
    assert_eq!(end(&engine, "timely").await, End::Completed { result });

    let late = end(&engine, "late").await;
    assert!(began.elapsed() >= limit);
    assert_eq!(compensated(&late), ["a"]);
    let End::Compensated {
        failed,
        error,
        cancelled,
        ..
    } = late
    else {
        panic!()
    };
    assert_eq!(failed.as_deref(), Some("go"));
    assert_eq!(&*error.unwrap().code, "SIGNAL_TIMED_OUT");
    assert!(!cancelled);
    assert_eq!(partner.calls(), ["a", "a", "b", "a:undo"]);
    let heard = engine.signal("abc", "late", &GO, "k", &word).await;
    assert_eq!(heard.unwrap(), SignalOutcome::Ended);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_turns_back() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner).deadline(Duration::from_secs(4));
    let engine = engine(&store, &saga).await;
    partner.trouble("b", [Trouble::Hang]);
    engine.start(&saga, "1", &7).await.unwrap();
    let end = end(&engine, "1").await;
    assert_eq!(compensated(&end), ["b", "a"]);
    assert!(matches!(end, End::Compensated { error: Some(why), .. } if &*why.code == "DEADLINE"));
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_and_a_resume_goes_on() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let engine = engine(&store, &saga).await;
    partner.trouble("b", [Trouble::Retry]);
    engine.start(&saga, "1", &7).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let by = By::new("alice", "wait");
    engine.pause("abc", "1", by.clone()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(partner.calls(), ["a", "b"]);
    assert!(engine.get("abc", "1").await.unwrap().unwrap().paused);
    engine.resume("abc", "1", by).await.unwrap();
    assert!(matches!(end(&engine, "1").await, End::Completed { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_holds_over_all_lanes() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = {
        let partner = partner.clone();
        let one = Duration::from_secs(1);
        Saga::<u32>::define("abc", 1, |s, input| {
            let never = swifttrack_saga::Retry::never();
            let a = A(partner).retry(never).attempt_timeout(one).concurrency(3);
            let a = s.step(a.tombstone(), input);
            s.finish(a)
        })
        .unwrap()
    };
    let engine = engine(&store, &saga).await;
    partner.trouble("a", [Trouble::Hang; 10]);
    for id in 0..10 {
        engine.start(&saga, &id.to_string(), &7).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(partner.calls().len(), 3);
    for id in 0..10 {
        end(&engine, &id.to_string()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_into_memory_waits_in_the_store() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let engine = Engine::builder(store.clone()).register(&saga).active_max(5);
    let engine = engine.spawn().await.unwrap();
    partner.trouble("a", [Trouble::Hang; 5]);
    for id in 0..30 {
        engine.start(&saga, &id.to_string(), &7).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(engine.active(), 5);
    for id in 0..30 {
        end(&engine, &id.to_string()).await;
    }
}
