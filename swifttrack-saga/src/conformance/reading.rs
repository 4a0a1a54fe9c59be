//! Loading, listing, history, erasure, retention.

use std::time::Duration;

use uuid::Uuid;

use super::fixture::{
    DEFINITION, ENDED, GROUP, Owner, live, loaded, past_pivot, signal, start, until,
};
use crate::store::{Head, Outcome, Page, Store, Timestamp};

/// What a takeover loads: those that wait for nothing, page by page.
pub async fn active_sagas_come_by_id(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let mut ids = Vec::new();
    for i in 0..5 {
        ids.push(owner.started(store, &format!("active {i}")).await);
    }
    ids.sort_unstable();
    let mut waiting = owner.start("waiting");
    waiting.head = live(Some(Timestamp(1)));
    owner.must(store, waiting).await;
    owner
        .must(store, start(&owner.leases[1], "elsewhere", b"input"))
        .await;

    let first = store.load_active(GROUP, 0, None, 3).await.expect("a page");
    let second = store
        .load_active(GROUP, 0, Some(ids[2]), 3)
        .await
        .expect("a page");
    let found: Vec<Uuid> = first.iter().chain(&second).map(|saga| saga.saga).collect();
    assert_eq!(found, ids);
    assert!(
        first
            .iter()
            .all(|saga| saga.journal.len() == 1 && saga.shard == 0)
    );
}

/// Timers fire late, never early (law 11), and the one that waits longest first.
pub async fn due_sagas_come_oldest_first(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let two = Owner::of_group(store, "other@1").await;
    let now = store.survey(&[]).await.expect("a survey").now;
    let at = |back: i64| Some(Timestamp(now.0 - back));
    let sleeper = async |owner: &Owner, shard: usize, id: &str, wake_at| {
        let mut change = start(&owner.leases[shard], id, b"input");
        change.head = live(wake_at);
        owner.must(store, change).await
    };
    let young = sleeper(&owner, 0, "young", at(10)).await;
    let oldest = sleeper(&owner, 1, "oldest", at(3_000)).await;
    let old = sleeper(&two, 0, "old", at(2_000)).await;
    sleeper(&owner, 0, "later", at(-3_600_000_000)).await;
    sleeper(&owner, 0, "now", None).await;
    let unasked = sleeper(&owner, 5, "unasked", at(9_000)).await;

    let asked = [&owner.leases[..2], &two.leases[..1]].concat();
    let due = store.load_due(&asked, 10).await.expect("the due");
    let found: Vec<Uuid> = due.iter().map(|saga| saga.saga).collect();
    assert_eq!(found, [oldest, old, young]);
    let due = store.load_due(&asked, 2).await.expect("the due");
    let found: Vec<Uuid> = due.iter().map(|saga| saga.saga).collect();
    assert_eq!(found, [oldest, old]);
    assert!(store.load_due(&[], 10).await.expect("the due").is_empty());
    assert!(!found.contains(&unasked));

    let soon = sleeper(&owner, 9, "soon", at(-20_000)).await;
    until("the timer fires", async || {
        let due = store
            .load_due(&owner.leases[9..10], 10)
            .await
            .expect("the due");
        due.iter().any(|saga| saga.saga == soon)
    })
    .await;
    let now = store.survey(&[]).await.expect("a survey").now;
    let wake_at = loaded(store, soon).await.wake_at.expect("its timer");
    assert!(now >= wake_at, "it fired early");
}

/// The last moment there is never comes.
pub async fn a_saga_that_only_a_signal_wakes_is_not_due(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let mut change = owner.start("a");
    change.head = live(Some(Timestamp(i64::MAX)));
    let saga = owner.must(store, change).await;
    let due = store.load_due(&owner.leases, 10).await.expect("the due");
    assert!(due.is_empty());
    let active = store.load_active(GROUP, 0, None, 10).await.expect("a page");
    assert!(active.is_empty());
    assert_eq!(loaded(store, saga).await.wake_at, Some(Timestamp(i64::MAX)));
}

/// Running sagas by definition, state and page.
pub async fn lists_go_by_keyset(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let two = Owner::of_group(store, "other@1").await;
    let mut ids = Vec::new();
    for i in 0..5 {
        ids.push(owner.started(store, &format!("saga {i}")).await);
    }
    ids.sort_unstable();
    let other = two.started(store, "a").await;
    let mut parked = owner.start("parked");
    parked.head = Head::Live {
        wake_at: Some(Timestamp(i64::MAX)),
        past_pivot: false,
        state: 4,
        attention: true,
        crashes: 0,
    };
    let parked = owner.must(store, parked).await;
    let mut end = owner.next(&loaded(store, ids[4]).await);
    end.head = ENDED;
    owner.must(store, end).await;

    let list = async |definition: Option<&str>, state, after, limit| {
        let page = Page {
            definition: definition.map(str::to_owned),
            state,
            after,
            limit,
        };
        store.list(page).await.expect("a page")
    };
    let sagas = |page: &[crate::store::Listed]| page.iter().map(|l| l.saga).collect::<Vec<_>>();
    let first = list(Some(DEFINITION), Some(1), None, 2).await;
    assert_eq!(sagas(&first), ids[..2]);
    let second = list(Some(DEFINITION), Some(1), Some(ids[1]), 10).await;
    assert_eq!(sagas(&second), ids[2..4]);
    assert_eq!(sagas(&list(Some("other"), None, None, 10).await), [other]);
    let all = list(None, None, None, 10).await;
    assert_eq!(all.len(), 6);
    let found = list(None, Some(4), None, 10).await;
    assert_eq!(sagas(&found), [parked]);
    assert!(found[0].attention && found[0].id == "parked" && found[0].version == 1);
    assert_eq!(found[0].wake_at, Some(Timestamp(i64::MAX)));
}

/// A journal is read in order, from anywhere.
pub async fn history_goes_by_seq(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    for _ in 0..4 {
        owner
            .must(store, owner.next(&loaded(store, saga).await))
            .await;
    }
    let seqs = async |after, limit| {
        let rows = store.history(saga, after, limit).await.expect("a read");
        rows.iter().map(|row| row.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(0, 10).await, [1, 2, 3, 4, 5]);
    assert_eq!(seqs(2, 2).await, [3, 4]);
    assert!(seqs(5, 10).await.is_empty());
}

/// What nobody ever heard of is no error.
pub async fn unknown_names_are_empty(store: &dyn Store) {
    let nobody = Uuid::now_v7();
    assert!(store.find("nothing", "a").await.expect("a read").is_none());
    assert!(store.load(&[nobody]).await.expect("a read").is_empty());
    assert!(
        store
            .history(nobody, 0, 10)
            .await
            .expect("a read")
            .is_empty()
    );
    let found = store.load_active("nothing@1", 0, None, 10).await;
    assert!(found.expect("a read").is_empty());
    let page = Page {
        definition: Some("nothing".to_owned()),
        limit: 10,
        ..Page::default()
    };
    assert!(store.list(page).await.expect("a read").is_empty());
}

/// Retention takes the ended, and of those the old.
pub async fn only_old_ended_sagas_are_pruned(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let running = owner.started(store, "running").await;
    let mut done = Vec::new();
    let now = store.survey(&[]).await.expect("a survey").now;
    let hour = Duration::from_secs(3_600);
    for (id, at) in [
        ("old 1", Timestamp(now.0 - 7_200_000_000)),
        ("old 2", Timestamp(now.0 - 7_200_000_000)),
        ("old 3", Timestamp(now.0 - 7_200_000_000)),
        ("young", now),
    ] {
        let saga = owner.started(store, id).await;
        let mut end = owner.next(&loaded(store, saga).await);
        end.rows[0].at = at;
        end.head = ENDED;
        owner.must(store, end).await;
        done.push(saga);
    }
    assert_eq!(store.prune(hour, 2).await.expect("a batch"), 2);
    assert_eq!(store.prune(hour, 2).await.expect("a batch"), 1);
    assert_eq!(store.prune(hour, 2).await.expect("a batch"), 0);
    for gone in &done[..3] {
        assert!(
            store
                .history(*gone, 0, 10)
                .await
                .expect("a read")
                .is_empty()
        );
    }
    assert_eq!(
        store.history(done[3], 0, 10).await.expect("a read").len(),
        2
    );
    assert!(
        store
            .find(DEFINITION, "young")
            .await
            .expect("a read")
            .is_some()
    );
    assert_eq!(loaded(store, running).await.journal.len(), 1);
}

/// With the key goes the memory of the id.
pub async fn a_pruned_id_is_free_again(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    let mut end = owner.next(&loaded(store, saga).await);
    end.rows[0].at = Timestamp(1);
    end.head = ENDED;
    owner.must(store, end).await;
    assert_eq!(
        store
            .prune(Duration::from_secs(60), 10)
            .await
            .expect("a batch"),
        1
    );
    let mut again = start(&owner.leases[2], "a", b"another");
    again.head = past_pivot();
    let outcomes = owner.commit(store, vec![again]).await;
    assert!(matches!(outcomes[..], [Outcome::Committed]), "{outcomes:?}");
}

/// What it carried goes, signals included; what happened stays, and so does the id.
pub async fn an_erased_saga_keeps_its_facts(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    let beside = owner.started(store, "b").await;
    store.signal(signal("a", "once")).await.expect("a signal");
    let mut end = owner.next(&loaded(store, saga).await);
    end.head = ENDED;
    owner.must(store, end).await;
    let rows = async |saga| store.history(saga, 0, 10).await.expect("a read");
    let before = rows(saga).await;
    assert!(store.erase(saga).await.expect("an erasure"));
    assert!(store.erase(saga).await.expect("once more"));
    let after = rows(saga).await;
    assert_eq!(after.len(), before.len());
    for (was, is) in before.iter().zip(&after) {
        assert!(was.payload.is_some() && is.payload.is_none(), "{is:?}");
        assert_eq!((was.seq, was.kind, was.at), (is.seq, is.kind, is.at));
        assert_eq!(was.facts, is.facts);
    }
    assert!(rows(beside).await[0].payload.is_some());
    let found = store.find(DEFINITION, "a").await.expect("a read");
    assert_eq!(found.map(|found| found.saga), Some(saga));
}

/// What still runs needs what it carries.
pub async fn a_running_saga_is_not_erased(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    assert!(!store.erase(saga).await.expect("an answer"));
    assert!(loaded(store, saga).await.journal[0].payload.is_some());
}
