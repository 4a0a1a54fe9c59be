//! Every stack, built once: the file to read first.
//!
//! ```text
//!  POST ─▶ api ─▶ engine.start ─▶ flusher ─▶ one transaction:
//!                     │              saga · orders · order_events · outbox
//!                     ▼                                         │
//!        VerifyContract  RegisterPackages  OptimizeRoute        ▼
//!              │               │                │             relay ─▶ Kafka
//!        bulkhead+circuit bulkhead+circuit bulkhead+circuit
//!              │ SOAP          │ framed TCP     │ REST
//!              ▼               ▼                ▼
//!             CMS             WMS              ROS
//! ```
//!
//! [`start`] takes what can be refused first (ports, then the database), so that a
//! start that fails leaves nothing half-started behind.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use swifttrack_breaker::{BreakerConfig, BreakerHandle};
use swifttrack_saga::store::postgres::PgStore;
use swifttrack_saga::store::sqlite::{self, SqliteStore};
use swifttrack_saga::{Engine, Saga};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::api;
use crate::app::App;
use crate::circuits::{self, Circuits};
use crate::config::{Config, Database};
use crate::control;
use crate::db::{Db, Projection};
use crate::embedded::Embedded;
use crate::estimate::Estimate;
use crate::feed::Feed;
use crate::gate::Gate;
use crate::order::NewOrder;
use crate::outbox::Outbox;
use crate::partner::{CmsAdapter, RosAdapter, WmsAdapter};
use crate::saga::{self, Partners, Ready};
use crate::server;
use crate::step::Step;
use crate::upkeep;

/// How long running requests may go on after a stop was asked for.
const DRAIN: Duration = Duration::from_secs(5);
/// How long steps that run may go on.
const ENGINE_DRAIN: Duration = Duration::from_secs(10);
/// How long the relay may take to hand its rows to the broker.
const RELAY_DRAIN: Duration = Duration::from_secs(5);

/// A start that did not succeed: one sentence, and the cause.
#[derive(Debug)]
pub struct StartError {
    what: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StartError {
    /// What could not be done.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            source: None,
        }
    }

    /// What could not be done, and why.
    pub fn because(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            what: what.into(),
            source: Some(source.into()),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// SIGTERM and Ctrl-C.
#[derive(Debug)]
pub struct Asked {
    terminate: Signal,
    interrupt: Signal,
}

impl Asked {
    /// From now on the signals wait for [`to_stop`](Self::to_stop).
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for either.
    pub async fn to_stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A service that runs.
#[derive(Debug)]
pub struct Service {
    app: Arc<App>,
    listen: SocketAddr,
    tasks: TaskTracker,
    embedded: Embedded,
}

/// Starts everything that the configuration names, and embeds what it does not.
///
/// # Errors
///
/// One sentence: a taken port, a database that cannot be reached, a file that another
/// process holds. Nothing is left running.
pub async fn start(config: Config) -> Result<Service, StartError> {
    let (http, listen) = bind("PORT", config.listen).await?;
    let metrics_listener = match config.metrics_bind {
        Some(address) => Some(bind("METRICS_BIND", address).await?.0),
        None => None,
    };
    let metrics = PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| StartError::because("the metrics cannot be recorded", error))?;

    let (db, store) = open(&config).await?;
    let embedded = Embedded::start(&config).await?;
    let circuits = circuits_of(&config);
    let estimate = Arc::new(Estimate::default());
    let partners = partners_of(&config, &embedded, &circuits, &estimate)?;
    let outbox = Outbox::start(&config, &db).await?;
    let saga = saga::define(partners, config.retry)
        .map_err(|error| StartError::because("the saga is not well defined", error))?;
    let projection = Projection::new(config.topics.clone(), outbox.waker());
    let engine = store.run(projection, &saga).await?;

    let (closing, stop) = (CancellationToken::new(), CancellationToken::new());
    let app = Arc::new(App {
        instance: format!("order-service-{}", Uuid::now_v7().simple()),
        feed: Feed::spawn(db.clone(), stop.clone()),
        partners: circuits,
        stopping: AtomicBool::new(false),
        config,
        db,
        engine,
        saga,
        outbox,
        estimate,
        metrics,
        closing: closing.clone(),
        stop,
    });
    let tasks = TaskTracker::new();
    let router = api::router(Arc::clone(&app));
    tasks.spawn(server::serve(http, router, closing.clone(), DRAIN));
    if let Some(listener) = metrics_listener {
        let router = api::metrics_router(Arc::clone(&app));
        tasks.spawn(server::serve(listener, router, closing.clone(), DRAIN));
    }
    for step in Step::ALL {
        tasks.spawn(circuits::follow(Arc::clone(&app), step));
    }
    tasks.spawn(control::follow(Arc::clone(&app)));
    tasks.spawn(upkeep::forget_keys(Arc::clone(&app)));
    tasks.spawn(upkeep::watch_broker(Arc::clone(&app)));
    tasks.close();
    Ok(Service {
        app,
        listen,
        tasks,
        embedded,
    })
}

async fn bind(
    variable: &str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let what = || format!("cannot listen on {address}, see {variable}");
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| StartError::because(what(), error))?;
    let local = listener
        .local_addr()
        .map_err(|error| StartError::because(what(), error))?;
    Ok((listener, local))
}

/// The saga store of the chosen database, before its engine runs.
enum Store {
    Postgres(Box<PgStore>),
    Sqlite(Box<SqliteStore>),
}

async fn open(config: &Config) -> Result<(Db, Store), StartError> {
    match &config.database {
        Database::Postgres {
            url,
            direct_url,
            read_url,
        } => {
            let unreachable = |error| StartError::because("the database cannot be reached", error);
            for (variable, url) in [
                ("DATABASE_URL", url),
                ("DATABASE_DIRECT_URL", direct_url),
                ("DATABASE_READ_URL", read_url),
            ] {
                Db::reach(url).await.map_err(|error| {
                    StartError::because(format!("{variable} cannot be reached"), error)
                })?;
            }
            let db = Db::postgres(url, direct_url, read_url)
                .await
                .map_err(unreachable)?;
            let store = PgStore::connect(direct_url)
                .await
                .map_err(|error| StartError::because("the database cannot be reached", error))?;
            prepare(&db).await?;
            store.migrate().await.map_err(schema)?;
            Ok((db, Store::Postgres(Box::new(store))))
        }
        Database::Sqlite(path) => {
            directory(path.parent())?;
            let (write, read) = sqlite::open(path).await.map_err(|error| {
                StartError::because(format!("{} cannot be used", path.display()), error)
            })?;
            let db = Db::Sqlite {
                write: write.clone(),
                read: read.clone(),
            };
            let store = SqliteStore::new(write, read);
            prepare(&db).await?;
            store.migrate().await.map_err(schema)?;
            Ok((db, Store::Sqlite(Box::new(store))))
        }
    }
}

fn schema(error: swifttrack_saga::store::StoreError) -> StartError {
    StartError::because("the saga tables cannot be prepared", error)
}

async fn prepare(db: &Db) -> Result<(), StartError> {
    db.migrate()
        .await
        .map_err(|error| StartError::because("the order tables cannot be prepared", error))
}

fn directory(path: Option<&Path>) -> Result<(), StartError> {
    let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else {
        return Ok(());
    };
    std::fs::create_dir_all(path).map_err(|error| {
        StartError::because(format!("DATA_DIR {} cannot be made", path.display()), error)
    })
}

impl Store {
    /// Gives the store its hook and starts the engine on it.
    async fn run(
        self,
        projection: Projection,
        saga: &Saga<NewOrder, Ready>,
    ) -> Result<Engine, StartError> {
        let started = match self {
            Self::Postgres(store) => {
                let store = store.with_hook(Arc::new(projection));
                Engine::builder(store).register(saga).spawn().await
            }
            Self::Sqlite(store) => {
                let store = store.with_hook(Arc::new(projection));
                Engine::builder(store).register(saga).spawn().await
            }
        };
        started.map_err(|error| StartError::because("the saga engine cannot start", error))
    }
}

/// One circuit a partner.
fn circuits_of(config: &Config) -> Circuits {
    let settings = BreakerConfig::new()
        .trip_after(config.circuit.threshold)
        .open_for(config.circuit.timeout);
    Circuits::new(Step::ALL.map(|step| BreakerHandle::new(step.service(), settings)))
}

/// Each partner's protocol behind its circuit.
fn partners_of(
    config: &Config,
    embedded: &Embedded,
    circuits: &Circuits,
    estimate: &Arc<Estimate>,
) -> Result<Partners, StartError> {
    let circuit = |step| circuits.of(step).clone();
    let unusable = |step: Step, error: swifttrack_adapters::Error| {
        StartError::because(format!("{}_URL cannot be used", step.prefix()), error)
    };
    let cms = CmsAdapter::new(
        embedded.url(Step::Cms, config.cms.url.as_ref())?.as_str(),
        config.cms.credentials.clone(),
    )
    .map_err(|error| unusable(Step::Cms, error))?;
    let wms = WmsAdapter::new(
        embedded.url(Step::Wms, config.wms.url.as_ref())?.as_str(),
        config.wms.credentials.clone(),
    )
    .map_err(|error| unusable(Step::Wms, error))?;
    let ros = RosAdapter::new(
        embedded.url(Step::Ros, config.ros.url.as_ref())?.as_str(),
        config.ros.credentials.clone(),
    )
    .map_err(|error| unusable(Step::Ros, error))?;
    Ok(Partners {
        cms: Arc::new(Gate::new(
            Step::Cms,
            cms,
            circuit(Step::Cms),
            Arc::clone(estimate),
        )),
        wms: Arc::new(Gate::new(
            Step::Wms,
            wms,
            circuit(Step::Wms),
            Arc::clone(estimate),
        )),
        ros: Arc::new(Gate::new(
            Step::Ros,
            ros,
            circuit(Step::Ros),
            Arc::clone(estimate),
        )),
    })
}

impl Service {
    /// Where it listens.
    #[must_use]
    pub const fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where things are, and how to submit a first order.
    #[must_use]
    pub fn greeting(&self) -> String {
        let at = self.listen;
        let config = &self.app.config;
        let mut lines = vec![format!("order-service listens on http://{at}")];
        lines.push(match &config.database {
            Database::Sqlite(path) => format!("  orders    SQLite file {}", path.display()),
            Database::Postgres { .. } => "  orders    Postgres".to_owned(),
        });
        lines.push(match &config.kafka_brokers {
            Some(brokers) => format!(
                "  events    Kafka at {brokers}, topic {}",
                config.topics.order
            ),
            None => format!(
                "  events    in-process Kafka broker at {}, topic {} (a window, not a store: \
                 its log ends with this process and keeps 5 MiB a partition)",
                self.app.outbox.brokers(),
                config.topics.order
            ),
        });
        for step in Step::ALL {
            let prefix = step.prefix();
            let running = self.embedded.running().find(|(of, _)| *of == step);
            lines.push(match running {
                Some((_, partner)) => format!(
                    "  {prefix}       stand-in on {}, control on http://{}",
                    partner.local_addr(),
                    partner.control_addr()
                ),
                None => format!("  {prefix}       as {prefix}_URL says"),
            });
        }
        lines.push(format!(
            "\nSubmit a first order:\n\n  \
             curl -i http://{at}/api/orders -H 'Content-Type: application/json' -d '{EXAMPLE}'\n\n\
             and follow it:\n\n  curl http://{at}/api/orders/ORD-001/status\n\n\
             or open http://{at}/ in a browser. Ctrl-C stops."
        ));
        lines.join("\n")
    }

    /// Stops in order: readiness off, no new requests, no new steps, leases back, events out.
    pub async fn stop(self) {
        self.app.stopping.store(true, Ordering::Relaxed);
        self.app.closing.cancel();
        self.app.engine.shutdown(ENGINE_DRAIN).await;
        self.app.stop.cancel();
        self.tasks.wait().await;
        self.app.outbox.stop(RELAY_DRAIN).await;
        self.embedded.stop().await;
    }
}

/// The order that the greeting shows.
const EXAMPLE: &str = "{\"id\":\"ORD-001\",\"clientId\":\"CLIENT-001\",\"packages\":\
[{\"sku\":\"ITEM-001\",\"quantity\":2}],\"deliveryAddresses\":[\"123 Main Street, City, Country\"]}";
