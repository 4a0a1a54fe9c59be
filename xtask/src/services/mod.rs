//! Postgres and Kafka, from what the machine has.
//!
//! Each is tried in a fixed order of ways; a way that is not open says why in a few words, so
//! that the sentence at the end tells what to install.

mod docker;
mod jars;
mod kafka;
mod metadata;
mod postgres;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::args::Options;
use crate::janitor::Janitor;
use crate::shell::remove_line;
use crate::{Result, scratch};

/// A service that answers.
#[derive(Debug)]
pub(crate) struct Service {
    /// The variable in which the tests look for it.
    pub(crate) variable: &'static str,
    pub(crate) address: String,
    /// What it is and where it comes from, for the report.
    pub(crate) origin: String,
}

/// What can be had, and in one sentence each why the rest cannot.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) postgres: Result<Service>,
    pub(crate) kafka: Result<Service>,
    /// For tests that start a broker of their own.
    pub(crate) kafka_jars: Result<Service>,
}

impl Services {
    /// Provides both; what is required and cannot be had is an error.
    pub(crate) fn provide(options: &Options, janitor: &mut Janitor) -> Result<Self> {
        let mut place = Place::make(janitor)?;
        let postgres = postgres::provide(&mut place);
        if let (true, Err(why)) = (options.require_postgres, &postgres) {
            return Err(format!("Postgres is required. {why}"));
        }
        let kafka = kafka::provide(options.kafka_nodes, &mut place);
        if let (true, Err(why)) = (options.require_kafka, &kafka) {
            return Err(format!("Kafka is required. {why}"));
        }
        Ok(Self {
            postgres,
            kafka,
            kafka_jars: jars::provide(),
        })
    }

    pub(crate) fn available(&self) -> impl Iterator<Item = &Service> {
        [&self.postgres, &self.kafka, &self.kafka_jars]
            .into_iter()
            .flatten()
    }
}

/// Where throw-away clusters lie, and who removes them.
#[derive(Debug)]
struct Place<'j> {
    janitor: &'j mut Janitor,
    /// Of this process only.
    folder: PathBuf,
}

impl<'j> Place<'j> {
    fn make(janitor: &'j mut Janitor) -> Result<Self> {
        let folder = scratch()?.join(format!("run-{}", std::process::id()));
        fs::create_dir_all(&folder)
            .map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        janitor.at_end(remove_line(&folder))?;
        Ok(Self { janitor, folder })
    }
}

/// A port on which nothing listens now. Somebody else may take it before it is used; those who
/// use it try again with another.
fn free_port() -> Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free port on 127.0.0.1: {error}"))
}

/// Waits until `ready` says yes; it may also say that waiting is in vain.
fn wait_for(what: &str, limit: Duration, mut ready: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < limit {
        if ready()? {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(format!("{what} is not ready after {limit:?}"))
}
