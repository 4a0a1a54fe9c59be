//! Rows a second with the writers stopped.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use swifttrack_outbox::{Fencing, append};

use super::args::{Args, Held};
use super::pool::event;
use super::recorder::seen;
use super::setting::{Setting, median, ratio, whole};
use super::{Error, bare};

/// Beside a bare producer, and the latency at a steady rate.
pub(crate) async fn backlog(setting: &Setting, args: &Args) -> Result<Value, Error> {
    let (mut relay, mut producer, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..args.rounds {
        let (ours, theirs) = (
            setting.backlog_rate(args.rows).await?,
            beside(setting, args)?,
        );
        println!("round {round}: relay {ours:.0} rows/s, producer {theirs:.0} rows/s");
        relay.push(ours);
        producer.push(theirs);
        ratios.push(ours / theirs);
    }
    let latency = setting
        .latency(Fencing::Lease, args.rate, args.seconds)
        .await?;
    Ok(json!({
        "relay_rows_per_s": median(&relay).round(),
        "producer_rows_per_s": median(&producer).round(),
        "ratio": ratio(median(&ratios), 1.0),
        "p50_ms": latency.from_commit.at(0.50),
        "p99_ms": latency.from_commit.at(0.99),
        "append_p50_ms": latency.from_append.at(0.50),
        "append_p99_ms": latency.from_append.at(0.99),
        "relay_rows_per_s_all": whole(&relay),
        "producer_rows_per_s_all": whole(&producer),
        "rows": args.rows,
        "rate": args.rate,
    }))
}

fn beside(setting: &Setting, args: &Args) -> Result<f64, Error> {
    let (brokers, topic) = (&setting.brokers, &setting.topic);
    tokio::task::block_in_place(|| bare::producer_rate(brokers, topic, args.rows))
}

/// Transactions beside the lease alone, both warm, both from the commit of all rows, at batches
/// of 5,000, the default.
pub(crate) async fn exactly_once(setting: &Setting, args: &Args) -> Result<Value, Error> {
    let (mut once, mut least, mut producer) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ratios, mut transactions) = (Vec::new(), Vec::new());
    for round in 0..args.rounds {
        least.push(warm_rate(setting, args, 1, Fencing::Lease).await?);
        once.push(warm_rate(setting, args, 1, Fencing::KafkaTransactions).await?);
        transactions.push(seen().oldest_ms().len() as f64);
        producer.push(beside(setting, args)?);
        ratios.push(once[round] / least[round]);
        println!(
            "round {round}: exactly once {:.0} rows/s, at least once {:.0}, producer {:.0}",
            once[round], least[round], producer[round]
        );
    }
    let latency = setting
        .latency(Fencing::KafkaTransactions, args.rate, args.seconds)
        .await?;
    Ok(json!({
        "relay_rows_per_s": median(&once).round(),
        "at_least_once_rows_per_s": median(&least).round(),
        "ratio_to_at_least_once": ratio(median(&ratios), 1.0),
        "rows_per_transaction": (args.rows as f64 / median(&transactions)).round(),
        "producer_rows_per_s": median(&producer).round(),
        "ratio": ratio(median(&once), median(&producer)),
        "p50_ms": latency.from_commit.at(0.50),
        "p99_ms": latency.from_commit.at(0.99),
        "relay_rows_per_s_all": whole(&once),
        "at_least_once_rows_per_s_all": whole(&least),
        "rows": args.rows,
        "rate": args.rate,
    }))
}

async fn warm_rate(
    setting: &Setting,
    args: &Args,
    relays: usize,
    fencing: Fencing,
) -> Result<f64, Error> {
    let relays = setting.warm_relays(relays, fencing).await?;
    let rate = setting.commit_rate(&relays, args.rows).await?;
    setting.stop(relays).await?;
    Ok(rate)
}

/// Several relays beside one.
pub(crate) async fn relays(setting: &Setting, args: &Args, count: usize) -> Result<Value, Error> {
    if 64 % count != 0 {
        return Err("--relays: a number that divides 64, so that shares are equal".into());
    }
    let (mut one, mut many) = (Vec::new(), Vec::new());
    for round in 0..args.rounds {
        one.push(warm_rate(setting, args, 1, Fencing::Lease).await?);
        many.push(warm_rate(setting, args, count, Fencing::Lease).await?);
        println!(
            "round {round}: one {:.0} rows/s, {count} {:.0}",
            one[round], many[round]
        );
    }
    Ok(json!({
        "relays": count,
        "one_rows_per_s": median(&one).round(),
        "many_rows_per_s": median(&many).round(),
        "ratio": ratio(median(&many), median(&one)),
        "one_rows_per_s_all": whole(&one),
        "many_rows_per_s_all": whole(&many),
    }))
}

/// One relay, for so many seconds while a transaction stands that does nothing, beside the same
/// without it. What is deleted under it cannot be cleaned away, so the table grows.
pub(crate) async fn idle(setting: &Setting, args: &Args, held: Held) -> Result<Value, Error> {
    let pool = setting.pool.postgres()?;
    let relays = setting.warm_relays(1, Fencing::Lease).await?;
    let (mut clean, mut under) = (Vec::new(), Vec::new());
    for round in 0..args.rounds {
        clean.push(setting.commit_rate(&relays, args.rows).await?);
        println!("clean {round}: {:.0} rows/s", clean[round]);
    }
    let mut idle = match held {
        Held::Reader => {
            let mut reader = pool
                .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ")
                .await?;
            let count = sqlx::query("SELECT count(*) FROM outbox");
            count.execute(&mut *reader).await?;
            reader
        }
        Held::Writer => {
            let mut writer = pool.begin().await?;
            append(&mut *writer, &event(&setting.topic, 0)).await?;
            writer
        }
    };
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(args.seconds) {
        under.push(setting.commit_rate(&relays, args.rows).await?);
        let (after, rate) = (start.elapsed().as_secs(), under[under.len() - 1]);
        println!("under an idle {held:?} for {after} s: {rate:.0} rows/s");
    }
    // It stood until now, and was alive.
    sqlx::query("SELECT 1").execute(&mut *idle).await?;
    idle.rollback().await?;
    setting.stop(relays).await?;
    Ok(json!({
        "idle": format!("{held:?}").to_lowercase(),
        "seconds": start.elapsed().as_secs(),
        "clean_rows_per_s": median(&clean).round(),
        "idle_rows_per_s": median(&under).round(),
        "ratio": ratio(median(&under), median(&clean)),
        "last_ratio": ratio(under[under.len() - 1], median(&clean)),
        "clean_rows_per_s_all": whole(&clean),
        "idle_rows_per_s_all": whole(&under),
    }))
}
