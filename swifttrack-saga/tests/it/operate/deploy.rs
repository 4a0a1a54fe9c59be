//! Definitions that change, and what is found out about it before anything happens.

use std::time::Duration;

use swifttrack_saga::store::memory::MemoryStore;
use swifttrack_saga::store::{Page, Store as _};
use swifttrack_saga::{DeployReport, Engine, Saga, Signal, Tune as _};

use crate::parts::{A, B, Partner, Trouble};

/// a, then b, or b alone, which makes it another definition.
fn saga(version: u32, whole: bool) -> Saga<u32, u32> {
    let partner = Partner::default();
    partner.trouble("b", [Trouble::Hang; 3]);
    Saga::<u32>::define("abc", version, |s, input| {
        let first = match whole {
            true => s.step(A(partner.clone()).tombstone(), input),
            false => input,
        };
        let b = s.step(B(partner).tombstone(), first);
        s.finish(b)
    })
    .unwrap()
}

async fn spawn(store: &MemoryStore, sagas: &[Saga<u32, u32>]) -> Result<Engine, String> {
    let mut builder = Engine::builder(store.clone());
    for saga in sagas {
        builder = builder.register(saga);
    }
    builder.spawn().await.map_err(|error| {
        assert!(error.is_changed(), "{error:?}");
        error.to_string()
    })
}

async fn check(store: &MemoryStore, sagas: &[Saga<u32, u32>]) -> DeployReport {
    let mut builder = Engine::builder(store.clone());
    for saga in sagas {
        builder = builder.register(saga);
    }
    builder.check_deploy().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_changed_under_its_version_is_refused_by_its_difference() {
    let store = MemoryStore::new();
    let engine = spawn(&store, &[saga(1, true)]).await.unwrap();
    engine.shutdown(Duration::from_secs(1)).await;

    let difference = r#"node 1 was "0 a step undo input" and is "0 b step undo input""#;
    let changed = spawn(&store, &[saga(1, false)]).await.unwrap_err();
    assert!(changed.contains(difference), "{changed}");
    assert!(
        changed.contains(r#""abc" has changed under version 1"#),
        "{changed}"
    );

    let survey = store.survey(&[]).await.unwrap();
    assert!(
        survey.workers.is_empty(),
        "it was refused before it registered"
    );
    let two = spawn(&MemoryStore::new(), &[saga(1, true), saga(1, false)]).await;
    assert!(two.unwrap_err().contains(difference), "beside the other");

    let both = spawn(&store, &[saga(1, true), saga(2, false)])
        .await
        .unwrap();
    let other = both.start(&saga(1, false), "x", &7).await.unwrap_err();
    assert!(other.is_invalid(), "{other:?}");
    assert!(store.list(Page::default()).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_policy_may_change_under_a_version() {
    let store = MemoryStore::new();
    spawn(&store, &[saga(1, true)]).await.unwrap();
    let later = saga(1, true).deadline(Duration::from_secs(5));
    spawn(&store, &[later]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_checked_against_what_runs() {
    let store = MemoryStore::new();
    let old = saga(1, true);
    let engine = spawn(&store, std::slice::from_ref(&old)).await.unwrap();
    for id in 0..3 {
        engine.start(&old, &id.to_string(), &7).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    let commits = store.commits();

    let report = check(&store, std::slice::from_ref(&old)).await;
    assert!(report.is_clean() && report.sagas == 3, "{report:?}");
    let report = check(&store, &[old.clone(), saga(2, false)]).await;
    assert!(
        report.is_clean(),
        "a version more strands nobody: {report:?}"
    );

    let report = check(&store, &[saga(2, false)]).await;
    assert_eq!(
        (report.sagas, report.stranded, report.examples.len()),
        (3, 3, 3)
    );
    let first = &report.examples[0];
    assert_eq!(
        (&*first.definition, first.version, first.seq),
        ("abc", 1, 2)
    );
    assert_eq!(first.reason, r#""abc" version 1 is not registered"#);

    let changed = Engine::builder(store.clone()).register(&saga(1, false));
    let error = changed.check_deploy().await.unwrap_err();
    assert!(error.is_changed(), "{error:?}");
    assert_eq!(store.commits(), commits, "nothing is written");
}

/// The input's type is no part of a shape: only reading tells.
#[tokio::test(start_paused = true)]
async fn a_payload_that_the_new_binary_cannot_read_is_found() {
    let store = MemoryStore::new();
    let go = Signal::<bool>::new("go");
    let define = |name| {
        Saga::<u32>::define(name, 1, |s, input| {
            s.await_signal(go);
            s.finish(input)
        })
        .unwrap()
    };
    let numbers = define("typed");
    let engine = Engine::builder(store.clone()).register(&numbers);
    let engine = engine.spawn().await.unwrap();
    engine.start(&numbers, "1", &7).await.unwrap();

    let texts = Saga::<String>::define("typed", 1, |s, input| {
        s.await_signal(Signal::<bool>::new("go"));
        s.finish(input)
    });
    let builder = Engine::builder(store.clone()).register(&texts.unwrap());
    let report = builder.check_deploy().await.unwrap();
    assert_eq!(report.stranded, 1);
    assert!(
        report.examples[0].reason.starts_with("the input: "),
        "{report:?}"
    );
}
