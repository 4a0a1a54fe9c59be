//! Runs the core: events in, actions out.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::Status;
use super::core::{Action, Batch, Core, Event, Outcome, Settings};
use super::io::{self, COMMANDS_MAX, KeeperCommand, ReaderCommand, WriterCommand};
use super::wake::Waker;
use crate::db::Database;
use crate::ops::{EXPIRE_ROWS_MAX, Retention};
use crate::publisher::{Command, Commands, Report, Trust};
use crate::store::{Lessee, PageLimit, Position, Store};

/// Events that wait for the core. Each sender has one under way.
const EVENTS_MAX: usize = 64;

/// The longest sleep without anything to do.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Between two rounds of forgetting.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Driver {
    pub(super) store: Arc<dyn Store>,
    pub(super) publisher: Box<dyn Commands>,
    pub(super) from_publisher: mpsc::UnboundedReceiver<Report>,
    pub(super) trust: Arc<Trust>,
    pub(super) start: Instant,
    pub(super) page: PageLimit,
    pub(super) only: Option<String>,
    pub(super) name: String,
    pub(super) fencing: &'static str,
    pub(super) lease_ttl: Duration,
    pub(super) waker: Waker,
    pub(super) stop: watch::Receiver<Option<Duration>>,
    pub(super) status: watch::Sender<Status>,
    pub(super) retention: Option<Retention>,
    pub(super) database: Database,
}

/// The ways to the tasks that do the I/O.
struct Tasks {
    reader: mpsc::Sender<ReaderCommand>,
    writer: mpsc::Sender<WriterCommand>,
    keeper: mpsc::Sender<KeeperCommand>,
    /// Ends them with the driver.
    _tasks: JoinSet<()>,
}

impl Driver {
    /// Until it was told to stop; true if nothing was left in flight.
    pub(super) async fn run(mut self, settings: Settings) -> bool {
        let unit = settings.unit;
        let mut core: Core<Position> = Core::new(settings);
        let (events, mut inbox) = mpsc::channel(EVENTS_MAX);
        let tasks = self.tasks(events);
        let mut life = (0, super::new_life());
        let mut stopping = false;
        let mut actions = core.handle(Event::Tick, self.start.elapsed());
        loop {
            for action in actions {
                if let Action::Stopped { clean } = action {
                    return clean;
                }
                self.execute(action, &tasks, &mut life, unit);
            }
            self.publish_status(&core);
            let sleep = core
                .deadline()
                .map_or(SLEEP_MAX, |due| due.saturating_sub(self.start.elapsed()))
                .clamp(Duration::from_millis(1), SLEEP_MAX);
            let event = tokio::select! {
                biased;
                changed = self.stop.changed(), if !stopping => {
                    stopping = true;
                    let until = match changed {
                        Ok(()) => *self.stop.borrow(),
                        Err(_) => None,
                    };
                    Event::Stop { until: until.unwrap_or(Duration::ZERO) }
                }
                Some(report) = self.from_publisher.recv() => {
                    self.measure(&report, &core);
                    event_of(report)
                }
                Some(event) = inbox.recv() => event,
                // Once for each read: with thousands of commits a second the others are noise.
                () = self.waker.woken(), if !stopping && !core.is_woken() => Event::Wake,
                () = tokio::time::sleep(sleep) => Event::Tick,
            };
            actions = core.handle(event, self.start.elapsed());
        }
    }

    fn tasks(&self, events: io::Events) -> Tasks {
        let mut tasks = JoinSet::new();
        let (reader, commands) = mpsc::channel(COMMANDS_MAX);
        tasks.spawn(io::reader(
            Arc::clone(&self.store),
            self.page,
            self.only.clone(),
            commands,
            events.clone(),
        ));
        let (writer, commands) = mpsc::channel(COMMANDS_MAX);
        tasks.spawn(io::writer(
            Arc::clone(&self.store),
            commands,
            events.clone(),
        ));
        let (keeper, commands) = mpsc::channel(COMMANDS_MAX);
        let (store, ttl, start) = (Arc::clone(&self.store), self.lease_ttl, self.start);
        tasks.spawn(io::keeper(store, ttl, start, commands, events));
        if let Some(retention) = self.retention {
            tasks.spawn(forget(self.database.clone(), retention));
        }
        Tasks {
            reader,
            writer,
            keeper,
            _tasks: tasks,
        }
    }

    fn execute(&self, action: Action<Position>, tasks: &Tasks, life: &mut (u64, Uuid), unit: u8) {
        let mut id = |number: u64| {
            if life.0 != number {
                *life = (number, super::new_life());
            }
            life.1
        };
        match action {
            Action::OpenReader => send(&tasks.reader, ReaderCommand::Open),
            Action::Read(read) => send(&tasks.reader, ReaderCommand::Read(read)),
            Action::Keep { life, first } => {
                let me = Lessee {
                    id: id(life),
                    name: self.name.clone(),
                    fencing: self.fencing,
                    ttl: self.lease_ttl,
                    unit,
                };
                send(&tasks.keeper, KeeperCommand::Keep { me, first });
            }
            Action::Release { life, slots } => {
                send(
                    &tasks.keeper,
                    KeeperCommand::Release {
                        owner: id(life),
                        slots,
                    },
                );
            }
            Action::Leave { life } => {
                send(&tasks.keeper, KeeperCommand::Leave { owner: id(life) });
            }
            Action::Delete { seqs, dead } => {
                send(&tasks.writer, WriterCommand::Delete { seqs, dead });
            }
            Action::DeleteMarked { rows } => {
                send(&tasks.writer, WriterCommand::DeleteMarked { rows });
            }
            Action::Bury { life, burial } => {
                let topic = burial.key.0.to_string();
                metrics::counter!("outbox_dead_total", "topic" => topic).increment(1);
                send(
                    &tasks.writer,
                    WriterCommand::Bury {
                        owner: id(life),
                        burial,
                    },
                );
            }
            Action::Trust { until } => self.trust.extend(until),
            Action::OpenProducer {
                generation,
                packing,
            } => {
                self.publisher.command(Command::Open {
                    generation,
                    packing,
                });
            }
            Action::Fence { generation, group } => {
                self.publisher.command(Command::Fence { generation, group });
            }
            Action::Publish { generation, batch } => {
                self.publisher
                    .command(Command::Publish { generation, batch });
            }
            Action::CloseProducer { generation, flush } => {
                self.publisher.command(Command::Close { generation, flush });
            }
            Action::Probe { topic } => self.publisher.command(Command::Probe { topic }),
            Action::Stopped { .. } => {}
        }
    }

    fn publish_status(&self, core: &Core<Position>) {
        let stats = core.stats();
        let status = Status {
            slots: stats.slots,
            in_flight: stats.in_flight,
            undeleted: stats.undeleted,
            paused_topics: stats.paused,
            blocked_keys: stats.blocked,
            lives: stats.life + 1,
            producers_closed: stats.generation,
        };
        let changed = self.status.send_if_modified(|before| {
            let changed = *before != status;
            *before = status;
            changed
        });
        if changed {
            metrics::gauge!("outbox_slots").set(status.slots as f64);
            metrics::gauge!("outbox_in_flight_rows").set(status.in_flight as f64);
            metrics::gauge!("outbox_paused_topics").set(status.paused_topics as f64);
            metrics::gauge!("outbox_blocked_keys").set(status.blocked_keys as f64);
            metrics::counter!("outbox_lease_lives_total").absolute(status.lives);
            metrics::counter!("outbox_producers_closed_total").absolute(status.producers_closed);
        }
    }

    /// Commit to acknowledgement, as far as the two clocks agree: one sample for each batch,
    /// its oldest row.
    fn measure(&self, report: &Report, core: &Core<Position>) {
        let Report::Settled {
            batch,
            outcome: Outcome::Acked,
            ..
        } = report
        else {
            return;
        };
        let Some(batch) = core.batch(*batch) else {
            return;
        };
        metrics::counter!("outbox_published_total").increment(batch.rows.len() as u64);
        metrics::histogram!("outbox_publish_seconds").record(age_of_oldest(&batch).as_secs_f64());
    }
}

fn age_of_oldest(batch: &Batch) -> Duration {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let oldest = batch
        .rows
        .iter()
        .map(|row| row.created_ms)
        .min()
        .unwrap_or_default();
    now.saturating_sub(Duration::from_millis(oldest.max(0) as u64))
}

fn event_of(report: Report) -> Event<Position> {
    match report {
        Report::Settled {
            generation,
            batch,
            outcome,
        } => Event::Settled {
            generation,
            batch,
            outcome,
        },
        Report::Failed { generation } => Event::Failed { generation },
        Report::Closed { generation } => Event::Closed { generation },
        Report::Fenced {
            generation,
            group,
            published,
        } => Event::Fenced {
            generation,
            group,
            published,
        },
        Report::TopicReady { topic } => Event::TopicReady { topic },
        Report::TopicAway { topic } => Event::TopicAway { topic },
    }
}

/// The core has one thing under way with each task, so there is always a place.
fn send<T>(to: &mpsc::Sender<T>, command: T) {
    if to.try_send(command).is_err() {
        tracing::error!("a task of the relay is gone");
    }
}

/// Deletes what is older than it needs to be, once a minute.
async fn forget(database: Database, retention: Retention) {
    loop {
        match crate::ops::expire(&database, retention).await {
            Ok(rows) if rows >= u64::from(EXPIRE_ROWS_MAX) => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "forgetting old keys failed"),
        }
        tokio::time::sleep(EXPIRE_EVERY).await;
    }
}
