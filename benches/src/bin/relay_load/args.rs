//! What the program is asked.

use super::Error;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A backlog, a bare producer beside it, and the latency at a steady rate.
    Backlog,
    /// The same with transactions, beside at-least-once.
    ExactlyOnce,
    /// While so many writers append.
    Writers(usize),
    /// Under a transaction that does nothing and does not end.
    Idle(Held),
    /// So many relays beside one.
    Relays(usize),
    /// Business transactions, with and without a wake after each.
    Wake,
    /// The consumer's side: batches beside single events.
    Inbox,
}

/// What a transaction that does not end has done before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Reader,
    Writer,
}

#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) url: String,
    /// None: the broker is in the process.
    pub(crate) brokers: Option<String>,
    pub(crate) rows: u64,
    /// Rows a second where the latency is measured.
    pub(crate) rate: u64,
    /// How long the modes take that measure for a time.
    pub(crate) seconds: u64,
    pub(crate) rounds: usize,
    /// Properties of librdkafka for the relay's producer.
    pub(crate) set: Vec<(String, String)>,
    pub(crate) mode: Mode,
}

impl Args {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut args = Self {
            url: String::new(),
            brokers: None,
            rows: 200_000,
            rate: 1_000,
            seconds: 10,
            rounds: 3,
            set: Vec::new(),
            mode: Mode::Backlog,
        };
        let mut modes = 0;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} has no value"));
            let mode = match word.as_str() {
                "--url" => {
                    args.url = value()?;
                    continue;
                }
                "--brokers" => {
                    args.brokers = Some(value()?);
                    continue;
                }
                "--rows" => {
                    args.rows = value()?.parse()?;
                    continue;
                }
                "--rate" => {
                    args.rate = value()?.parse()?;
                    continue;
                }
                "--seconds" => {
                    args.seconds = value()?.parse()?;
                    continue;
                }
                "--rounds" => {
                    args.rounds = value()?.parse()?;
                    continue;
                }
                "--set" => {
                    let pair = value()?;
                    let (name, value) = pair.split_once('=').ok_or("--set NAME=VALUE")?;
                    args.set.push((name.to_owned(), value.to_owned()));
                    continue;
                }
                "--exactly-once" => Mode::ExactlyOnce,
                "--writers" => Mode::Writers(value()?.parse()?),
                "--idle" => Mode::Idle(match value()?.as_str() {
                    "reader" => Held::Reader,
                    "writer" => Held::Writer,
                    other => return Err(format!("--idle reader|writer, not {other}").into()),
                }),
                "--relays" => Mode::Relays(value()?.parse()?),
                "--wake" => Mode::Wake,
                "--inbox" => Mode::Inbox,
                _ => return Err(format!("{word} is no option").into()),
            };
            args.mode = mode;
            modes += 1;
        }
        let many = [args.rows, args.rate, args.seconds, args.rounds as u64];
        if args.url.is_empty() || many.contains(&0) || modes > 1 {
            return Err("--url URL, at most one mode, and no zeros".into());
        }
        if matches!(args.mode, Mode::Writers(0) | Mode::Relays(0)) {
            return Err("at least one writer and one relay".into());
        }
        if args.mode == Mode::ExactlyOnce && args.brokers.is_none() {
            return Err(
                "--exactly-once needs --brokers: the one in the process has no transactions".into(),
            );
        }
        Ok(args)
    }
}
