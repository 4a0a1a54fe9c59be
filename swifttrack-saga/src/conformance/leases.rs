//! Who may write, and who no longer (law 5).

use std::collections::HashSet;

use super::fixture::{
    DEFINITION, ENDED, GROUP, LONG, Owner, SHORT, commit, expired, loaded, next, register, start,
    until, worker,
};
use crate::store::{Outcome, Store};

/// As many as asked for, each raised.
pub async fn a_claim_takes_free_shards_only(store: &dyn Store) {
    let worker = register(store, LONG).await;
    let some = store.claim(worker, GROUP, 10).await.expect("a claim");
    assert_eq!(some.len(), 10);
    assert!(some.iter().all(|lease| lease.epoch > 0 && !lease.unclean));
    let rest = store.claim(worker, GROUP, 64).await.expect("a claim");
    let shards: HashSet<u16> = some.iter().chain(&rest).map(|lease| lease.shard).collect();
    assert_eq!((some.len() + rest.len(), shards.len()), (64, 64));
    assert!(shards.iter().all(|shard| *shard < 64));
    assert!(
        store
            .claim(worker, GROUP, 64)
            .await
            .expect("a claim")
            .is_empty()
    );
}

/// Nothing is taken from the living.
pub async fn a_live_owner_keeps_its_shards(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let other = register(store, LONG).await;
    assert!(
        store
            .claim(other, GROUP, 64)
            .await
            .expect("a claim")
            .is_empty()
    );
    store
        .heartbeat(owner.worker, LONG)
        .await
        .expect("a heartbeat");
    let saga = owner.started(store, "a").await;
    assert_eq!(loaded(store, saga).await.seq, 1);
}

/// Its successor learns that the end was unclean.
pub async fn an_expired_owner_loses_its_shards(store: &dyn Store) {
    let owner = Owner::of(store).await;
    store
        .heartbeat(owner.worker, SHORT)
        .await
        .expect("a heartbeat");
    expired(store, owner.worker).await;
    let other = register(store, LONG).await;
    let taken = store.claim(other, GROUP, 64).await.expect("a claim");
    assert_eq!(taken.len(), 64);
    for lease in taken {
        let before = &owner.leases[usize::from(lease.shard)];
        assert_eq!((lease.epoch, lease.unclean), (before.epoch + 1, true));
    }
}

/// A lease that ran out is gone, even if nobody took anything.
pub async fn an_expired_worker_does_not_come_back(store: &dyn Store) {
    let worker = register(store, SHORT).await;
    expired(store, worker).await;
    let error = store.heartbeat(worker, LONG).await.expect_err("it expired");
    assert!(error.is_fenced(), "{error:?}");
    let nobody = super::fixture::worker();
    let error = store
        .heartbeat(nobody, LONG)
        .await
        .expect_err("never registered");
    assert!(error.is_fenced(), "{error:?}");
}

/// After a takeover not one write of the old owner is accepted.
pub async fn a_stale_owner_changes_nothing(store: &dyn Store) {
    let old = Owner::of(store).await;
    let saga = old.started(store, "a").await;
    let seen = loaded(store, saga).await;
    store
        .heartbeat(old.worker, SHORT)
        .await
        .expect("a heartbeat");
    expired(store, old.worker).await;
    let heir = register(store, LONG).await;
    let leases = store.claim(heir, GROUP, 64).await.expect("a claim");

    let mut end = old.next(&seen);
    end.head = ENDED;
    let fresh = old.start("b");
    let taken = old.start("a");
    for stale in [vec![old.next(&seen)], vec![end, fresh, taken]] {
        let outcomes = old.commit(store, stale).await;
        assert!(
            outcomes.iter().all(|o| matches!(o, Outcome::Fenced)),
            "{outcomes:?}"
        );
    }
    // Nor by the new epoch, which is not its own; nor the heir by the old one.
    let new = leases
        .iter()
        .find(|lease| lease.shard == 0)
        .expect("shard 0");
    let outcomes = commit(store, old.worker, vec![next(new, &seen)]).await;
    assert!(matches!(outcomes[..], [Outcome::Fenced]), "{outcomes:?}");
    let outcomes = commit(store, heir, vec![old.next(&seen)]).await;
    assert!(matches!(outcomes[..], [Outcome::Fenced]), "{outcomes:?}");

    assert_eq!(loaded(store, saga).await.journal, seen.journal);
    assert!(store.find(DEFINITION, "b").await.expect("a read").is_none());
    let outcomes = commit(store, heir, vec![next(new, &seen)]).await;
    assert!(matches!(outcomes[..], [Outcome::Committed]), "{outcomes:?}");
}

/// Who has another shard has none of this one's sagas.
pub async fn a_lease_is_of_its_own_shard(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    let seen = loaded(store, saga).await;
    let stray = next(&owner.leases[1], &seen);
    let mut end = stray.clone();
    end.head = ENDED;
    for stray in [stray, end] {
        let outcomes = owner.commit(store, vec![stray]).await;
        assert!(matches!(outcomes[..], [Outcome::Conflict]), "{outcomes:?}");
    }
    assert_eq!(loaded(store, saga).await.seq, 1);
}

/// What is given back is free at once, and nobody crashed.
pub async fn a_released_shard_is_taken_cleanly(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let other = register(store, LONG).await;
    store
        .release(owner.worker, &owner.leases[..5])
        .await
        .expect("a release");
    let outcomes = owner.commit(store, vec![owner.start("a")]).await;
    assert!(matches!(outcomes[..], [Outcome::Fenced]), "{outcomes:?}");
    let back = store.reclaim(owner.worker, &owner.leases[..5]).await;
    assert!(
        back.expect("a reclaim").is_empty(),
        "what was given back is not ours"
    );
    let taken = store.claim(other, GROUP, 64).await.expect("a claim");
    assert_eq!(taken.len(), 5);
    for lease in &taken {
        let before = &owner.leases[usize::from(lease.shard)];
        assert!(lease.epoch > before.epoch && !lease.unclean, "{lease:?}");
    }
    // Releasing again what has a new owner takes nothing from it.
    store
        .release(owner.worker, &owner.leases[..5])
        .await
        .expect("a release");
    let lease = &taken[0];
    let outcomes = commit(store, other, vec![start(lease, "b", b"input")]).await;
    assert!(matches!(outcomes[..], [Outcome::Committed]), "{outcomes:?}");
}

/// A worker that says goodbye leaves nothing to wait for.
pub async fn a_deregistered_worker_leaves_cleanly(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let staying = Owner::of_group(store, "other@1").await;
    store.deregister(owner.worker).await.expect("a goodbye");
    staying.started(store, "a").await;
    let other = register(store, LONG).await;
    let taken = store.claim(other, GROUP, 64).await.expect("a claim");
    assert_eq!(taken.len(), 64);
    assert!(taken.iter().all(|lease| !lease.unclean));
}

/// The way out of an ambiguous commit: the lost connection's writes are refused (law 10).
pub async fn a_reclaim_raises_the_epoch(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let renewed = store
        .reclaim(owner.worker, &owner.leases[..3])
        .await
        .expect("a reclaim");
    assert_eq!(renewed.len(), 3);
    for lease in &renewed {
        let before = &owner.leases[usize::from(lease.shard)];
        assert_eq!((lease.epoch, lease.unclean), (before.epoch + 1, false));
    }
    let outcomes = owner.commit(store, vec![owner.start("a")]).await;
    assert!(matches!(outcomes[..], [Outcome::Fenced]), "{outcomes:?}");
    let old = &owner.leases[..3];
    let again = store.reclaim(owner.worker, old).await.expect("a reclaim");
    assert!(again.is_empty(), "the old epoch was ours: {again:?}");
    store.release(owner.worker, old).await.expect("a release");
    let lease = renewed
        .iter()
        .find(|lease| lease.shard == 0)
        .expect("shard 0");
    owner.must(store, start(lease, "a", b"input")).await;
}

/// In a batch of many as alone: what acts under an epoch that is over is refused, the rest is not.
pub async fn a_stale_epoch_is_fenced_and_holds_up_nobody(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    let seen = loaded(store, saga).await;
    let renewed = store.reclaim(owner.worker, &owner.leases[..1]).await;
    assert_eq!(renewed.expect("a reclaim").len(), 1);
    let mut end = owner.next(&seen);
    end.head = ENDED;
    for (stale, other) in [owner.next(&seen), end, owner.start("b")]
        .into_iter()
        .zip(["c", "d", "e"])
    {
        let fine = start(&owner.leases[1], other, b"input");
        let outcomes = owner.commit(store, vec![stale, fine]).await;
        assert!(
            matches!(outcomes[..], [Outcome::Fenced, Outcome::Committed]),
            "{outcomes:?}"
        );
    }
    assert_eq!(loaded(store, saga).await.journal, seen.journal);
    assert!(store.find(DEFINITION, "b").await.expect("a read").is_none());
}

/// What was taken meanwhile stays taken.
pub async fn a_reclaim_leaves_out_what_is_lost(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let other = register(store, LONG).await;
    store
        .release(owner.worker, &owner.leases[..2])
        .await
        .expect("a release");
    let taken = store.claim(other, GROUP, 2).await.expect("a claim");
    let renewed = store
        .reclaim(owner.worker, &owner.leases[..4])
        .await
        .expect("a reclaim");
    let mut shards: Vec<u16> = renewed.iter().map(|lease| lease.shard).collect();
    shards.sort_unstable();
    assert_eq!(shards, [2, 3]);
    let outcomes = commit(store, other, vec![start(&taken[0], "a", b"input")]).await;
    assert!(matches!(outcomes[..], [Outcome::Committed]), "{outcomes:?}");
}

/// Several workers that start at once share, however they race.
pub async fn no_shard_is_claimed_twice(store: &dyn Store) {
    let (a, b, c) = (
        register(store, LONG).await,
        register(store, LONG).await,
        register(store, LONG).await,
    );
    let mut seen = HashSet::new();
    until("every shard has an owner", async || {
        let claims = tokio::join!(
            store.claim(a, GROUP, 8),
            store.claim(b, GROUP, 8),
            store.claim(c, GROUP, 8),
        );
        for leases in [claims.0, claims.1, claims.2] {
            for lease in leases.expect("a claim") {
                assert!(
                    seen.insert(lease.shard),
                    "shard {} was claimed twice",
                    lease.shard
                );
            }
        }
        seen.len() == 64
    })
    .await;
}

/// The living, what they know, what they hold, and what nobody holds.
pub async fn a_survey_counts_who_holds_what(store: &dyn Store) {
    let groups = [GROUP.to_owned(), "conform@2".to_owned()];
    let a = register(store, LONG).await;
    let b = worker();
    let known = [("conform".to_owned(), 1), ("conform".to_owned(), 2)];
    let at = store
        .register(b, &known, LONG)
        .await
        .expect("a registration");
    store.claim(a, GROUP, 20).await.expect("a claim");
    store.claim(b, GROUP, 30).await.expect("a claim");

    let survey = store.survey(&groups).await.expect("a survey");
    assert!(survey.now >= at);
    assert_eq!(survey.workers.len(), 2);
    let of_b = survey
        .workers
        .iter()
        .find(|alive| alive.worker == b)
        .expect("b lives");
    assert_eq!(of_b.definitions, known);
    let left = of_b.lease_until.since(survey.now);
    assert!(
        left > LONG / 2 && left <= LONG,
        "its lease has {left:?} left"
    );
    let held = |worker| {
        let held = survey
            .held
            .iter()
            .filter(|(g, w, _)| g == GROUP && *w == worker);
        held.map(|(.., count)| *count).sum::<u32>()
    };
    let free = |group: &str| {
        let free = survey.free.iter().filter(|(g, _)| g == group);
        free.map(|(_, count)| *count).sum::<u32>()
    };
    assert_eq!(
        (held(a), held(b), free(GROUP), free("conform@2")),
        (20, 30, 14, 64)
    );

    store.heartbeat(b, SHORT).await.expect("a heartbeat");
    expired(store, b).await;
    let survey = store.survey(&groups).await.expect("a survey");
    let free: u32 = survey
        .free
        .iter()
        .filter(|(g, _)| g == GROUP)
        .map(|(_, n)| n)
        .sum();
    assert_eq!(free, 44, "what the dead hold is free");
}

/// Not even free shards go to one whose lease ran out.
pub async fn a_worker_that_is_gone_claims_nothing(store: &dyn Store) {
    let gone = register(store, SHORT).await;
    expired(store, gone).await;
    match store.claim(gone, GROUP, 64).await {
        Ok(leases) => assert!(leases.is_empty(), "{leases:?}"),
        Err(error) => assert!(error.is_fenced(), "{error:?}"),
    }
}
