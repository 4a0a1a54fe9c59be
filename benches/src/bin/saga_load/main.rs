//! Loads the saga engine with three-step sagas and counts what they cost.
//!
//! ```text
//! saga_load --url postgres://… | sqlite:FILE --in-flight N --seconds S --events K
//!     [--workers W | --waiting N | --parked N | --soak MINUTES | --kills ROUNDS [--lease S]]
//! ```
//!
//! A closed loop: N sagas are in flight, and whenever the end of one is durable the next starts.
//! Steps do nothing; a transition carries 100 bytes, the input 250, an event 200. K events a
//! transition go through the outbox in the hook; without them there is no hook. The last line is
//! one JSON object.
//!
//! - `--workers`: as many processes on one database, together beside one.
//! - `--waiting`: new sagas before and after so many others wait in the store.
//! - `--parked`: what the process keeps in memory for parked sagas.
//! - `--soak`: minute by minute, with a relay that publishes and deletes, and retention.
//! - `--kills`: how soon another worker goes on with what a killed one had.

// A program's output is its purpose.
#![allow(clippy::print_stdout)]

mod args;
mod kills;
mod load;
mod metered;
mod parked;
mod soak;
mod waiting;
mod work;
mod workers;

use self::args::{Args, Mode};

/// What a program with an engine should have: see "Allocators" in `benches/README.md`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let args = Args::parse(std::env::args().skip(1))?;
    let result = match args.mode {
        Mode::Load => load::run(&args).await?,
        Mode::Workers(workers) => workers::run(&args, workers).await?,
        Mode::Waiting(sagas) => waiting::run(&args, sagas).await?,
        Mode::Parked(sagas) => parked::run(&args, sagas).await?,
        Mode::Soak(minutes) => soak::run(&args, minutes).await?,
        Mode::Kills(rounds) => kills::run(&args, rounds).await?,
    };
    println!("{result}");
    Ok(())
}

/// The one in the middle of several.
fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or_default()
}
