//! The relay beside writers that write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::PgPool;
use swifttrack_outbox::{Fencing, Waker, append, backlog};
use tokio::task::JoinSet;

use super::Error;
use super::args::Args;
use super::pool::event;
use super::recorder::seen;
use super::setting::{Setting, median, ratio, whole};

/// Writers where their number is not asked.
const WRITERS: usize = 16;
const ORDERS: i64 = 10_000;

/// A closed loop: each writer updates an order, appends its event and commits.
struct Writers {
    tasks: JoinSet<Result<(), Error>>,
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
}

impl Writers {
    fn start(pool: &PgPool, topic: &str, count: usize, waker: Option<&Waker>) -> Self {
        let (stop, committed) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let mut tasks = JoinSet::new();
        for writer in 0..count as u64 {
            let (pool, topic, waker) = (pool.clone(), topic.to_owned(), waker.cloned());
            let (stop, committed) = (Arc::clone(&stop), Arc::clone(&committed));
            tasks.spawn(async move {
                // Orders of its own, so that no writer waits for another's row.
                let mut n = writer;
                while !stop.load(Ordering::Relaxed) {
                    let mut tx = pool.begin().await?;
                    sqlx::query("UPDATE load_order SET changes = changes + 1 WHERE id = $1")
                        .bind((n % ORDERS as u64) as i64)
                        .execute(&mut *tx)
                        .await?;
                    append(&mut *tx, &event(&topic, n)).await?;
                    tx.commit().await?;
                    committed.fetch_add(1, Ordering::Relaxed);
                    if let Some(waker) = &waker {
                        waker.wake();
                    }
                    n += count as u64;
                }
                Ok(())
            });
        }
        Self {
            tasks,
            stop,
            committed,
        }
    }

    /// Commits a second from now on.
    async fn rate(&self, time: Duration) -> f64 {
        let (start, before) = (Instant::now(), self.committed.load(Ordering::Relaxed));
        tokio::time::sleep(time).await;
        let commits = self.committed.load(Ordering::Relaxed) - before;
        commits as f64 / start.elapsed().as_secs_f64()
    }

    async fn end(mut self) -> Result<(), Error> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}

async fn make_orders(pool: &PgPool) -> Result<(), Error> {
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS load_order; \
         CREATE TABLE load_order (id bigint PRIMARY KEY, changes bigint NOT NULL DEFAULT 0) \
         WITH (fillfactor = 50);",
    )
    .execute(pool)
    .await?;
    sqlx::query("INSERT INTO load_order (id) SELECT generate_series(0, $1 - 1)")
        .bind(ORDERS)
        .execute(pool)
        .await?;
    Ok(())
}

/// Business transactions a second, with a wake after each and without; the relay runs in both.
pub(crate) async fn wake(setting: &Setting, args: &Args) -> Result<Value, Error> {
    let pool = setting.pool.postgres()?;
    make_orders(pool).await?;
    let relays = setting.warm_relays(1, Fencing::Lease).await?;
    let waker = relays[0].waker();
    let (mut with, mut without, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..args.rounds {
        let mut rates = [0.0; 2];
        // Whoever comes second finds another table, so they take turns at that.
        for turn in [round % 2, (round + 1) % 2] {
            let waker = (turn == 0).then_some(&waker);
            let writers = Writers::start(pool, &setting.topic, WRITERS, waker);
            writers.rate(Duration::from_secs(1)).await;
            rates[turn] = writers.rate(Duration::from_secs(args.seconds)).await;
            writers.end().await?;
        }
        println!(
            "round {round}: with wake {:.0} tx/s, without {:.0}",
            rates[0], rates[1]
        );
        with.push(rates[0]);
        without.push(rates[1]);
        ratios.push(rates[0] / rates[1]);
    }
    setting.stop(relays).await?;
    Ok(json!({
        "writers": WRITERS,
        "with_wake_tx_per_s": median(&with).round(),
        "without_tx_per_s": median(&without).round(),
        "ratio": ratio(median(&ratios), 1.0),
        "with_wake_tx_per_s_all": whole(&with),
        "without_tx_per_s_all": whole(&without),
    }))
}

/// The relay's rate through a backlog while so many writers append, beside writers stopped.
pub(crate) async fn writers(
    setting: &Setting,
    args: &Args,
    count: usize,
    connections: u32,
) -> Result<Value, Error> {
    let pool = setting.pool.postgres()?;
    make_orders(pool).await?;
    let (mut relayed, mut appended, mut left, mut alone) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..args.rounds {
        alone.push(setting.backlog_rate(args.rows).await?);
        setting.pool.fill(&setting.topic, args.rows).await?;
        let relay = setting.relay(Fencing::Lease).await?;
        relay.ready().await;
        let writers = Writers::start(pool, &setting.topic, count, Some(&relay.waker()));
        seen().clear();
        let start = Instant::now();
        appended.push(writers.rate(Duration::from_secs(args.seconds)).await);
        relayed.push(seen().published() as f64 / start.elapsed().as_secs_f64());
        left.push(backlog(setting.pool.database()).await?.rows as f64);
        writers.end().await?;
        setting.stop(vec![relay]).await?;
        println!(
            "round {round}: relay {:.0} rows/s, writers {:.0}, {:.0} rows left; alone {:.0}",
            relayed[round], appended[round], left[round], alone[round]
        );
    }
    Ok(json!({
        "writers": count,
        "connections": connections,
        "relay_rows_per_s": median(&relayed).round(),
        "appended_rows_per_s": median(&appended).round(),
        "rows_left": median(&left),
        "alone_rows_per_s": median(&alone).round(),
        "relay_rows_per_s_all": whole(&relayed),
        "appended_rows_per_s_all": whole(&appended),
    }))
}
