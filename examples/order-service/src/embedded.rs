//! What runs inside this process when nothing else is configured: the three partners'
//! stand-ins, over real sockets, on the ports where the partners are expected.

use std::path::PathBuf;

use partners::{Config as PartnerConfig, Running};
use url::Url;

use crate::config::{Config, Partner};
use crate::step::Step;
use crate::wire::StartError;

/// Where a stand-in listens, by [`Step::index`].
const LISTEN: [&str; 3] = ["127.0.0.1:5001", "127.0.0.1:5002", "127.0.0.1:5003"];

/// The stand-ins that run here. Dropped, they stop.
#[derive(Debug, Default)]
pub struct Embedded {
    partners: [Option<Running>; 3],
}

impl Embedded {
    /// Starts a stand-in for every partner without a URL.
    ///
    /// # Errors
    ///
    /// A taken port or a ledger that cannot be used; then none runs.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let mut embedded = Self::default();
        for step in Step::ALL {
            let (url, own) = match step {
                Step::Cms => (&config.cms.url, cms(config)),
                Step::Wms => (&config.wms.url, token(config, step, &config.wms)),
                Step::Ros => (&config.ros.url, token(config, step, &config.ros)),
            };
            if url.is_some() {
                continue;
            }
            let started = match step {
                Step::Cms => partners::spawn_cms(own).await,
                Step::Wms => partners::spawn_wms(own).await,
                Step::Ros => partners::spawn_ros(own).await,
            };
            let running = started.map_err(|error| {
                // It says its cause itself.
                let prefix = step.prefix();
                StartError::new(format!(
                    "the {prefix} stand-in cannot start ({prefix}_URL would name a partner elsewhere): {error}"
                ))
            })?;
            embedded.partners[step.index()] = Some(running);
        }
        Ok(embedded)
    }

    /// Where a partner is: its URL, or its stand-in's.
    ///
    /// # Errors
    ///
    /// None in practice: an address makes a URL.
    pub fn url(&self, step: Step, configured: Option<&Url>) -> Result<Url, StartError> {
        if let Some(url) = configured {
            return Ok(url.clone());
        }
        let running = self.partners[step.index()].as_ref();
        let address = running.map_or_else(
            || LISTEN[step.index()].to_owned(),
            |running| running.local_addr().to_string(),
        );
        let scheme = if step == Step::Wms { "tcp" } else { "http" };
        Url::parse(&format!("{scheme}://{address}"))
            .map_err(|error| StartError::because("a stand-in has no address", error))
    }

    /// What runs here, for the greeting.
    pub fn running(&self) -> impl Iterator<Item = (Step, &Running)> {
        let of = |step: Step| self.partners[step.index()].as_ref().map(|it| (step, it));
        Step::ALL.into_iter().filter_map(of)
    }

    /// Stops them; their ledgers are synced.
    pub async fn stop(self) {
        for running in self.partners.into_iter().flatten() {
            running.shutdown().await;
        }
    }
}

fn base(config: &Config, step: Step) -> PartnerConfig {
    PartnerConfig::new(LISTEN[step.index()], data(config))
}

fn data(config: &Config) -> PathBuf {
    config.data_dir.join("partners")
}

fn cms(config: &Config) -> PartnerConfig {
    match &config.cms.credentials {
        Some((user, password)) => base(config, Step::Cms).user(user, password),
        None => base(config, Step::Cms),
    }
}

fn token(config: &Config, step: Step, partner: &Partner<String>) -> PartnerConfig {
    match &partner.credentials {
        Some(token) => base(config, step).token(token),
        None => base(config, step),
    }
}
