//! What sagas carry: sealed, erased, refused, and left for who can read it.

use std::time::Duration;

use swifttrack_saga::hook::{End, What};
use swifttrack_saga::payload::PayloadCodec;
use swifttrack_saga::store::memory::MemoryStore;
use swifttrack_saga::store::{Sighting, SignalOutcome, Store as _};
use swifttrack_saga::{
    Answer, Attempt, By, Compensate, Engine, Erasure, Evidence, NotYet, Retry, Saga, Signal,
    Status, Step, StepError, StepStatus, Tune as _,
};
use uuid::Uuid;

use crate::parts::{A, B, Partner, Trouble};

const GO: Signal<String> = Signal::new("go");

/// Turns every byte around, and says whose it is.
#[derive(Clone, Copy)]
struct Mirror(u8);

impl PayloadCodec for Mirror {
    fn seal(&self, saga: Uuid, plain: &[u8]) -> Vec<u8> {
        let mut stored = saga.as_bytes().to_vec();
        stored.extend(plain.iter().map(|byte| byte ^ self.0));
        stored
    }

    fn open(
        &self,
        saga: Uuid,
        stored: &[u8],
    ) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        let plain = stored
            .strip_prefix(saga.as_bytes())
            .ok_or("another saga's")?;
        Ok(plain.iter().map(|byte| byte ^ self.0).collect())
    }
}

/// A word that is in no journal by chance.
const SECRET: &str = "12 High Street";

fn saga(partner: &Partner) -> Saga<String, (u32, String)> {
    let partner = partner.clone();
    Saga::<String>::define("abc", 1, |s, input| {
        let length = input.map(|text| text.len() as u32);
        let a = s.step(A(partner).tombstone().retry(Retry::never()), length);
        let word = s.await_signal(GO);
        s.finish((a, word))
    })
    .unwrap()
}

async fn engine(store: &MemoryStore, saga: &Saga<String, (u32, String)>, key: u8) -> Engine {
    let builder = Engine::builder(store.clone()).register(saga);
    builder.payload_codec(Mirror(key)).spawn().await.unwrap()
}

async fn stored(store: &MemoryStore, saga: Uuid) -> Vec<Vec<u8>> {
    let rows = store.history(saga, 0, 100).await.unwrap();
    let payloads = rows.into_iter().filter_map(|row| row.payload);
    payloads.map(|payload| payload.to_vec()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_is_sealed_and_what_is_seen_is_not() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = saga(&partner);
    let first = engine(&store, &saga, 85).await;
    let started = first.start(&saga, "1", &SECRET.to_owned()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Another process reads it, says something to it, and ends it.
    first.crash();
    let second = engine(&store, &saga, 85).await;
    let word = SECRET.to_owned();
    let outcome = second.signal("abc", "1", &GO, "k", &word).await.unwrap();
    assert!(matches!(outcome, SignalOutcome::Accepted { .. }));
    let end = second.ended("abc", "1").await.unwrap().unwrap();
    let result = format!("[1,{SECRET:?}]").into_bytes().into();
    assert_eq!(end, End::Completed { result });

    let stored = stored(&store, started.saga).await;
    assert_eq!(stored.len(), 3, "input, output, words");
    for payload in stored {
        let at = payload
            .windows(SECRET.len())
            .find(|part| *part == SECRET.as_bytes());
        assert!(at.is_none() && payload.starts_with(started.saga.as_bytes()));
    }
    let history = second.history("abc", "1", 0, 100).await.unwrap();
    let What::Started { input } = &history[0].what else {
        panic!("{history:?}")
    };
    assert_eq!(**input, *format!("{SECRET:?}").as_bytes());
}

#[tokio::test(start_paused = true)]
async fn a_signal_is_sealed_while_it_waits() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = saga(&partner);
    let engine = engine(&store, &saga, 85).await;
    let started = engine.start(&saga, "1", &SECRET.to_owned()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Nobody is there who would take it up.
    engine.crash();
    engine
        .signal("abc", "1", &GO, "k", &SECRET.to_owned())
        .await
        .unwrap();
    let loaded = store.load(&[started.saga]).await.unwrap();
    let words = &loaded[0].signals[0].payload;
    assert!(words.starts_with(started.saga.as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_found_out_is_sealed_too() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = {
        let partner = partner.clone();
        Saga::<u32>::define("abc", 1, |s, input| {
            let (s, a) = s.pivot(A(partner).retry(Retry::never()), input);
            s.finish(a)
        })
        .unwrap()
    };
    let builder = Engine::builder(store.clone()).register(&saga);
    let engine = builder.payload_codec(Mirror(85)).spawn().await.unwrap();
    partner.trouble("a", [Trouble::Unknown]);
    let started = engine.start(&saga, "1", &7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let by = By::new("alice", "asked them");
    let answer = Answer::Done("42424242".to_owned());
    engine.resolve("abc", "1", "a", answer, by).await.unwrap();
    let end = engine.ended("abc", "1").await.unwrap().unwrap();
    let result = b"42424242"[..].into();
    assert_eq!(end, End::Completed { result });
    let stored = stored(&store, started.saga).await;
    assert!(
        stored
            .iter()
            .all(|payload| payload.starts_with(started.saga.as_bytes()))
    );
}

/// Gives so many bytes, as JSON.
struct Gives(Partner, usize);

impl Step for Gives {
    const NAME: &'static str = "gives";
    type In = u32;
    type Out = String;

    async fn run(&self, _: &Attempt, _: &u32) -> Result<String, StepError> {
        Ok("x".repeat(self.1 - 2))
    }
}

impl Compensate for Gives {
    async fn undo(
        &self,
        attempt: &Attempt,
        input: &u32,
        evidence: Evidence<&String>,
    ) -> Result<(), NotYet> {
        // As a step that writes down its calls.
        let evidence = match evidence {
            Evidence::Done(_) => Evidence::Done(&0),
            Evidence::Maybe => Evidence::Maybe,
        };
        A(self.0.clone()).undo(attempt, input, evidence).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_too_large_is_not_stored_and_its_step_is_undone_as_maybe() {
    const MOST: usize = 1024 * 1024;
    for (bytes, fits) in [(MOST, true), (MOST + 1, false)] {
        let (partner, store) = (Partner::default(), MemoryStore::new());
        let saga = Saga::<u32>::define("abc", 1, |s, input| {
            let large = Gives(partner.clone(), bytes).tombstone();
            let large = s.step(large.retry(Retry::never()), input);
            s.finish(large.map(String::len))
        })
        .unwrap();
        let engine = Engine::builder(store.clone()).register(&saga);
        let engine = engine.spawn().await.unwrap();
        let started = engine.start(&saga, "1", &7).await.unwrap();
        let end = engine.ended("abc", "1").await.unwrap().unwrap();
        let stored = stored(&store, started.saga).await;
        if fits {
            assert!(matches!(end, End::Completed { .. }), "{end:?}");
            assert_eq!(stored[1].len(), MOST);
            continue;
        }
        let End::Compensated { undone, error, .. } = end else {
            panic!("{end:?}")
        };
        assert_eq!(*undone, ["gives".into()]);
        let why = error.unwrap();
        assert_eq!(&*why.code, "PAYLOAD_TOO_LARGE");
        assert_eq!(
            &*why.message,
            "the output has 1048577 bytes; the most is 1048576"
        );
        assert_eq!(partner.calls(), ["gives:undo maybe"]);
        let history = engine.history("abc", "1", 0, 100).await.unwrap();
        let failed = history.iter().any(|t| match &t.what {
            What::StepFailed { unknown, error, .. } => *unknown && *error == why,
            _ => false,
        });
        assert!(failed, "{history:?}");
        assert_eq!(stored, [b"7"], "its input and nothing else");
    }
}

/// Who cannot read a saga parks it, in sight, beside others that go on; nobody may cancel what
/// is past its pivot; and who can read it goes on with it when a person says so.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_parked_and_blocks_nobody() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let define = || {
        let partner = partner.clone();
        Saga::<String>::define("abc", 1, |s, input| {
            let length = input.map(|text| text.len() as u32);
            let (s, a) = s.pivot(A(partner).retry(Retry::never()), length);
            let word = s.await_signal(GO);
            s.finish((a, word))
        })
        .unwrap()
    };
    let saga = define();
    let right = engine(&store, &saga, 85).await;
    right.start(&saga, "1", &SECRET.to_owned()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    right.crash();
    // Its lease runs out.
    tokio::time::sleep(Duration::from_secs(20)).await;

    let wrong = engine(&store, &saga, 1).await;
    wrong
        .signal("abc", "1", &GO, "k", &"x".to_owned())
        .await
        .unwrap();
    wrong
        .start(&saga, "2", &"readable".to_owned())
        .await
        .unwrap();
    wrong
        .signal("abc", "2", &GO, "k", &"x".to_owned())
        .await
        .unwrap();
    let end = wrong.ended("abc", "2").await.unwrap();
    assert!(matches!(end, Some(End::Completed { .. })), "{end:?}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let listed = wrong
        .list(swifttrack_saga::store::Page::default())
        .await
        .unwrap();
    assert!(listed.len() == 1 && listed[0].attention, "{listed:?}");
    let by = By::new("alice", "does not look right");
    let cancelled = wrong.cancel("abc", "1", by.clone()).await.unwrap();
    assert_eq!(
        cancelled,
        Sighting::PastPivot,
        "the promise of its pivot stands"
    );
    let error = wrong.get("abc", "1").await.unwrap_err();
    assert!(error.is_unreadable(), "{error:?}");
    wrong.shutdown(Duration::from_secs(5)).await;

    let right = engine(&store, &saga, 85).await;
    let snapshot = right.get("abc", "1").await.unwrap().unwrap();
    assert!(
        matches!(snapshot.status, Status::Parked { .. }),
        "{snapshot:?}"
    );
    right.retry("abc", "1", None, by).await.unwrap();
    right
        .signal("abc", "1", &GO, "k2", &"at last".to_owned())
        .await
        .unwrap();
    let end = right.ended("abc", "1").await.unwrap().unwrap();
    let result = br#"[1,"at last"]"#[..].into();
    assert_eq!(end, End::Completed { result });
    assert_eq!(
        partner.calls().iter().filter(|call| *call == "a").count(),
        2,
        "once each"
    );
}

#[tokio::test(start_paused = true)]
async fn an_ended_saga_can_be_erased_and_still_be_looked_at() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = {
        let partner = partner.clone();
        Saga::<String>::define("abc", 1, |s, input| {
            let length = input.map(|text| text.len() as u32);
            let (s, a) = s.pivot(A(partner.clone()).retry(Retry::never()), length);
            let word = s.await_signal(GO);
            s.finish((a, word))
        })
        .unwrap()
    };
    let engine = engine(&store, &saga, 0).await;
    partner.trouble("a", [Trouble::Unknown]);
    let secret = SECRET.to_owned();
    let started = engine.start(&saga, "1", &secret).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(engine.erase("abc", "1").await.unwrap(), Erasure::Running);
    assert_eq!(engine.erase("abc", "2").await.unwrap(), Erasure::NotFound);
    let by = By::new("alice", "asked them");
    let answer = Answer::Done("42".to_owned());
    engine.resolve("abc", "1", "a", answer, by).await.unwrap();
    engine.signal("abc", "1", &GO, "k", &secret).await.unwrap();
    engine.ended("abc", "1").await.unwrap();
    let before = engine.history("abc", "1", 0, 100).await.unwrap();

    assert_eq!(engine.erase("abc", "1").await.unwrap(), Erasure::Done);
    assert!(stored(&store, started.saga).await.is_empty());
    let snapshot = engine.get("abc", "1").await.unwrap().unwrap();
    assert!(snapshot.erased);
    assert!(
        snapshot
            .steps
            .iter()
            .all(|step| step.status == StepStatus::Done),
        "{snapshot:?}"
    );
    let nothing = End::Completed { result: [].into() };
    assert_eq!(snapshot.status, Status::Ended(nothing));
    let after = engine.history("abc", "1", 0, 100).await.unwrap();
    assert_eq!(after.len(), before.len());
    assert!(
        after
            .iter()
            .zip(&before)
            .all(|(a, b)| (a.seq, a.at) == (b.seq, b.at))
    );
    let who = |t: &What| matches!(t, What::Operator { who, .. } if &**who == "alice");
    assert!(after.iter().any(|t| who(&t.what)), "who did what stays");
    // The id stays taken, and so does the memory of what it was started with.
    assert!(engine.start(&saga, "1", &secret).await.unwrap().existing);
}

/// All that the store has of saga 1, its commits counted.
async fn held(store: &MemoryStore) -> String {
    let found = store.find("abc", "1").await.unwrap().unwrap();
    let loaded = store.load(&[found.saga]).await.unwrap();
    let rows = store.history(found.saga, 0, 100).await.unwrap();
    format!("{} {found:?} {loaded:?} {rows:?}", store.commits())
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_or_meant_for_nobody_is_refused() {
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = {
        let partner = partner.clone();
        Saga::<u32>::define("abc", 1, |s, input| {
            let b = s.step(B(partner).tombstone(), input);
            let word = s.await_signal(GO);
            s.finish((b, word))
        })
        .unwrap()
    };
    let engine = Engine::builder(store.clone())
        .register(&saga)
        .spawn()
        .await
        .unwrap();
    engine.start(&saga, "1", &7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = held(&store).await;
    let large = "x".repeat(1024 * 1024 - 1);
    let most = "x".repeat(1024 * 1024 - 2);
    let key = "k".repeat(200);

    let error = engine
        .signal("abc", "1", &GO, "k", &large)
        .await
        .unwrap_err();
    assert!(
        error.is_invalid() && error.to_string().contains("1048577 bytes"),
        "{error}"
    );
    let error = engine
        .signal("abc", "1", &GO, &"k".repeat(201), &most)
        .await
        .unwrap_err();
    assert!(
        error.is_invalid() && error.to_string().contains("201 bytes"),
        "{error}"
    );
    let typo = Signal::<String>::new("goo");
    let error = engine
        .signal("abc", "1", &typo, "k", &most)
        .await
        .unwrap_err();
    assert!(
        error.is_invalid() && error.to_string().contains(r#"waits for "goo""#),
        "{error}"
    );
    let error = engine
        .signal("abc", "a:b", &GO, "k", &most)
        .await
        .unwrap_err();
    assert!(error.is_invalid(), "{error}");
    let by = By::new("alice", "tries");
    let answer = Answer::Done("x".repeat(1024 * 1024 + 1));
    let error = engine
        .resolve("abc", "1", "b", answer, by.clone())
        .await
        .unwrap_err();
    assert!(error.is_invalid(), "{error}");
    assert_eq!(
        engine.cancel("abd", "1", by).await.unwrap(),
        Sighting::NotFound
    );
    assert!(held(&store).await == before);

    let outcome = engine.signal("abc", "1", &GO, &key, &most).await.unwrap();
    assert!(
        matches!(outcome, SignalOutcome::Accepted { .. }),
        "{outcome:?}"
    );
    let end = engine.ended("abc", "1").await.unwrap();
    assert!(matches!(end, Some(End::Completed { .. })));
    let before = held(&store).await;
    let late = engine.signal("abc", "1", &GO, "late", &most).await.unwrap();
    assert_eq!(late, SignalOutcome::Ended);
    assert!(held(&store).await == before);
}
