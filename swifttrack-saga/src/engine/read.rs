//! What can be seen of sagas.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use uuid::Uuid;

use crate::core::{self, Phase, Status as NodeStatus};
use crate::engine::Engine;
use crate::engine::error::Error;
use crate::engine::live::Restored;
use crate::engine::registry::Registered;
use crate::engine::shared::Shared;
use crate::hook::{End, Failure, Transition};
use crate::store::{Found, Listed, Page, Row, Timestamp};

/// No answer to `list` or `history` is longer.
const PAGE_MAX: u32 = 1000;
/// How often a watch looks by itself, for what other processes do.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// A saga as it stands.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The saga.
    pub saga: Uuid,
    /// Its definition's name.
    pub definition: Arc<str>,
    /// Its version.
    pub version: u32,
    /// The caller's id.
    pub id: Arc<str>,
    /// The last transition.
    pub seq: u32,
    /// Where it stands.
    pub status: Status,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether it asked for a person's eyes.
    pub attention: bool,
    /// Whether it can no longer be cancelled.
    pub past_pivot: bool,
    /// What made it turn back, if something failed.
    pub failure: Option<(Option<Arc<str>>, Failure)>,
    /// Whether it has ended and what it carried [is gone](Engine::erase).
    pub erased: bool,
    /// When it was started.
    pub started_at: Timestamp,
    /// When its last transition was.
    pub changed_at: Timestamp,
    /// Its nodes, in the order of the definition.
    pub steps: Vec<StepSnapshot>,
}

/// Where a saga stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It goes forward.
    Running,
    /// It turned back and undoes what was done.
    Compensating,
    /// It waits for a person.
    Parked {
        /// Why.
        reason: Arc<str>,
    },
    /// It has ended.
    Ended(End),
}

/// A node as it stands.
#[derive(Clone, Debug)]
pub struct StepSnapshot {
    /// Its name.
    pub name: Arc<str>,
    /// Where it stands.
    pub status: StepStatus,
    /// The last attempt, from 1; of the undo once it is being undone.
    pub attempt: u32,
    /// Whether an attempt may have had an effect that is not known.
    pub maybe: bool,
    /// When it goes on, if it waits for a time.
    pub due: Option<Timestamp>,
}

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StepStatus {
    /// Not reached, or not to be run any more.
    Pending,
    /// An attempt runs, or may.
    Running,
    /// It waits for its next attempt, a time or a signal.
    Waiting,
    /// Its effect stands.
    Done,
    /// It failed, and what it may have done is not, or not yet, undone.
    Failed,
    /// It is being undone.
    Compensating,
    /// It was undone.
    Compensated,
    /// It cannot go on without a person.
    Stuck,
    /// A person said that its effect stays.
    Left,
}

impl Engine {
    /// A saga by its own id, running or ended.
    ///
    /// # Errors
    ///
    /// When the store cannot be used, or the saga was started under a version that is not
    /// registered here.
    pub async fn get(&self, definition: &str, id: &str) -> Result<Option<Snapshot>, Error> {
        let Some(found) = self.shared.store.find(definition, id).await? else {
            return Ok(None);
        };
        let rows = self.rows(found.saga).await?;
        let registered = self.shared.version_of(definition, &found, &rows)?;
        let restored = Restored::from(&registered, found.saga, &rows).map_err(Error::unreadable)?;
        Ok(Some(snapshot(found.saga, id, &registered, &restored)))
    }

    /// Running sagas by keyset, oldest first; at most 1000 at a time.
    ///
    /// # Errors
    ///
    /// When the store cannot be used.
    pub async fn list(&self, page: Page) -> Result<Vec<Listed>, Error> {
        let page = Page {
            limit: page.limit.clamp(1, PAGE_MAX),
            ..page
        };
        Ok(self.shared.store.list(page).await?)
    }

    /// What happened to a saga after `after`, as the hook saw it (without attachments).
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn history(
        &self,
        definition: &str,
        id: &str,
        after: u32,
        limit: u32,
    ) -> Result<Vec<Transition>, Error> {
        let Some(found) = self.shared.store.find(definition, id).await? else {
            return Ok(Vec::new());
        };
        let rows = self.rows(found.saga).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let registered = self.shared.version_of(definition, &found, &rows)?;
        let mut transitions = transitions(found.saga, id, &registered, &rows)?;
        transitions.retain(|transition| transition.seq > after);
        transitions.truncate(limit.clamp(1, PAGE_MAX) as usize);
        Ok(transitions)
    }

    /// Follows a saga from its beginning, whichever process runs it.
    ///
    /// # Errors
    ///
    /// When the store cannot be used.
    pub async fn watch(&self, definition: &str, id: &str) -> Result<Option<Watch>, Error> {
        let Some(found) = self.shared.store.find(definition, id).await? else {
            return Ok(None);
        };
        Ok(Some(Watch {
            engine: self.clone(),
            definition: definition.to_owned(),
            id: id.to_owned(),
            saga: found.saga,
            after: 0,
            ready: Vec::new(),
            ended: false,
            notify: self.shared.watchers.add(found.saga),
        }))
    }

    /// Waits until a saga has ended, and says how. None if there is no such saga.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn ended(&self, definition: &str, id: &str) -> Result<Option<End>, Error> {
        let Some(mut watch) = self.watch(definition, id).await? else {
            return Ok(None);
        };
        while let Some(transition) = watch.next().await? {
            if transition.end.is_some() {
                return Ok(transition.end);
            }
        }
        Ok(None)
    }

    async fn rows(&self, saga: Uuid) -> Result<Vec<Row>, Error> {
        let mut rows: Vec<Row> = Vec::new();
        loop {
            let after = rows.last().map_or(0, |row| row.seq);
            let page = self.shared.store.history(saga, after, PAGE_MAX).await?;
            let full = page.len() >= PAGE_MAX as usize;
            rows.extend(page);
            if !full {
                return Ok(rows);
            }
        }
    }
}

impl Shared {
    fn version_of(
        &self,
        definition: &str,
        found: &Found,
        rows: &[Row],
    ) -> Result<Arc<Registered>, Error> {
        let version = match &found.running {
            Some(running) => Some(running.version),
            None => rows.first().and_then(core::version_in),
        };
        let known = version.and_then(|version| self.registry.get(definition, version));
        let newest = || match version {
            None => self.registry.newest(definition),
            Some(_) => None,
        };
        let known = known.or_else(newest);
        known
            .cloned()
            .ok_or_else(|| Error::unregistered(definition))
    }
}

/// Follows one saga. Made by [`Engine::watch`].
#[derive(Debug)]
pub struct Watch {
    engine: Engine,
    definition: String,
    id: String,
    saga: Uuid,
    after: u32,
    /// The next ones, last first.
    ready: Vec<Transition>,
    ended: bool,
    notify: Arc<Notify>,
}

impl Watch {
    /// The next transition, once it is durable; none after the last.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing: the next call gives what this one would have.
    ///
    /// # Errors
    ///
    /// As [`Engine::get`].
    pub async fn next(&mut self) -> Result<Option<Transition>, Error> {
        loop {
            if let Some(next) = self.ready.pop() {
                self.after = next.seq;
                self.ended = next.end.is_some();
                return Ok(Some(next));
            }
            if self.ended {
                return Ok(None);
            }
            let notified = self.notify.notified();
            let (definition, id) = (&self.definition, &self.id);
            let next = self
                .engine
                .history(definition, id, self.after, PAGE_MAX)
                .await?;
            if next.is_empty() {
                // Other processes do not tell: look anyway.
                let _ = timeout(WATCH_EVERY, notified).await;
            } else {
                self.ready = next;
                self.ready.reverse();
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.engine.shared.watchers.remove(self.saga, &self.notify);
    }
}

fn snapshot(saga: Uuid, id: &str, registered: &Registered, restored: &Restored) -> Snapshot {
    let definition = &registered.definition;
    let state = &restored.state;
    let end = core::end_of(definition, state, || restored.result(registered));
    let status = match (end, &state.parked, state.phase) {
        (Some(end), ..) => Status::Ended(end),
        (None, Some(reason), _) => Status::Parked {
            reason: reason.clone(),
        },
        (None, None, Phase::Forward) => Status::Running,
        (None, None, _) => Status::Compensating,
    };
    let nodes = definition.nodes.iter().zip(state.nodes.iter());
    let steps = nodes.map(|(plan, node)| StepSnapshot {
        name: plan.name.clone(),
        status: match node.status {
            NodeStatus::Off if node.attempt > 0 => StepStatus::Failed,
            NodeStatus::Off => StepStatus::Pending,
            NodeStatus::Ready | NodeStatus::Running => StepStatus::Running,
            NodeStatus::Waiting | NodeStatus::Sleeping | NodeStatus::Listening => {
                StepStatus::Waiting
            }
            NodeStatus::Done => StepStatus::Done,
            NodeStatus::Stuck | NodeStatus::UndoStuck => StepStatus::Stuck,
            NodeStatus::UndoReady | NodeStatus::UndoRunning | NodeStatus::UndoWaiting => {
                StepStatus::Compensating
            }
            NodeStatus::Undone => StepStatus::Compensated,
            NodeStatus::Left => StepStatus::Left,
        },
        attempt: node.attempt,
        maybe: node.maybe,
        due: Some(node.due).filter(|due| {
            let waits = matches!(
                node.status,
                NodeStatus::Waiting
                    | NodeStatus::Sleeping
                    | NodeStatus::Listening
                    | NodeStatus::UndoWaiting
            );
            waits && due.0 != i64::MAX
        }),
    });
    Snapshot {
        saga,
        definition: definition.name.clone(),
        version: definition.version,
        id: id.into(),
        seq: state.seq,
        status,
        paused: state.paused,
        attention: state.attention || state.parked.is_some(),
        past_pivot: state.past_pivot,
        failure: state.failed.as_deref().map(|(place, why)| {
            let name = place.map(|place| definition.nodes[usize::from(place)].name.clone());
            (name, why.clone())
        }),
        erased: restored.erased,
        started_at: state.started,
        changed_at: restored.at,
        steps: steps.collect(),
    }
}

fn transitions(
    saga: Uuid,
    id: &str,
    registered: &Registered,
    rows: &[Row],
) -> Result<Vec<Transition>, Error> {
    let definition = &registered.definition;
    let id: Arc<str> = id.into();
    let rows = registered
        .open_rows(saga, rows)
        .map_err(Error::unreadable)?;
    let restored = Restored::read(registered, &rows).map_err(Error::unreadable)?;
    let mut transitions = Vec::with_capacity(rows.len());
    core::fold(definition, &rows, |state, row, entry, effects| {
        let names = |places: &[u16]| -> Vec<Arc<str>> {
            let nodes = places.iter();
            nodes
                .map(|place| definition.nodes[usize::from(*place)].name.clone())
                .collect()
        };
        let end = effects
            .over
            .and_then(|_| core::end_of(definition, state, || restored.result(registered)));
        transitions.push(Transition {
            saga,
            definition: definition.name.clone(),
            version: definition.version,
            id: id.clone(),
            seq: row.seq,
            at: row.at,
            what: core::tell(definition, entry),
            starts: names(&effects.first),
            undoes: names(&effects.undoes),
            end,
            attachment: None,
        });
    })
    .map_err(Error::unreadable)?;
    Ok(transitions)
}
