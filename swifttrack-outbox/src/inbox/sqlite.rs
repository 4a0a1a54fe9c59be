//! The inbox on SQLite.

use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

use super::sealed::Sealed;
use super::{InboxConnection, Progress};
use crate::error::{Doing, Error};

const TAKE: &str = "\
INSERT INTO inbox (consumer, id) SELECT ?1, unhex(value) FROM json_each(?2) WHERE true \
ON CONFLICT DO NOTHING RETURNING id";

const WRITE: &str = "\
INSERT INTO inbox_offset (consumer, cluster, topic, partition, next) \
SELECT ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?2) WHERE true \
ON CONFLICT (consumer, topic, partition) DO UPDATE SET next = excluded.next, cluster = excluded.cluster \
WHERE inbox_offset.next < excluded.next AND inbox_offset.cluster = excluded.cluster";

const READ: &str =
    "SELECT cluster, topic, partition, next FROM inbox_offset WHERE consumer = ?1 AND topic = ?2";

impl InboxConnection for SqliteConnection {}

impl Sealed for SqliteConnection {
    async fn take(&mut self, consumer: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        let ids: serde_json::Value = ids.iter().map(|id| id.simple().to_string()).collect();
        sqlx::query_scalar(TAKE)
            .bind(consumer)
            .bind(ids.to_string())
            .fetch_all(self)
            .await
            .doing("remembering events")
    }

    async fn write(&mut self, consumer: &str, progress: &[Progress]) -> Result<(), Error> {
        let rows: serde_json::Value = progress
            .iter()
            .map(|p| serde_json::json!([p.cluster, p.topic, p.partition, p.next]))
            .collect();
        sqlx::query(WRITE)
            .bind(consumer)
            .bind(rows.to_string())
            .execute(self)
            .await
            .doing("storing offsets")?;
        Ok(())
    }

    async fn read(&mut self, consumer: &str, topic: &str) -> Result<Vec<Progress>, Error> {
        let rows = sqlx::query(READ)
            .bind(consumer)
            .bind(topic)
            .fetch_all(self)
            .await
            .doing("reading offsets")?;
        Ok(rows
            .iter()
            .map(|row| Progress {
                cluster: row.get(0),
                topic: row.get(1),
                partition: row.get(2),
                next: row.get(3),
            })
            .collect())
    }
}
