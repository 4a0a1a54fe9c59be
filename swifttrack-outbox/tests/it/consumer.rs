//! From the outbox to the consumer's effects, each once.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use swifttrack_outbox::{Consumer, Handler, Received};
use tokio::sync::watch;

use crate::support::{Broker, Db, PATIENCE, Tune, numbered};

/// Writes each event as an effect, and fails at the payload that it is told to.
struct Effects {
    poison: Option<&'static [u8]>,
}

impl Handler<PgPool> for Effects {
    async fn handle(
        &self,
        tx: &mut PgConnection,
        event: &Received,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if self.poison.is_some() && event.payload.as_deref() == self.poison {
            return Err("poison".into());
        }
        let key = String::from_utf8(event.key.clone().unwrap_or_default())?;
        let number: i64 =
            std::str::from_utf8(event.payload.as_deref().unwrap_or_default())?.parse()?;
        sqlx::query("INSERT INTO effect (key, number) VALUES ($1, $2)")
            .bind(key)
            .bind(number)
            .execute(tx)
            .await?;
        Ok(())
    }
}

async fn set_up(keys: u64, count: u64) -> (Db, PgPool, Broker, String) {
    let (db, broker) = (Db::postgres().await, Broker::kafka());
    let Db::Postgres { pool, .. } = &db else {
        unreachable!()
    };
    let pool = pool.clone();
    // No unique key: an effect that happens twice is seen.
    sqlx::query("CREATE TABLE effect (at bigserial PRIMARY KEY, key text, number bigint)")
        .execute(&pool)
        .await
        .unwrap();
    let topic = broker.topic().await;
    db.append(&numbered(&topic, keys, 1, count)).await.unwrap();
    let relay = broker.relay(&db, Tune::default()).await;
    db.until_empty().await;
    relay.shutdown(PATIENCE).await.unwrap();
    (db, pool, broker, topic)
}

async fn effects(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM effect")
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and Kafka: cargo xtask test"]
async fn consumers_that_come_and_go_handle_each_event_once() {
    let (db, pool, broker, topic) = set_up(20, 2_000).await;
    let group = testkit::unique("group");
    let mut members = Vec::new();
    for _ in 0..2 {
        let (stop, stopped) = watch::channel(false);
        let consumer = Consumer::new(broker.address(), &group, &[&topic])
            .batch(37)
            .set("session.timeout.ms", "6000")
            .unwrap();
        let pool = pool.clone();
        let task =
            tokio::spawn(
                async move { consumer.run(pool, Effects { poison: None }, stopped).await },
            );
        testkit::wait_until("some are handled", PATIENCE, async || {
            effects(&pool_of(&db)).await > 0
        })
        .await;
        members.push((stop, task));
    }
    testkit::wait_until("all are handled", PATIENCE, async || {
        effects(&pool).await >= 2_000
    })
    .await;
    for (stop, task) in members {
        stop.send_replace(true);
        task.await.unwrap().unwrap();
    }
    assert_eq!(effects(&pool).await, 2_000);
    let disordered: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM effect a JOIN effect b ON a.key = b.key AND a.number < b.number AND a.at > b.at",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(disordered, 0);
}

fn pool_of(db: &Db) -> PgPool {
    let Db::Postgres { pool, .. } = db else {
        unreachable!()
    };
    pool.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and Kafka: cargo xtask test"]
async fn a_failing_event_is_put_aside_and_stops_no_other() {
    let (_db, pool, broker, topic) = set_up(1, 20).await;
    let (stop, stopped) = watch::channel(false);
    let consumer = Consumer::new(broker.address(), testkit::unique("group"), &[&topic]).tries(2);
    let (other, effect) = (pool.clone(), Effects { poison: Some(b"7") });
    let task = tokio::spawn(async move { consumer.run(other, effect, stopped).await });
    testkit::wait_until("the others are handled", PATIENCE, async || {
        effects(&pool).await == 19
    })
    .await;
    stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(30), task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let dead: Vec<(i64, String)> = sqlx::query_as("SELECT position, reason FROM inbox_dead")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(dead, [(6, "poison".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and Kafka: cargo xtask test"]
async fn an_offset_of_another_cluster_or_past_the_end_stops() {
    let (_db, pool, broker, topic) = set_up(1, 4).await;
    for (cluster, next) in [("another", 0_i64), ("", 1_000_000)] {
        let group = testkit::unique("group");
        let cluster = if cluster.is_empty() {
            cluster_id(&broker)
        } else {
            cluster.to_owned()
        };
        for partition in 0..4 {
            sqlx::query("INSERT INTO inbox_offset VALUES ($1, $2, $3, $4, $5)")
                .bind(&group)
                .bind(&cluster)
                .bind(&topic)
                .bind(partition)
                .bind(next)
                .execute(&pool)
                .await
                .unwrap();
        }
        let (_stop, stopped) = watch::channel(false);
        let consumer = Consumer::new(broker.address(), &group, &[&topic]);
        let run = consumer.run(pool.clone(), Effects { poison: None }, stopped);
        let error = tokio::time::timeout(PATIENCE, run)
            .await
            .unwrap()
            .unwrap_err();
        assert!(error.is_offset(), "{error}");
    }
    assert_eq!(effects(&pool).await, 0);
}

fn cluster_id(broker: &Broker) -> String {
    use rdkafka::producer::Producer;
    let producer: rdkafka::producer::BaseProducer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .create()
        .unwrap();
    producer.client().fetch_cluster_id(PATIENCE).unwrap()
}
