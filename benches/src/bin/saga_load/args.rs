//! What the program is asked.

use std::time::Duration;

use super::Error;

#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) url: String,
    pub(crate) in_flight: usize,
    pub(crate) seconds: Duration,
    pub(crate) events: usize,
    pub(crate) workers: usize,
}

impl Args {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut args = Self {
            url: String::new(),
            in_flight: 2_000,
            seconds: Duration::from_secs(5),
            events: 0,
            workers: 1,
        };
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} has no value"))?;
            match word.as_str() {
                "--url" => args.url = value,
                "--in-flight" => args.in_flight = value.parse()?,
                "--seconds" => args.seconds = Duration::from_secs_f64(value.parse()?),
                "--events" => args.events = value.parse()?,
                "--workers" => args.workers = value.parse()?,
                _ => return Err(format!("{word} is no option").into()),
            }
        }
        if args.url.is_empty() || args.in_flight == 0 || args.workers == 0 {
            return Err("--url URL, and at least one saga and one worker".into());
        }
        Ok(args)
    }

    /// The same for one of several processes, which share what is in flight.
    pub(crate) fn of_one_worker(&self) -> Vec<String> {
        let in_flight = self.in_flight.div_ceil(self.workers);
        [
            ("--url", self.url.clone()),
            ("--in-flight", in_flight.to_string()),
            ("--seconds", self.seconds.as_secs_f64().to_string()),
            ("--events", self.events.to_string()),
        ]
        .into_iter()
        .flat_map(|(option, value)| [option.to_owned(), value])
        .collect()
    }
}
