//! A batch is one transaction, and each change has its own outcome.

use std::sync::Arc;

use uuid::Uuid;

use super::fixture::{ENDED, Owner, live, loaded, row, start};
use crate::store::{Head, Outcome, Row, Store, Timestamp};

/// A started saga is there with every row as it was written.
pub async fn a_start_is_durable_with_all_its_rows(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let change = owner.start("a");
    let (rows, hash) = (
        change.rows.clone(),
        [b"input".as_slice(), &[0; 27]].concat(),
    );
    let saga = owner.must(store, change).await;

    let found = loaded(store, saga).await;
    assert_eq!(
        (found.definition.as_str(), found.id.as_str()),
        ("conform", "a")
    );
    assert_eq!((found.version, found.shard, found.seq), (1, 0, 1));
    assert_eq!((found.ctl, found.crashes, found.wake_at), (0, 0, None));
    assert_eq!(found.journal, rows);
    let key = store
        .find("conform", "a")
        .await
        .expect("a read")
        .expect("its key");
    assert_eq!((key.saga, key.input_hash.to_vec()), (saga, hash));
    assert!(key.running.is_some_and(|head| head.seq == 1));
}

/// One batch of all kinds: the good are written, of the others nothing is (law 12).
pub async fn each_change_has_its_own_outcome(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let (good, stale, ended) = (
        owner.started(store, "good").await,
        owner.started(store, "stale").await,
        owner.started(store, "ended").await,
    );
    let fine = owner.next(&loaded(store, good).await);
    let mut wrong = owner.next(&loaded(store, stale).await);
    wrong.expect_seq = 7;
    wrong.rows = vec![row(8)];
    let mut end = owner.next(&loaded(store, ended).await);
    end.head = ENDED;
    let mut lost = owner.start("fenced");
    lost.lease.epoch -= 1;
    let fresh = owner.start("fresh");
    let twin = owner.start("good");
    let other = start(&owner.leases[3], "stale", b"another");

    let sagas: Vec<Uuid> = [&lost, &twin, &other, &fresh]
        .map(|change| change.saga)
        .to_vec();
    let batch = vec![fine, wrong, end, lost, fresh, twin, other];
    let outcomes = owner.commit(store, batch).await;
    assert!(matches!(outcomes[0], Outcome::Committed), "{outcomes:?}");
    assert!(matches!(outcomes[1], Outcome::Conflict), "{outcomes:?}");
    assert!(matches!(outcomes[2], Outcome::Committed), "{outcomes:?}");
    assert!(matches!(outcomes[3], Outcome::Fenced), "{outcomes:?}");
    assert!(matches!(outcomes[4], Outcome::Committed), "{outcomes:?}");
    let Outcome::Exists {
        saga,
        same_input: true,
    } = outcomes[5]
    else {
        panic!("{outcomes:?}");
    };
    assert_eq!(saga, good);
    let Outcome::Exists {
        saga,
        same_input: false,
    } = outcomes[6]
    else {
        panic!("{outcomes:?}");
    };
    assert_eq!(saga, stale);

    assert_eq!(loaded(store, good).await.seq, 2);
    assert_eq!(loaded(store, stale).await.journal.len(), 1);
    assert!(store.load(&[ended]).await.expect("a read").is_empty());
    assert_eq!(
        store.load(&sagas).await.expect("a read").len(),
        1,
        "only the fresh one"
    );
    for lost in &sagas[..3] {
        let rows = store.history(*lost, 0, 10).await.expect("a read");
        assert!(rows.is_empty(), "a loser left rows: {rows:?}");
    }
    assert!(
        store
            .find("conform", "fenced")
            .await
            .expect("a read")
            .is_none()
    );
}

/// Whoever decided without knowing of a request decides again (law 8).
pub async fn a_changed_ctl_conflicts(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    let mut change = owner.next(&loaded(store, saga).await);
    change.expect_ctl = 1;
    let outcomes = owner.commit(store, vec![change]).await;
    assert!(matches!(outcomes[..], [Outcome::Conflict]), "{outcomes:?}");
    assert_eq!(loaded(store, saga).await.seq, 1);
}

/// The same transition cannot be written twice, nor one be left out.
pub async fn a_stale_seq_changes_nothing(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    let change = owner.next(&loaded(store, saga).await);
    owner.must(store, change.clone()).await;
    let mut end = change.clone();
    end.head = ENDED;
    let seen = loaded(store, saga).await;
    let mut ahead = owner.next(&seen);
    ahead.expect_seq += 1;
    ahead.rows = vec![row(seen.seq + 2)];
    let mut over = ahead.clone();
    over.head = ENDED;
    for (stale, other) in [change, end, ahead, over]
        .into_iter()
        .zip(["b", "c", "d", "e"])
    {
        let outcomes = owner.commit(store, vec![stale.clone()]).await;
        assert!(matches!(outcomes[..], [Outcome::Conflict]), "{outcomes:?}");
        // Nor among others, which are not held up.
        let mut batch = vec![stale, owner.start(other)];
        batch.sort_by_key(|change| change.saga);
        let outcomes = owner.commit(store, batch.clone()).await;
        for (change, outcome) in batch.iter().zip(outcomes) {
            match change.saga == saga {
                true => assert!(matches!(outcome, Outcome::Conflict), "{outcome:?}"),
                false => assert!(matches!(outcome, Outcome::Committed), "{outcome:?}"),
            }
        }
    }
    let found = loaded(store, saga).await;
    assert_eq!((found.seq, found.journal.len()), (2, 2));
}

/// Several transitions of one saga in a flush are one head change and several rows.
pub async fn chained_rows_are_one_change(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let mut first = owner.start("a");
    first.rows.push(row(2));
    let saga = owner.must(store, first).await;
    let mut change = owner.next(&loaded(store, saga).await);
    change.rows = vec![row(3), row(4), row(5)];
    owner.must(store, change).await;
    let found = loaded(store, saga).await;
    assert_eq!(found.seq, 5);
    let seqs: Vec<u32> = found.journal.iter().map(|row| row.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5]);
}

/// To be woken at another time is no transition.
pub async fn a_change_without_rows_moves_only_the_head(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    let mut change = owner.next(&loaded(store, saga).await);
    change.rows.clear();
    change.transitions.clear();
    change.head = Head::Live {
        wake_at: Some(Timestamp(5)),
        past_pivot: true,
        state: 3,
        attention: true,
        crashes: 2,
    };
    owner.must(store, change).await;
    let found = loaded(store, saga).await;
    assert_eq!((found.seq, found.journal.len()), (1, 1));
    assert_eq!((found.wake_at, found.crashes), (Some(Timestamp(5)), 2));
    let key = store
        .find("conform", "a")
        .await
        .expect("a read")
        .expect("its key");
    let head = key.running.expect("its head");
    assert_eq!((head.state, head.attention), (3, true));
}

/// What has ended is no longer loaded; its journal and its key stay.
pub async fn the_end_takes_the_head_and_leaves_the_journal(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let saga = owner.started(store, "a").await;
    let mut end = owner.next(&loaded(store, saga).await);
    end.head = ENDED;
    owner.must(store, end).await;

    assert!(store.load(&[saga]).await.expect("a read").is_empty());
    let key = store
        .find("conform", "a")
        .await
        .expect("a read")
        .expect("its key");
    assert!(key.saga == saga && key.running.is_none());
    assert_eq!(store.history(saga, 0, 10).await.expect("a read").len(), 2);
}

/// Whoever does not know whether a commit happened can tell by id and seq (law 10).
pub async fn a_commit_can_be_read_back(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let change = owner.start("a");
    let saga = owner.must(store, change.clone()).await;
    let leases = store
        .reclaim(owner.worker, &owner.leases)
        .await
        .expect("a reclaim");
    assert_eq!(leases.len(), owner.leases.len());
    assert_eq!(loaded(store, saga).await.journal, change.rows);
    let mut again = change;
    again.lease = leases
        .iter()
        .find(|lease| lease.shard == 0)
        .expect("shard 0")
        .clone();
    let outcomes = owner.commit(store, vec![again]).await;
    let [
        Outcome::Exists {
            saga: found,
            same_input: true,
        },
    ] = outcomes[..]
    else {
        panic!("{outcomes:?}");
    };
    assert_eq!(found, saga);
}

/// No bytes and zero bytes are two things, and bytes are any bytes.
pub async fn empty_payloads_are_not_absent_ones(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let mut change = owner.start("a \"quoted\" ünïcode {}[],\\ id");
    let odd = |seq, payload: Option<&[u8]>, facts: Option<&str>| Row {
        payload: payload.map(Arc::from),
        facts: facts.map(Arc::from),
        ..row(seq)
    };
    let every: Vec<u8> = (0..=255).collect();
    change.rows = vec![
        odd(1, None, None),
        odd(2, Some(b""), Some("")),
        odd(3, Some(&every), Some(r#"{"a":"\u0000 \" ü"}"#)),
        odd(4, Some(&[0; 70_000]), None),
    ];
    change.head = live(None);
    let rows = change.rows.clone();
    let saga = owner.must(store, change).await;
    assert_eq!(loaded(store, saga).await.journal, rows);
}

/// 500 changes, as many as a flush takes, in one call.
pub async fn a_full_batch_is_one_commit(store: &dyn Store) {
    let owner = Owner::of(store).await;
    let starts: Vec<_> = (0..500)
        .map(|i| start(&owner.leases[i % 64], &format!("saga {i}"), b"input"))
        .collect();
    let outcomes = owner.commit(store, starts).await;
    assert!(outcomes.iter().all(|o| matches!(o, Outcome::Committed)));
    let mut sagas = Vec::new();
    for shard in 0..64 {
        sagas.extend(
            store
                .load_active("conform@1", shard, None, 100)
                .await
                .expect("a read"),
        );
    }
    assert_eq!(sagas.len(), 500);
    let steps = sagas.iter().map(|saga| owner.next(saga)).collect();
    let outcomes = owner.commit(store, steps).await;
    assert!(outcomes.iter().all(|o| matches!(o, Outcome::Committed)));
}

/// Starts, then ends, with three rows each: nothing is left out, whatever the number.
pub async fn a_batch_of_any_size_is_written_whole(store: &dyn Store) {
    let owner = Owner::of(store).await;
    for size in [1, 2, 3, 31, 33, 171, 500] {
        let mut starts: Vec<_> = (0..size)
            .map(|i| start(&owner.leases[i % 64], &format!("{size} {i}"), b"input"))
            .collect();
        for change in &mut starts {
            change.rows = vec![row(1), row(2), row(3)];
        }
        let sagas: Vec<_> = starts.iter().map(|change| change.saga).collect();
        let outcomes = owner.commit(store, starts).await;
        assert!(outcomes.iter().all(|o| matches!(o, Outcome::Committed)));
        let running = store.load(&sagas).await.expect("a load");
        assert_eq!(running.len(), size);
        for saga in &running {
            assert_eq!(saga.journal, [row(1), row(2), row(3)], "{}", saga.id);
        }
        let ends = running.iter().map(|saga| {
            let mut change = owner.next(saga);
            change.rows = vec![row(4), row(5), row(6)];
            change.head = ENDED;
            change
        });
        let outcomes = owner.commit(store, ends.collect()).await;
        assert!(outcomes.iter().all(|o| matches!(o, Outcome::Committed)));
        let running = store.load(&sagas).await.expect("a load");
        assert!(running.is_empty(), "{} of {size}", running.len());
        for saga in sagas {
            let rows = store.history(saga, 0, 100).await.expect("a history");
            assert_eq!(rows.len(), 6);
        }
    }
}
