//! `order-service outbox …`: what an operator asks of the outbox, beside a running service.
//!
//! ```text
//! order-service outbox backlog               rows that wait, the oldest's age, dead events
//! order-service outbox dead [AFTER [LIMIT]]  events that the broker refused, and its reason
//! order-service outbox replay SEQ            publish one again, before its key goes on
//! order-service outbox drop SEQ              give one up; its key goes on without it
//! order-service outbox blocked               keys that wait for a dead event
//! order-service outbox slots                 which relay publishes what, and for how long
//! ```
//!
//! Each answer is one JSON object a line. It finds the database as the service does. The exit code
//! is 0 when it was done, 1 when it could not be done (there is no such event, the database does
//! not answer), and 2 when it was not understood; the reason is one sentence on stderr.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use swifttrack_outbox as outbox;

use crate::config::{Config, Database};
use crate::db::Db;
use crate::wire::StartError;

const LIMIT: u32 = 100;
/// A list of the library's ends there.
const LIMIT_MAX: u32 = 1_000;
/// How long the service's own writes may keep a verb waiting.
const BUSY: Duration = Duration::from_secs(10);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Rows that wait.
    Backlog,
    /// Events that were refused.
    Dead {
        /// Only those with a higher number.
        after: i64,
        /// So many at most.
        limit: u32,
    },
    /// Publish one again.
    Replay(i64),
    /// Give one up.
    Drop(i64),
    /// Keys that wait.
    Blocked,
    /// Who publishes what.
    Slots,
}

const USAGE: &str =
    "outbox takes backlog, dead [AFTER [LIMIT]], replay SEQ, drop SEQ, blocked or slots";

impl Command {
    /// From the words behind `outbox`.
    ///
    /// # Errors
    ///
    /// One sentence.
    pub fn parse(words: &[String]) -> Result<Self, StartError> {
        let number = |text: &str| -> Result<i64, StartError> {
            let refused = || StartError::new(format!("{text:?} is not the number of an event"));
            text.parse().map_err(|_| refused())
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["backlog"] => Ok(Self::Backlog),
            ["blocked"] => Ok(Self::Blocked),
            ["slots"] => Ok(Self::Slots),
            ["replay", seq] => Ok(Self::Replay(number(seq)?)),
            ["drop", seq] => Ok(Self::Drop(number(seq)?)),
            ["dead", rest @ ..] if rest.len() <= 2 => {
                let after = rest.first().map_or(Ok(0), |after| number(after))?;
                let limit = rest.get(1).map_or(Ok(LIMIT), |text| {
                    let limit = text.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n));
                    limit.ok_or_else(|| {
                        StartError::new(format!("LIMIT is 1 to {LIMIT_MAX}, not {text:?}"))
                    })
                })?;
                Ok(Self::Dead { after, limit })
            }
            _ => Err(StartError::new(USAGE)),
        }
    }

    /// Asks, and returns the lines of the answer.
    ///
    /// # Errors
    ///
    /// One sentence: there is no such database or event.
    pub async fn run(self, config: &Config) -> Result<Vec<Value>, StartError> {
        let database = open(config).await?;
        self.ask(&database)
            .await
            .map_err(|error| StartError::because("the outbox does not answer", error))?
    }

    async fn ask(
        self,
        database: &outbox::Database,
    ) -> Result<Result<Vec<Value>, StartError>, outbox::Error> {
        let done = |found: bool, seq: i64, verb: &str| {
            if found {
                Ok(vec![json!({ "seq": seq, "done": verb })])
            } else {
                Err(StartError::new(format!(
                    "there is no dead event {seq} that could be {verb}; `outbox dead` lists them, \
                     and one that is replaying cannot be dropped"
                )))
            }
        };
        Ok(match self {
            Self::Backlog => {
                let backlog = outbox::backlog(database).await?;
                Ok(vec![json!({
                    "rows": backlog.rows,
                    "oldestAgeSeconds": backlog.oldest_age.as_secs_f64(),
                    "dead": outbox::dead_count(database).await?,
                })])
            }
            Self::Dead { after, limit } => {
                let dead = outbox::dead_events(database, after, limit).await?;
                Ok(dead.into_iter().map(dead_line).collect())
            }
            Self::Replay(seq) => done(outbox::replay(database, seq).await?, seq, "replayed"),
            Self::Drop(seq) => done(outbox::drop_dead(database, seq).await?, seq, "dropped"),
            Self::Blocked => {
                let keys = outbox::blocked_keys(database, LIMIT_MAX).await?;
                Ok(keys
                    .into_iter()
                    .map(|key| {
                        json!({
                            "topic": key.topic,
                            "key": key.key,
                            "seq": key.seq,
                            "waiting": key.waiting,
                        })
                    })
                    .collect())
            }
            Self::Slots => {
                let slots = outbox::slot_owners(database).await?;
                Ok(slots
                    .into_iter()
                    .map(|slot| {
                        json!({
                            "slot": slot.slot,
                            "epoch": slot.epoch,
                            "relay": slot.relay,
                            "leaseSeconds": slot.lease.as_secs_f64(),
                        })
                    })
                    .collect())
            }
        })
    }
}

fn dead_line(dead: outbox::DeadEvent) -> Value {
    json!({
        "seq": dead.seq,
        "id": dead.id,
        "topic": dead.topic,
        "key": dead.key,
        "type": dead.event_type,
        "reason": dead.reason,
        "blocks": dead.blocks,
        "replaying": dead.replaying,
        "diedAt": DateTime::<Utc>::from(dead.died_at),
    })
}

/// A connection of its own; it makes nothing that is not there, and holds no engine's lock.
async fn open(config: &Config) -> Result<outbox::Database, StartError> {
    match &config.database {
        Database::Postgres { direct_url, .. } => {
            let unreachable = |error| StartError::because("the database cannot be reached", error);
            // A pool would wait for half a minute, and then not know why.
            Db::reach(direct_url).await.map_err(unreachable)?;
            PgPoolOptions::new()
                .max_connections(1)
                .connect(direct_url)
                .await
                .map(outbox::Database::from)
                .map_err(unreachable)
        }
        Database::Sqlite(path) => {
            if !path.is_file() {
                return Err(StartError::new(format!(
                    "there is no {}: set DATA_DIR, or DATABASE_URL, as the service has it",
                    path.display()
                )));
            }
            let options = SqliteConnectOptions::new()
                .filename(path)
                .busy_timeout(BUSY);
            SqlitePoolOptions::new()
                .max_connections(1)
                .connect_with(options)
                .await
                .map(outbox::Database::from)
                .map_err(|error| {
                    StartError::because(format!("{} cannot be used", path.display()), error)
                })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Command::parse(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn words_are_understood_or_refused_in_one_sentence() {
        assert_eq!(
            parse("dead"),
            Ok(Command::Dead {
                after: 0,
                limit: 100
            })
        );
        assert_eq!(parse("dead 7 5"), Ok(Command::Dead { after: 7, limit: 5 }));
        assert_eq!(parse("replay 12"), Ok(Command::Replay(12)));
        for wrong in [
            "",
            "replay",
            "drop x",
            "dead 0 0",
            "dead 0 5 6",
            "slots all",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
