//! Where a partner listens, what it remembers, whom it lets in.

use std::fmt;
use std::path::{Path, PathBuf};

/// The vehicles of a fleet that nobody sized: enough for a load test of a million orders.
pub const FLEET_DEFAULT: u32 = 2_000_000;

/// How to start one partner.
///
/// # Defaults
///
/// Control port: the port + 1000 (any free one if the port is 0). Seed 0. No
/// credentials: everybody is let in. A fleet of [`FLEET_DEFAULT`] vehicles.
#[derive(Clone)]
pub struct Config {
    listen: String,
    control: Option<String>,
    data: PathBuf,
    seed: u64,
    user: Option<(String, String)>,
    token: Option<String>,
    fleet: u32,
}

impl Config {
    /// Listens on `listen` (`host:port`; port 0 takes any free one) and keeps its ledger in `data`.
    pub fn new(listen: impl Into<String>, data: impl Into<PathBuf>) -> Self {
        Self {
            listen: listen.into(),
            control: None,
            data: data.into(),
            seed: 0,
            user: None,
            token: None,
            fleet: FLEET_DEFAULT,
        }
    }

    /// Puts the control port there.
    #[must_use]
    pub fn control(mut self, address: impl Into<String>) -> Self {
        self.control = Some(address.into());
        self
    }

    /// Seeds what is random: fault rules without a seed of their own, noise.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Lets in only this user: the CMS's UsernameToken.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.user = Some((name.into(), password.into()));
        self
    }

    /// Lets in only who shows this token: in the WMS's HELLO, as the ROS's bearer.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Sizes the ROS's fleet.
    #[must_use]
    pub const fn fleet(mut self, vehicles: u32) -> Self {
        self.fleet = vehicles;
        self
    }

    pub(crate) fn listen_at(&self) -> &str {
        &self.listen
    }

    pub(crate) fn control_at(&self) -> Option<&str> {
        self.control.as_deref()
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data
    }

    pub(crate) fn user_wanted(&self) -> Option<(&str, &str)> {
        let (name, password) = self.user.as_ref()?;
        Some((name, password))
    }

    pub(crate) fn token_wanted(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub(crate) const fn fleet_size(&self) -> u32 {
        self.fleet
    }

    pub(crate) const fn seed_of(&self) -> u64 {
        self.seed
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("control", &self.control)
            .field("data", &self.data)
            .field("seed", &self.seed)
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("fleet", &self.fleet)
            .finish()
    }
}
