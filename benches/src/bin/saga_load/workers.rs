//! Several processes on one database, beside one.

use std::time::Duration;

use serde_json::{Value, json};
use swifttrack_saga::store::Store as _;
use swifttrack_saga::store::postgres::PgStore;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::args::Args;
use super::{Error, median};

/// One and several take turns.
const ROUNDS: usize = 3;
/// How long the shards may take to be shared out.
const SHARING_MAX: Duration = Duration::from_secs(60);

pub(crate) async fn run(args: &Args, workers: usize) -> Result<Value, Error> {
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(rate_of(args, 1).await?);
        together.push(rate_of(args, workers).await?);
    }
    let ratios = alone.iter().zip(&together).map(|(one, all)| all / one);
    Ok(json!({
        "workers": workers,
        "ratio": median(ratios.collect()),
        "alone": alone,
        "together": together,
    }))
}

/// Sagas a second of so many processes of this program, which share what is in flight.
async fn rate_of(args: &Args, workers: usize) -> Result<f64, Error> {
    let mut children = Vec::new();
    for _ in 0..workers {
        let child = Command::new(std::env::current_exe()?)
            .args(args.of_one_worker(workers))
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        children.push(child);
    }
    let mut sum = 0.0;
    for child in children {
        let output = child.wait_with_output().await?;
        let text = String::from_utf8(output.stdout)?;
        let last = text.lines().last().ok_or("a worker said nothing")?;
        let told: Value = serde_json::from_str(last)?;
        sum += told["sagas_per_s"].as_f64().ok_or("a worker has no rate")?;
    }
    Ok(sum)
}

/// Waits until so many workers hold equal shares of all shards.
pub(crate) async fn shared_out(store: &PgStore, workers: usize) -> Result<(), Error> {
    let groups = ["load@1".to_owned(), "waiting@1".to_owned()];
    let sharing = async {
        loop {
            let survey = store.survey(&groups).await?;
            let fair = 64_usize.div_ceil(workers) as u32;
            let holds = survey.held.iter().filter(|(.., held)| *held <= fair);
            let all = survey.held.iter().map(|(.., held)| *held).sum::<u32>();
            if holds.count() == workers * groups.len() && all == 64 * groups.len() as u32 {
                return Ok::<_, Error>(());
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SHARING_MAX, sharing).await?
}
