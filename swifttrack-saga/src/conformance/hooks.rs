//! What the application sees of a commit (law 13).

use uuid::Uuid;

use super::Probe;
use super::fixture::{DEFINITION, Owner, loaded, row};
use crate::store::{Change, Outcome, Store};

fn sorted(mut changes: Vec<Change>) -> Vec<Change> {
    changes.sort_by_key(|change| change.saga);
    changes
}

fn refusal(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Refused(reason) => reason.downcast_ref::<String>().cloned(),
        _ => None,
    }
}

/// Once a commit, all of it, each saga's transitions in order.
pub async fn a_hook_sees_the_accepted_in_order(store: &dyn Store, probe: &Probe) {
    let owner = Owner::of(store).await;
    let mut starts = sorted((0..10).map(|i| owner.start(&format!("saga {i}"))).collect());
    for change in &mut starts {
        change.rows.push(row(2));
        let mut second = change.transitions[0].clone();
        second.seq = 2;
        change.transitions.push(second);
    }
    let seen: Vec<(Uuid, u32)> = starts
        .iter()
        .flat_map(|change| [(change.saga, 1), (change.saga, 2)])
        .collect();
    owner.commit(store, starts).await;
    assert_eq!(probe.batches(), [seen]);
}

/// What did not happen is not told.
pub async fn a_hook_sees_no_losers(store: &dyn Store, probe: &Probe) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    probe.reset();
    let mut wrong = owner.next(&loaded(store, saga).await);
    wrong.expect_ctl = 5;
    let mut fenced = owner.start("fenced");
    fenced.lease.epoch += 1;
    let good = owner.start("good");
    let expected = vec![(good.saga, 1)];
    owner
        .commit(store, vec![wrong, fenced, good, owner.start("a")])
        .await;
    assert_eq!(probe.batches().last(), Some(&expected));

    probe.reset();
    let outcomes = owner.commit(store, vec![owner.start("a")]).await;
    assert!(
        matches!(outcomes[..], [Outcome::Exists { .. }]),
        "{outcomes:?}"
    );
    assert!(probe.batches().is_empty(), "nothing was accepted");
}

/// If it fails, none of it happened.
pub async fn a_failing_hook_undoes_the_batch(store: &dyn Store, probe: &Probe) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "running").await;
    let step = owner.next(&loaded(store, saga).await);
    let batch = sorted(vec![owner.start("a"), owner.start("b"), step]);
    probe.fail(batch[1].saga);
    let error = store
        .commit(owner.worker, &batch)
        .await
        .expect_err("the hook fails");
    assert!(error.is_hook(), "{error:?}");
    assert!(std::error::Error::source(&error).is_some());
    assert_eq!(loaded(store, saga).await.seq, 1);
    for id in ["a", "b"] {
        assert!(store.find(DEFINITION, id).await.expect("a read").is_none());
    }
    // The others in a batch without it go through (law 12).
    let rest: Vec<Change> = batch
        .iter()
        .filter(|c| c.saga != batch[1].saga)
        .cloned()
        .collect();
    let outcomes = owner.commit(store, rest).await;
    assert!(
        outcomes.iter().all(|o| matches!(o, Outcome::Committed)),
        "{outcomes:?}"
    );
    probe.reset();
    let outcomes = owner.commit(store, vec![batch[1].clone()]).await;
    assert!(matches!(outcomes[..], [Outcome::Committed]), "{outcomes:?}");
}

/// A start that may not happen does not, and only that.
pub async fn a_refused_start_takes_nothing_with_it(store: &dyn Store, probe: &Probe) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "running").await;
    let mut stale = owner.next(&loaded(store, saga).await);
    stale.expect_ctl = 5;
    let (good, bad) = (owner.start("good"), owner.start("bad"));
    let (kept, refused) = (good.saga, bad.saga);
    probe.reset();
    probe.refuse(refused);
    let outcomes = owner.commit(store, vec![good, bad, stale]).await;
    assert!(matches!(outcomes[0], Outcome::Committed), "{outcomes:?}");
    assert_eq!(refusal(&outcomes[1]).as_deref(), Some("bad"));
    assert!(matches!(outcomes[2], Outcome::Conflict), "{outcomes:?}");
    assert_eq!(probe.batches().last(), Some(&vec![(kept, 1)]));
    assert!(
        store
            .find(DEFINITION, "bad")
            .await
            .expect("a read")
            .is_none()
    );
    assert!(
        store
            .history(refused, 0, 10)
            .await
            .expect("a read")
            .is_empty()
    );
    assert_eq!(loaded(store, kept).await.seq, 1);
}

/// Nothing is left of a batch of which nothing may be.
pub async fn a_refusal_of_everything_is_told_to_each(store: &dyn Store, probe: &Probe) {
    let owner = Owner::of(store).await;
    let batch = vec![owner.start("a"), owner.start("b")];
    for change in &batch {
        probe.refuse(change.saga);
    }
    let outcomes = owner.commit(store, batch).await;
    let told: Vec<_> = outcomes.iter().filter_map(refusal).collect();
    assert_eq!(told, ["a", "b"]);
    assert!(store.find(DEFINITION, "a").await.expect("a read").is_none());
}

/// Only starts can be refused.
pub async fn a_refusal_of_a_stranger_fails(store: &dyn Store, probe: &Probe) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    let step = owner.next(&loaded(store, saga).await);
    probe.refuse(saga);
    let error = store
        .commit(owner.worker, &[step])
        .await
        .expect_err("it is no start");
    assert!(error.is_hook(), "{error:?}");
    assert_eq!(loaded(store, saga).await.seq, 1);
}

/// A refused start leaves its id to others.
pub async fn a_refused_id_is_free(store: &dyn Store, probe: &Probe) {
    let owner = Owner::of(store).await;
    let (first, second) = (owner.start("a"), owner.start("a"));
    let mut batch = sorted(vec![first, second]);
    probe.refuse(batch[0].saga);
    let outcomes = owner.commit(store, batch.clone()).await;
    let refused = outcomes.iter().filter(|o| refusal(o).is_some()).count();
    let other = batch.remove(1);
    // Whichever took the id first, the refused one does not keep it.
    match &outcomes[1] {
        Outcome::Committed => assert_eq!(refused, 1),
        _ => {
            let outcomes = owner.commit(store, vec![other]).await;
            assert!(matches!(outcomes[..], [Outcome::Committed]), "{outcomes:?}");
        }
    }
}
