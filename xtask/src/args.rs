//! The command line.

use crate::Result;

pub(crate) const USAGE: &str = "\
usage: cargo xtask <command>

  test [options] [-- args]   provide Postgres and Kafka and run all tests, doctests included;
                             args go to the test programs (a part of a name, --test-threads …)
      --require LIST         fail unless these can be had: postgres, kafka, or both by a comma
      --kafka-nodes N        1 (the default) or 3 Kafka nodes
      -p, --package NAME     only the tests of this package; may be repeated
  ci                         every check: formatting, clippy, docs, licences, loom, zeep, all tests
  loom                       only the models of the breaker's core, under every schedule
  zeep                       Python's zeep speaks to the CMS, strictly, from its WSDL
  npm-soap                   npm's `soap` speaks to the CMS, and our client to npm's
  tls                        our clients speak to the partners behind OpenSSL
  fuzz [TARGET…]             frames, soap, problem: 15 minutes each; multiplexer: an hour; or
      --minutes N            this long each
  up [--kafka-nodes N]       start Postgres and Kafka, keep them, print where they are as exports:
                             eval \"$(cargo xtask up)\"
  down                       stop what `up` started

Postgres is TEST_DATABASE_URL if that is set, else started from the machine's own binaries, else
by Docker, else (as root on Debian) from Debian's package. Kafka is TEST_KAFKA_BROKERS if that is
set, else started by Java 17 from jars that Maven fetches, else by Docker. Tests that stop a broker
start it from TEST_KAFKA_JARS, a folder, or from the jars that Maven fetched.";

/// What `test` and `up` take.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) require_postgres: bool,
    pub(crate) require_kafka: bool,
    pub(crate) kafka_nodes: KafkaNodes,
    pub(crate) packages: Vec<String>,
    /// Worlds of each simulation, where not the tests' own number.
    pub(crate) simulation_seeds: Option<u32>,
    /// For the test programs.
    pub(crate) test_args: Vec<String>,
}

/// How many nodes the Kafka cluster has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum KafkaNodes {
    #[default]
    One,
    /// The least with which a partition survives the loss of a node.
    Three,
}

impl KafkaNodes {
    pub(crate) fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Three => 3,
        }
    }
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let (name, inline) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (argument.as_str(), None),
            };
            let mut value = || {
                inline
                    .or_else(|| rest.next().map(String::as_str))
                    .ok_or(format!("{name} needs a value"))
            };
            match name {
                "--require" => options.require(value()?)?,
                "--kafka-nodes" => options.kafka_nodes = nodes(value()?)?,
                "-p" | "--package" => options.packages.push(value()?.to_owned()),
                "--" => {
                    options.test_args = rest.cloned().collect();
                    return Ok(options);
                }
                _ => return Err(format!("{argument} is not understood\n\n{USAGE}")),
            }
        }
        Ok(options)
    }

    fn require(&mut self, list: &str) -> Result<()> {
        for service in list.split(',') {
            match service {
                "postgres" => self.require_postgres = true,
                "kafka" => self.require_kafka = true,
                _ => {
                    return Err(format!(
                        "--require knows postgres and kafka, not {service:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn nodes(value: &str) -> Result<KafkaNodes> {
    match value {
        "1" => Ok(KafkaNodes::One),
        "3" => Ok(KafkaNodes::Three),
        _ => Err(format!("--kafka-nodes is 1 or 3, not {value:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_full_line_is_understood() {
        let options =
            parse("--require postgres,kafka --kafka-nodes=3 -p partners -- ledger --nocapture");
        assert_eq!(
            options,
            Ok(Options {
                require_postgres: true,
                require_kafka: true,
                kafka_nodes: KafkaNodes::Three,
                packages: vec!["partners".into()],
                test_args: vec!["ledger".into(), "--nocapture".into()],
                simulation_seeds: None,
            })
        );
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, named) in [
            ("--require mysql", "mysql"),
            ("--kafka-nodes 2", "\"2\""),
            ("--package", "--package needs a value"),
            ("--fast", "--fast"),
        ] {
            assert!(
                parse(line).is_err_and(|sentence| sentence.contains(named)),
                "{line}"
            );
        }
    }
}
