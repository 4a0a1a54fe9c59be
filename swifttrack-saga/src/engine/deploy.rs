//! What a new binary could not continue.

use uuid::Uuid;

use crate::engine::builder::EngineBuilder;
use crate::engine::error::Error;
use crate::engine::live::Restored;
use crate::store::{Listed, Loaded, Page};

/// Sagas read at a time.
const PAGE: u32 = 500;
/// No report names more.
const STRANDED_MAX: usize = 1000;

/// What [`EngineBuilder::check_deploy`] found.
#[derive(Clone, Debug, Default)]
#[must_use = "what is stranded should stop the deployment"]
pub struct DeployReport {
    /// How many running sagas were looked at.
    pub sagas: u64,
    /// How many of them this binary could not continue.
    pub stranded: u64,
    /// The first thousand of those.
    pub examples: Vec<Stranded>,
}

/// A running saga that this binary could not continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranded {
    /// The saga.
    pub saga: Uuid,
    /// Its definition's name.
    pub definition: String,
    /// The version that it was started under.
    pub version: u32,
    /// The caller's id.
    pub id: String,
    /// The last transition.
    pub seq: u32,
    /// Why, in one phrase.
    pub reason: String,
}

impl DeployReport {
    /// Whether every running saga could be continued.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.stranded == 0
    }

    fn add(&mut self, listed: &Listed, reason: String) {
        self.stranded += 1;
        if self.examples.len() < STRANDED_MAX {
            self.examples.push(Stranded {
                saga: listed.saga,
                definition: listed.definition.clone(),
                version: listed.version,
                id: listed.id.clone(),
                seq: listed.seq,
                reason,
            });
        }
    }
}

impl EngineBuilder {
    /// Says which running sagas this binary could not continue: whose version is not registered,
    /// whose definition has changed under its version, whose journal or payloads it cannot read.
    ///
    /// It reads every journal of a running saga and writes nothing; no worker is registered. Run
    /// it with the new binary against the live database before it is deployed:
    ///
    /// ```
    /// # use swifttrack_saga::{Engine, Saga, store::memory::MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = MemoryStore::new();
    /// # let saga = Saga::<u32>::define("ship", 1, |s, order| s.finish(order))?;
    /// let report = Engine::builder(store).register(&saga).check_deploy().await?;
    /// for saga in &report.examples {
    ///     eprintln!("{} {}: {}", saga.definition, saga.id, saga.reason);
    /// }
    /// assert!(report.is_clean(), "{} would be stranded", report.stranded);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or a definition that is registered has
    /// [changed](Error::is_changed) under its version.
    pub async fn check_deploy(mut self) -> Result<DeployReport, Error> {
        self.check()?;
        self.registry.unchanged(&*self.store, false).await?;
        let mut report = DeployReport::default();
        let mut after = None;
        loop {
            let page = Page {
                after,
                limit: PAGE,
                ..Page::default()
            };
            let listed = self.store.list(page).await?;
            let Some(last) = listed.last() else {
                return Ok(report);
            };
            after = Some(last.saga);
            report.sagas += listed.len() as u64;
            let known = listed.iter().filter(|listed| self.knows(listed));
            let known: Vec<Uuid> = known.map(|listed| listed.saga).collect();
            let loaded = self.store.load(&known).await?;
            for listed in &listed {
                let loaded = loaded.iter().find(|loaded| loaded.saga == listed.saga);
                if let Some(reason) = self.fault(listed, loaded) {
                    report.add(listed, reason);
                }
            }
        }
    }

    fn knows(&self, listed: &Listed) -> bool {
        let known = self.registry.get(&listed.definition, listed.version);
        known.is_some()
    }

    /// Why this one could not be continued.
    fn fault(&self, listed: &Listed, loaded: Option<&Loaded>) -> Option<String> {
        let (name, version) = (&listed.definition, listed.version);
        let Some(registered) = self.registry.get(name, version) else {
            return Some(format!("{name:?} version {version} is not registered"));
        };
        // What is not there any more has ended meanwhile.
        let loaded = loaded?;
        let restored = Restored::from(registered, loaded.saga, &loaded.journal);
        restored.err().map(|unreadable| unreadable.to_string())
    }
}
