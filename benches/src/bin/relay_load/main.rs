//! How fast the relay is, beside its peers and limits in the same run.
//!
//! ```text
//! relay_load --url URL [--brokers LIST] [--rows N] [--rounds R] [--seconds S] [--rate R]
//!     [--set PROPERTY=VALUE]…
//!     [--exactly-once | --writers N | --idle reader|writer | --relays N | --wake | --inbox]
//! ```
//!
//! Without a mode: appends N rows, lets a relay publish them, sends the same records through a
//! bare `BaseProducer` loop, then measures commit to acknowledgement at a steady rate. Without
//! `--brokers` the broker is in the process. Medians of R rounds; the last line is one JSON
//! object. `benches/README.md` says what each mode is held against.

#![allow(clippy::print_stdout, reason = "the figures are this program's output")]

mod args;
mod bare;
mod business;
mod inbox;
mod pool;
mod rates;
mod recorder;
mod setting;

use self::args::{Args, Mode};
use self::setting::Setting;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Connections of the writers; the relays have their own.
const CONNECTIONS: u32 = 16;

/// A server's `max_connections` is rarely more than a few hundred.
const CONNECTIONS_MAX: u32 = 200;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let args = Args::parse(std::env::args().skip(1))?;
    recorder::install()?;
    let connections = match args.mode {
        Mode::Writers(writers) => u32::try_from(writers)?.min(CONNECTIONS_MAX),
        _ => CONNECTIONS,
    };
    let setting = Setting::new(&args, connections).await?;
    let result = match args.mode {
        Mode::Backlog => rates::backlog(&setting, &args).await?,
        Mode::ExactlyOnce => rates::exactly_once(&setting, &args).await?,
        Mode::Idle(held) => rates::idle(&setting, &args, held).await?,
        Mode::Relays(count) => rates::relays(&setting, &args, count).await?,
        Mode::Writers(count) => business::writers(&setting, &args, count, connections).await?,
        Mode::Wake => business::wake(&setting, &args).await?,
        Mode::Inbox => inbox::batches(&setting, &args).await?,
    };
    println!("{result}");
    Ok(())
}
