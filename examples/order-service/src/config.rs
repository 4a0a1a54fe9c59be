//! The environment, read once and refused with one sentence.
//!
//! Every variable has a default that needs nothing else, so that an empty
//! environment is a working service on this machine alone.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use url::Url;

/// Everything that can be set from outside.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the HTTP service listens: `BIND` and `PORT`, `127.0.0.1:4000`.
    pub listen: SocketAddr,
    /// Where embedded parts keep their files: `DATA_DIR`, `./swifttrack-data`.
    pub data_dir: PathBuf,
    /// Where orders and sagas live: `DATABASE_URL`, else a SQLite file in `DATA_DIR`.
    pub database: Database,
    /// The events' broker: `KAFKA_BROKERS`, else one inside this process.
    pub kafka_brokers: Option<String>,
    /// `ORDER_EVENTS_TOPIC`, `RETRY_EVENTS_TOPIC`, `HEALTH_EVENTS_TOPIC`.
    pub topics: Topics,
    /// `CMS_URL`, `CMS_USERNAME`, `CMS_PASSWORD`; without a URL, a stand-in inside this process.
    pub cms: Partner<(String, String)>,
    /// `WMS_URL`, `WMS_TOKEN`.
    pub wms: Partner<String>,
    /// `ROS_URL`, `ROS_TOKEN`.
    pub ros: Partner<String>,
    /// `CIRCUIT_BREAKER_THRESHOLD` (3) and `CIRCUIT_BREAKER_TIMEOUT` (30000 ms).
    pub circuit: Circuit,
    /// `MAX_RETRY_ATTEMPTS` (5) and `RETRY_DELAY_MS` (2000): 2, 4, 8, 16, 32 s between six tries.
    pub retry: Retry,
    /// `CORS_ORIGINS`, separated by commas; none by default.
    pub cors_origins: Vec<String>,
    /// `METRICS_BIND`: `/metrics` on a listener of its own instead of the service's.
    pub metrics_bind: Option<SocketAddr>,
    /// `LOG_FORMAT`: `text` or `json`.
    pub log_json: bool,
    /// `RUST_LOG`: what is logged, as directives of `tracing-subscriber`.
    pub log_filter: String,
}

/// Where orders and sagas live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// One file, one process.
    Sqlite(PathBuf),
    /// Any number of replicas.
    Postgres {
        /// For the API; may go through a pooler.
        url: String,
        /// For engine and relay; `DATABASE_DIRECT_URL`, else the same.
        direct_url: String,
        /// For lists and streams; `DATABASE_READ_URL`, else the same as `url`.
        read_url: String,
    },
}

/// The names of the topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Every step of every order.
    pub order: String,
    /// Planned retries.
    pub retry: String,
    /// Circuits.
    pub health: String,
}

/// Where a partner is and how we identify ourselves.
#[derive(Clone, PartialEq, Eq)]
pub struct Partner<C> {
    /// None: a stand-in inside this process.
    pub url: Option<Url>,
    /// None: we do not.
    pub credentials: Option<C>,
}

impl<C> fmt::Debug for Partner<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Credentials stay out of logs.
        f.debug_struct("Partner")
            .field("url", &self.url.as_ref().map(Url::as_str))
            .field("credentials", &self.credentials.is_some())
            .finish()
    }
}

/// When a circuit opens and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circuit {
    /// Consecutive failures.
    pub threshold: u32,
    /// How long it stays open.
    pub timeout: Duration,
}

/// How a step is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries after the first.
    pub retries: u32,
    /// The pause before the first of them; each later one is twice as long.
    pub delay: Duration,
}

/// A variable that cannot be used, and why: one sentence.
#[derive(Debug)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// Variables of features that this build does not have. To ignore one of them
/// would leave a service open that its operator believes closed.
const ABSENT: [&str; 6] = [
    "JWT_SECRET",
    "JWKS_URL",
    "JWT_ISSUER",
    "JWT_AUDIENCE",
    "RATE_LIMIT_PER_MINUTE",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    ///
    /// The first variable that cannot be used.
    pub fn from_env() -> Result<Self, ConfigError> {
        // A name that is no text is none of ours.
        let ours = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
        Self::read(&std::env::vars_os().filter_map(ours).collect())
    }

    /// Reads variables. An empty one counts as unset.
    ///
    /// # Errors
    ///
    /// The first variable that cannot be used.
    pub fn read(vars: &HashMap<String, OsString>) -> Result<Self, ConfigError> {
        let vars = Vars(vars);
        if let Some(name) = vars.first_set(&ABSENT)? {
            return refuse(name, "is set, but this build has no such feature; unset it");
        }
        let bind: IpAddr = vars.parse("BIND", "an IP address")?.unwrap_or(LOOPBACK);
        let port: u16 = vars
            .parse("PORT", "a port from 0 to 65535")?
            .unwrap_or(4000);
        let allow_no_auth = vars.flag("ALLOW_NO_AUTH")?;
        if !bind.is_loopback() && !allow_no_auth {
            return refuse(
                "BIND",
                "leaves this machine and there is no authentication; set ALLOW_NO_AUTH=1 if that is meant",
            );
        }
        let data_dir = PathBuf::from(vars.get("DATA_DIR")?.unwrap_or("./swifttrack-data"));
        Ok(Self {
            listen: SocketAddr::new(bind, port),
            database: vars.database(&data_dir)?,
            data_dir,
            kafka_brokers: vars.brokers()?,
            topics: vars.topics()?,
            cms: Partner {
                url: vars.url("CMS_URL", &["http", "https"])?,
                credentials: vars.pair("CMS_USERNAME", "CMS_PASSWORD")?,
            },
            wms: Partner {
                url: vars.url("WMS_URL", &["tcp", "tls", "http"])?,
                credentials: vars.get("WMS_TOKEN")?.map(str::to_owned),
            },
            ros: Partner {
                url: vars.url("ROS_URL", &["http", "https"])?,
                credentials: vars.get("ROS_TOKEN")?.map(str::to_owned),
            },
            circuit: Circuit {
                threshold: vars.within("CIRCUIT_BREAKER_THRESHOLD", 1, 1_000_000, 3)?,
                timeout: vars.millis("CIRCUIT_BREAKER_TIMEOUT", 1, 30_000)?,
            },
            retry: Retry {
                retries: vars.within("MAX_RETRY_ATTEMPTS", 0, 1_000, 5)?,
                delay: vars.millis("RETRY_DELAY_MS", 1, 2_000)?,
            },
            cors_origins: vars.origins()?,
            metrics_bind: vars.parse("METRICS_BIND", "an address such as 127.0.0.1:9100")?,
            log_json: match vars.get("LOG_FORMAT")?.unwrap_or("text") {
                "text" => false,
                "json" => true,
                _ => return refuse("LOG_FORMAT", "must be text or json"),
            },
            log_filter: vars.log_filter()?,
        })
    }
}

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// Without `RUST_LOG`: ours, and of the libraries what is worth a look.
const LOG_FILTER: &str = "info,sqlx=warn,librdkafka=error,rdkafka=error";
/// A day: longer pauses than that are mistakes of the unit.
const MILLIS_MAX: u32 = 86_400_000;

fn refuse<T>(name: &str, why: &str) -> Result<T, ConfigError> {
    Err(ConfigError(format!("{name} {why}")))
}

struct Vars<'a>(&'a HashMap<String, OsString>);

impl<'a> Vars<'a> {
    fn get(&self, name: &str) -> Result<Option<&'a str>, ConfigError> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        match value.to_str().map(str::trim) {
            Some(value) => Ok((!value.is_empty()).then_some(value)),
            None => refuse(name, "must be UTF-8"),
        }
    }

    fn first_set<'n>(&self, names: &[&'n str]) -> Result<Option<&'n str>, ConfigError> {
        for name in names {
            if self.get(name)?.is_some() {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn parse<T: FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, ConfigError> {
        match self.get(name)?.map(str::parse) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(_)) => refuse(name, &format!("must be {what}")),
        }
    }

    fn within(&self, name: &str, min: u32, max: u32, default: u32) -> Result<u32, ConfigError> {
        let what = format!("a whole number from {min} to {max}");
        let value = self.parse(name, &what)?.unwrap_or(default);
        if (min..=max).contains(&value) {
            Ok(value)
        } else {
            refuse(name, &format!("must be {what}"))
        }
    }

    fn millis(&self, name: &str, min: u32, default: u32) -> Result<Duration, ConfigError> {
        let millis = self.within(name, min, MILLIS_MAX, default)?;
        Ok(Duration::from_millis(u64::from(millis)))
    }

    fn flag(&self, name: &str) -> Result<bool, ConfigError> {
        match self.get(name)? {
            None | Some("0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(_) => refuse(name, "must be 1 or 0"),
        }
    }

    fn topics(&self) -> Result<Topics, ConfigError> {
        let topics = Topics {
            order: self.topic("ORDER_EVENTS_TOPIC", "order-events")?,
            retry: self.topic("RETRY_EVENTS_TOPIC", "retry-events")?,
            health: self.topic("HEALTH_EVENTS_TOPIC", "health-events")?,
        };
        // Their events have different members, and only those of orders are numbered.
        if topics.retry == topics.order {
            return refuse("RETRY_EVENTS_TOPIC", "must not be ORDER_EVENTS_TOPIC");
        }
        if [&topics.order, &topics.retry].contains(&&topics.health) {
            return refuse("HEALTH_EVENTS_TOPIC", "must be a topic of its own");
        }
        Ok(topics)
    }

    fn log_filter(&self) -> Result<String, ConfigError> {
        let filter = self.get("RUST_LOG")?.unwrap_or(LOG_FILTER);
        match filter.parse::<EnvFilter>() {
            Ok(_) => Ok(filter.to_owned()),
            Err(_) => refuse(
                "RUST_LOG",
                "must be a level, or directives such as info,sqlx=warn",
            ),
        }
    }

    fn topic(&self, name: &str, default: &str) -> Result<String, ConfigError> {
        let topic = self.get(name)?.unwrap_or(default);
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if topic.len() <= 249 && topic.chars().all(allowed) && !matches!(topic, "." | "..") {
            Ok(topic.to_owned())
        } else {
            refuse(name, "must be 1 to 249 characters of A-Z a-z 0-9 . _ -")
        }
    }

    fn url(&self, name: &str, schemes: &[&str]) -> Result<Option<Url>, ConfigError> {
        let what = format!("a URL with a host and the scheme {}", schemes.join(" or "));
        let url: Option<Url> = self.parse(name, &what)?;
        match url {
            Some(url) if !schemes.contains(&url.scheme()) || url.host_str().is_none() => {
                refuse(name, &format!("must be {what}"))
            }
            url => Ok(url),
        }
    }

    fn pair(&self, one: &str, other: &str) -> Result<Option<(String, String)>, ConfigError> {
        match (self.get(one)?, self.get(other)?) {
            (Some(a), Some(b)) => Ok(Some((a.to_owned(), b.to_owned()))),
            (None, None) => Ok(None),
            (Some(_), None) => refuse(one, &format!("is set without {other}")),
            (None, Some(_)) => refuse(other, &format!("is set without {one}")),
        }
    }

    fn database(&self, data_dir: &std::path::Path) -> Result<Database, ConfigError> {
        let postgres = |name: &str, url: &str| {
            let known = url.starts_with("postgresql://") || url.starts_with("postgres://");
            match Url::from_str(url) {
                Ok(_) if known => Ok(url.to_owned()),
                _ => refuse(name, "must be a URL that begins with postgresql://"),
            }
        };
        let extra = ["DATABASE_DIRECT_URL", "DATABASE_READ_URL"];
        match self.get("DATABASE_URL")? {
            Some(url) if url.starts_with("postgres") => {
                let url = postgres("DATABASE_URL", url)?;
                let other = |name| {
                    self.get(name)?
                        .map_or(Ok(url.clone()), |u| postgres(name, u))
                };
                Ok(Database::Postgres {
                    direct_url: other("DATABASE_DIRECT_URL")?,
                    read_url: other("DATABASE_READ_URL")?,
                    url,
                })
            }
            other => {
                if let Some(name) = self.first_set(&extra)? {
                    return refuse(name, "is set, but DATABASE_URL is not a postgresql:// URL");
                }
                match other {
                    None => Ok(Database::Sqlite(data_dir.join("orders.db"))),
                    Some(url) => match url.strip_prefix("sqlite://") {
                        Some(path) if !path.is_empty() => Ok(Database::Sqlite(path.into())),
                        _ => refuse(
                            "DATABASE_URL",
                            "must begin with postgresql:// or be sqlite:// and a path",
                        ),
                    },
                }
            }
        }
    }

    fn brokers(&self) -> Result<Option<String>, ConfigError> {
        let Some(brokers) = self.get("KAFKA_BROKERS")? else {
            return Ok(None);
        };
        let is_broker = |broker: &str| {
            let port = broker
                .trim()
                .rsplit_once(':')
                .map(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            port.unwrap_or(false)
        };
        if brokers.split(',').all(is_broker) {
            Ok(Some(brokers.to_owned()))
        } else {
            refuse("KAFKA_BROKERS", "must be host:port, separated by commas")
        }
    }

    fn origins(&self) -> Result<Vec<String>, ConfigError> {
        let Some(origins) = self.get("CORS_ORIGINS")? else {
            return Ok(Vec::new());
        };
        origins
            .split(',')
            .map(|origin| {
                let origin = origin.trim();
                let url = Url::parse(origin).ok();
                match url.map(|url| url.origin().ascii_serialization()) {
                    Some(exact) if exact == origin => Ok(exact),
                    _ => refuse(
                        "CORS_ORIGINS",
                        "must be origins such as https://app.example.com, separated by commas",
                    ),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Config, String> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), OsString::from(*value));
        Config::read(&vars.iter().map(own).collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_environment_is_a_service_on_this_machine_alone() {
        let config = read(&[]).expect("defaults are fine");
        assert_eq!(config.listen.to_string(), "127.0.0.1:4000");
        assert_eq!(config.topics.order, "order-events");
        assert_eq!(
            config.database,
            Database::Sqlite("./swifttrack-data/orders.db".into())
        );
        assert_eq!(config.circuit.timeout, Duration::from_secs(30));
        assert_eq!(config.retry.delay, Duration::from_secs(2));
        assert!(config.cms.url.is_none() && config.kafka_brokers.is_none());
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        assert!(read(&[("PORT", ""), ("DATABASE_URL", " ")]).is_ok());
    }

    #[test]
    fn a_bad_value_is_named() {
        for (vars, name) in [
            (&[("PORT", "x")][..], "PORT"),
            (&[("PORT", "70000")], "PORT"),
            (&[("BIND", "0.0.0.0")], "BIND"),
            (&[("ALLOW_NO_AUTH", "yes")], "ALLOW_NO_AUTH"),
            (&[("DATABASE_URL", "mysql://h/d")], "DATABASE_URL"),
            (
                &[("DATABASE_READ_URL", "postgresql://h/d")],
                "DATABASE_READ_URL",
            ),
            (&[("KAFKA_BROKERS", "localhost")], "KAFKA_BROKERS"),
            (&[("CMS_URL", "ftp://h")], "CMS_URL"),
            (&[("CMS_USERNAME", "u")], "CMS_USERNAME"),
            (&[("CMS_PASSWORD", "p")], "CMS_PASSWORD"),
            (
                &[("CIRCUIT_BREAKER_THRESHOLD", "0")],
                "CIRCUIT_BREAKER_THRESHOLD",
            ),
            (&[("RETRY_DELAY_MS", "-1")], "RETRY_DELAY_MS"),
            (&[("LOG_FORMAT", "xml")], "LOG_FORMAT"),
            (&[("CORS_ORIGINS", "https://a/b")], "CORS_ORIGINS"),
            (&[("ORDER_EVENTS_TOPIC", "a b")], "ORDER_EVENTS_TOPIC"),
            (
                &[("RETRY_EVENTS_TOPIC", "order-events")],
                "RETRY_EVENTS_TOPIC",
            ),
            (
                &[("HEALTH_EVENTS_TOPIC", "retry-events")],
                "HEALTH_EVENTS_TOPIC",
            ),
            (&[("RUST_LOG", "order_service=loud")], "RUST_LOG"),
            (&[("JWT_SECRET", "s")], "JWT_SECRET"),
        ] {
            let error = read(vars).expect_err(name);
            assert!(error.starts_with(&format!("{name} ")), "{error}");
        }
    }

    #[test]
    fn an_old_wms_url_is_taken_for_its_host_and_port() {
        let config = read(&[("WMS_URL", "http://warehouse:5002")]).expect("it is fine");
        assert_eq!(config.wms.url.expect("it is set").port(), Some(5002));
    }

    #[test]
    fn credentials_are_not_shown() {
        let vars = [("CMS_USERNAME", "u"), ("CMS_PASSWORD", "geheim")];
        assert!(!format!("{:?}", read(&vars)).contains("geheim"));
    }
}
