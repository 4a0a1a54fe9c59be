//! Changes for stores, which need not know what they mean.

use std::sync::Arc;
use std::time::Duration;

use swifttrack_saga::hook::{Transition, What};
use swifttrack_saga::store::{
    Change, Head, Loaded, NewSaga, Row, ShardLease, Store, Timestamp, WorkerId,
};
use uuid::Uuid;

pub(super) const LONG: Duration = Duration::from_secs(300);
pub(super) const GROUP: &str = "conform@1";

pub(super) fn worker() -> WorkerId {
    WorkerId(Uuid::now_v7())
}

/// A registered worker with all shards, the first of them in front.
pub(super) async fn owner(store: &dyn Store, lease: Duration) -> (WorkerId, Vec<ShardLease>) {
    let worker = worker();
    store.register(worker, &[], lease).await.unwrap();
    let mut leases = store.claim(worker, GROUP, 64).await.unwrap();
    leases.sort_by_key(|lease| lease.shard);
    assert_eq!(leases.len(), 64);
    (worker, leases)
}

pub(super) fn start(lease: &ShardLease, id: &str) -> Change {
    let saga = Uuid::now_v7();
    change(
        saga,
        lease,
        0,
        0,
        id,
        Some(NewSaga {
            definition: "conform".into(),
            version: 1,
            id: id.into(),
            input_hash: [7; 32],
            attachment: None,
        }),
    )
}

pub(super) fn next(lease: &ShardLease, loaded: &Loaded) -> Change {
    change(loaded.saga, lease, loaded.seq, loaded.ctl, &loaded.id, None)
}

fn change(
    saga: Uuid,
    lease: &ShardLease,
    seq: u32,
    ctl: i64,
    id: &str,
    start: Option<NewSaga>,
) -> Change {
    let at = Timestamp(1_700_000_000_000_000);
    Change {
        saga,
        lease: lease.clone(),
        expect_seq: seq,
        expect_ctl: ctl,
        start,
        rows: vec![Row {
            seq: seq + 1,
            kind: 1,
            node: -1,
            at,
            payload: Some(Arc::from(b"words".as_slice())),
            facts: None,
        }],
        head: Head::Live {
            wake_at: None,
            past_pivot: false,
            state: 1,
            attention: false,
            crashes: 0,
        },
        signals: Vec::new(),
        requests_until: 0,
        transitions: vec![Transition {
            saga,
            definition: "conform".into(),
            version: 1,
            id: id.into(),
            seq: seq + 1,
            at,
            what: What::AttentionCleared,
            starts: Vec::new(),
            undoes: Vec::new(),
            end: None,
            attachment: None,
        }],
    }
}

pub(super) async fn loaded(store: &dyn Store, saga: Uuid) -> Loaded {
    let mut all = store.load(&[saga]).await.unwrap();
    assert_eq!(all.len(), 1, "the saga runs");
    all.remove(0)
}
