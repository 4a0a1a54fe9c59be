//! What the program is asked.

use std::time::Duration;

use super::Error;

#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) url: String,
    pub(crate) in_flight: usize,
    pub(crate) seconds: Duration,
    pub(crate) events: usize,
    pub(crate) lease: Duration,
    /// How long each step takes.
    pub(crate) hold: Duration,
    /// Begins once so many workers have shared out the shards.
    pub(crate) share_of: Option<usize>,
    pub(crate) mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Load,
    Workers(usize),
    Waiting(i64),
    Parked(usize),
    Soak(usize),
    Kills(usize),
}

impl Args {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut args = Self {
            url: String::new(),
            in_flight: 2_000,
            seconds: Duration::from_secs(5),
            events: 0,
            lease: Duration::from_secs(15),
            hold: Duration::ZERO,
            share_of: None,
            mode: Mode::Load,
        };
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} has no value"))?;
            match word.as_str() {
                "--url" => args.url = value,
                "--in-flight" => args.in_flight = value.parse()?,
                "--seconds" => args.seconds = Duration::from_secs_f64(value.parse()?),
                "--events" => args.events = value.parse()?,
                "--lease" => args.lease = Duration::from_secs_f64(value.parse()?),
                "--hold" => args.hold = Duration::from_secs_f64(value.parse()?),
                "--share-of" => args.share_of = Some(value.parse()?),
                "--workers" => args.mode = Mode::Workers(value.parse()?),
                "--waiting" => args.mode = Mode::Waiting(value.parse()?),
                "--parked" => args.mode = Mode::Parked(value.parse()?),
                "--soak" => args.mode = Mode::Soak(value.parse()?),
                "--kills" => args.mode = Mode::Kills(value.parse()?),
                _ => return Err(format!("{word} is no option").into()),
            }
        }
        if args.url.is_empty() || args.in_flight == 0 {
            return Err("--url URL, and at least one saga in flight".into());
        }
        if args.mode != Mode::Load && args.url.starts_with("sqlite:") {
            return Err("on SQLite there is the plain load only".into());
        }
        Ok(args)
    }

    /// The same for one of several processes, which share what is in flight.
    pub(crate) fn of_one_worker(&self, workers: usize) -> Vec<String> {
        self.words(&[
            ("--in-flight", self.in_flight.div_ceil(workers).to_string()),
            ("--seconds", self.seconds.as_secs_f64().to_string()),
            ("--share-of", workers.to_string()),
        ])
    }

    /// For a process that shares with this one, and runs until it is killed.
    pub(crate) fn of_a_victim(&self) -> Vec<String> {
        self.words(&[
            ("--in-flight", self.in_flight.to_string()),
            ("--seconds", 1e6.to_string()),
            ("--share-of", 2.to_string()),
            ("--hold", 0.1.to_string()),
        ])
    }

    fn words(&self, own: &[(&str, String)]) -> Vec<String> {
        let common = [
            ("--url", self.url.clone()),
            ("--events", self.events.to_string()),
            ("--lease", self.lease.as_secs_f64().to_string()),
        ];
        let all = common.iter().chain(own);
        all.flat_map(|(option, value)| [(*option).to_owned(), value.clone()])
            .collect()
    }
}
