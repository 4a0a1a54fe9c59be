//! Sagas that mean nothing, for stores that need not know what they mean.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::hook::{Transition, What};
use crate::store::{
    Change, Command, Head, Loaded, NewSaga, Outcome, Request, Row, ShardLease, Store, StoredSignal,
    Timestamp, WorkerId,
};

pub(super) const DEFINITION: &str = "conform";
pub(super) const GROUP: &str = "conform@1";
/// Longer than any test runs.
pub(super) const LONG: Duration = Duration::from_secs(300);
/// Over at once.
pub(super) const SHORT: Duration = Duration::from_millis(1);
/// How often a condition is looked at before the test gives up, [`PAUSE`] apart.
const LOOKS_MAX: usize = 2_000;
const PAUSE: Duration = Duration::from_millis(10);

pub(super) fn worker() -> WorkerId {
    WorkerId(Uuid::now_v7())
}

/// A registered worker that holds all shards of [`GROUP`].
pub(super) struct Owner {
    pub(super) worker: WorkerId,
    pub(super) leases: Vec<ShardLease>,
}

impl Owner {
    pub(super) async fn of(store: &dyn Store) -> Self {
        Self::of_group(store, GROUP).await
    }

    pub(super) async fn of_group(store: &dyn Store, group: &str) -> Self {
        let worker = register(store, LONG).await;
        let mut leases = store.claim(worker, group, 64).await.expect("a claim");
        assert_eq!(leases.len(), 64, "a fresh store has 64 free shards");
        leases.sort_by_key(|lease| lease.shard);
        Self { worker, leases }
    }

    /// A start in shard 0, at step one.
    pub(super) fn start(&self, id: &str) -> Change {
        start(&self.leases[0], id, b"input")
    }

    /// Commits changes in the order that the store wants, and gives the outcomes in ours.
    pub(super) async fn commit(&self, store: &dyn Store, changes: Vec<Change>) -> Vec<Outcome> {
        commit(store, self.worker, changes).await
    }

    pub(super) async fn must(&self, store: &dyn Store, change: Change) -> Uuid {
        let saga = change.saga;
        let outcomes = self.commit(store, vec![change]).await;
        assert!(matches!(outcomes[..], [Outcome::Committed]), "{outcomes:?}");
        saga
    }

    /// A started saga, which waits for nothing.
    pub(super) async fn started(&self, store: &dyn Store, id: &str) -> Uuid {
        self.must(store, self.start(id)).await
    }

    /// The next row of a saga that this owner has.
    pub(super) fn next(&self, loaded: &Loaded) -> Change {
        next(&self.leases[usize::from(loaded.shard)], loaded)
    }
}

pub(super) async fn register(store: &dyn Store, lease: Duration) -> WorkerId {
    let worker = worker();
    store
        .register(worker, &[(DEFINITION.to_owned(), 1)], lease)
        .await
        .expect("a registration");
    worker
}

pub(super) async fn commit(
    store: &dyn Store,
    worker: WorkerId,
    changes: Vec<Change>,
) -> Vec<Outcome> {
    let ours: Vec<Uuid> = changes.iter().map(|change| change.saga).collect();
    let mut sorted = changes;
    sorted.sort_by_key(|change| change.saga);
    let outcomes = store.commit(worker, &sorted).await.expect("a commit");
    assert_eq!(outcomes.len(), sorted.len(), "one outcome a change");
    ours.iter()
        .map(|saga| {
            let at = sorted.iter().position(|change| change.saga == *saga);
            outcomes[at.expect("it was among them")].clone()
        })
        .collect()
}

pub(super) fn start(lease: &ShardLease, id: &str, input: &[u8]) -> Change {
    let version = lease.group.rsplit_once('@').map_or("1", |(_, v)| v);
    let definition: Arc<str> = lease.group.split('@').next().unwrap_or(DEFINITION).into();
    let version: u32 = version.parse().expect("a version");
    let mut hash = [0; 32];
    hash[..input.len()].copy_from_slice(input);
    let mut change = Change {
        saga: Uuid::now_v7(),
        lease: lease.clone(),
        expect_seq: 0,
        expect_ctl: 0,
        start: Some(NewSaga {
            definition: Arc::clone(&definition),
            version,
            id: id.into(),
            input_hash: hash,
            attachment: None,
        }),
        rows: vec![row(1)],
        head: live(None),
        signals: Vec::new(),
        requests_until: 0,
        transitions: Vec::new(),
    };
    change.rows[0].payload = Some(input.into());
    told(change, &definition, version, id)
}

/// One more row on what was loaded.
pub(super) fn next(lease: &ShardLease, loaded: &Loaded) -> Change {
    let change = Change {
        saga: loaded.saga,
        lease: lease.clone(),
        expect_seq: loaded.seq,
        expect_ctl: loaded.ctl,
        start: None,
        rows: vec![row(loaded.seq + 1)],
        head: live(None),
        signals: loaded.signals.iter().map(|signal| signal.n).collect(),
        requests_until: loaded.commands.last().map_or(0, |command| command.n),
        transitions: Vec::new(),
    };
    told(change, &loaded.definition, loaded.version, &loaded.id)
}

/// The change with the transitions that its rows are to a hook.
fn told(mut change: Change, definition: &str, version: u32, id: &str) -> Change {
    change.transitions = change
        .rows
        .iter()
        .map(|row| Transition {
            saga: change.saga,
            definition: definition.into(),
            version,
            id: id.into(),
            seq: row.seq,
            at: row.at,
            what: What::AttentionCleared,
            starts: Vec::new(),
            undoes: Vec::new(),
            end: None,
            attachment: None,
        })
        .collect();
    change
}

pub(super) fn row(seq: u32) -> Row {
    Row {
        seq,
        kind: i16::try_from(seq % 100).unwrap_or(0),
        node: -1,
        at: Timestamp(1_700_000_000_000_000 + i64::from(seq)),
        payload: Some(format!("payload {seq}").as_bytes().into()),
        facts: Some(format!(r#"{{"seq":{seq}}}"#).into()),
    }
}

pub(super) fn live(wake_at: Option<Timestamp>) -> Head {
    Head::Live {
        wake_at,
        past_pivot: false,
        state: 1,
        attention: false,
        crashes: 0,
    }
}

pub(super) fn past_pivot() -> Head {
    Head::Live {
        wake_at: None,
        past_pivot: true,
        state: 1,
        attention: false,
        crashes: 0,
    }
}

pub(super) const ENDED: Head = Head::Ended { state: 9 };

pub(super) async fn loaded(store: &dyn Store, saga: Uuid) -> Loaded {
    let mut all = store.load(&[saga]).await.expect("a load");
    assert_eq!(all.len(), 1, "the saga runs");
    all.remove(0)
}

/// Whether `saga` is due in shard 0 of [`GROUP`].
pub(super) async fn is_due(store: &dyn Store, owner: &Owner, saga: Uuid) -> bool {
    let due = store.load_due(&owner.leases[..1], 1_000).await;
    due.expect("the due sagas")
        .iter()
        .any(|due| due.saga == saga)
}

pub(super) fn request(id: &str) -> Request {
    Request {
        definition: DEFINITION.to_owned(),
        id: id.to_owned(),
        if_seq: None,
        before_pivot: false,
        command: Command {
            n: 0,
            verb: "pause".to_owned(),
            who: "a person".to_owned(),
            reason: "a test".to_owned(),
            body: Some("{}".to_owned()),
        },
    }
}

pub(super) fn signal(id: &str, dedupe: &str) -> StoredSignal {
    StoredSignal {
        n: 0,
        definition: DEFINITION.to_owned(),
        id: id.to_owned(),
        name: "paid".to_owned(),
        dedupe: dedupe.to_owned(),
        payload: b"words".as_slice().into(),
    }
}

/// Looks until it holds; what it waits for is time, by the database's clock.
pub(super) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..LOOKS_MAX {
        if holds().await {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("waited in vain until {what}");
}

/// Waits until the store no longer counts `worker` among the living.
pub(super) async fn expired(store: &dyn Store, worker: WorkerId) {
    until("the worker's lease has run out", async || {
        let survey = store.survey(&[GROUP.to_owned()]).await.expect("a survey");
        !survey.workers.iter().any(|alive| alive.worker == worker)
    })
    .await;
}
