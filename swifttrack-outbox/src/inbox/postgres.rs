//! The inbox on Postgres.

use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::sealed::Sealed;
use super::{InboxConnection, Progress};
use crate::error::{Doing, Error};

const TAKE: &str = "\
INSERT INTO inbox (consumer, id) SELECT $1, id FROM unnest($2::uuid[]) WITH ORDINALITY AS m(id, ord) \
ORDER BY ord ON CONFLICT DO NOTHING RETURNING id";

const WRITE: &str = "\
INSERT INTO inbox_offset (consumer, cluster, topic, partition, next) \
SELECT $1, p.cluster, p.topic, p.partition, p.next \
FROM unnest($2::text[], $3::text[], $4::int[], $5::bigint[]) AS p(cluster, topic, partition, next) \
ORDER BY p.topic, p.partition \
ON CONFLICT (consumer, topic, partition) DO UPDATE SET next = excluded.next, cluster = excluded.cluster \
WHERE inbox_offset.next < excluded.next AND inbox_offset.cluster = excluded.cluster";

const READ: &str =
    "SELECT cluster, topic, partition, next FROM inbox_offset WHERE consumer = $1 AND topic = $2";

impl InboxConnection for PgConnection {}

impl Sealed for PgConnection {
    async fn take(&mut self, consumer: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        sqlx::query_scalar(TAKE)
            .bind(consumer)
            .bind(ids)
            .fetch_all(self)
            .await
            .doing("remembering events")
    }

    async fn write(&mut self, consumer: &str, progress: &[Progress]) -> Result<(), Error> {
        sqlx::query(WRITE)
            .bind(consumer)
            .bind(
                progress
                    .iter()
                    .map(|p| p.cluster.as_str())
                    .collect::<Vec<_>>(),
            )
            .bind(
                progress
                    .iter()
                    .map(|p| p.topic.as_str())
                    .collect::<Vec<_>>(),
            )
            .bind(progress.iter().map(|p| p.partition).collect::<Vec<_>>())
            .bind(progress.iter().map(|p| p.next).collect::<Vec<_>>())
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
