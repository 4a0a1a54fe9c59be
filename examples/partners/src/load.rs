//! How many durable effects a second each partner answers on this machine: `partners load`.
//!
//! Partner and callers share the process and its cores, so what is measured is
//! a lower bound of what the partner can do alone.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use swifttrack_adapters::CallContext;
use swifttrack_adapters::framed::{Client, Endpoint, Options};
use swifttrack_adapters::soap::Version;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cms::message as cms;
use crate::ros::message as ros;
use crate::wms::message as wms;
use crate::{Config, Running, spawn_cms, spawn_ros, spawn_wms};

/// How much, by how many.
///
/// # Defaults
///
/// 50,000 effects at each partner, by 128 callers at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    effects: u64,
    callers: u64,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            effects: 50_000,
            callers: 128,
        }
    }
}

impl Load {
    /// How many effects.
    #[must_use]
    pub const fn effects(mut self, effects: u64) -> Self {
        self.effects = effects;
        self
    }

    /// How many callers at a time, each of which waits for its answer.
    #[must_use]
    pub const fn callers(mut self, callers: u64) -> Self {
        self.callers = callers;
        self
    }

    /// Runs it against each partner in turn, with ledgers in `data`, and hands `each` what came of it.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it stops.
    ///
    /// # Errors
    ///
    /// If a partner cannot be started, or a call fails.
    pub async fn run(&self, data: &Path, mut each: impl FnMut(&Measured)) -> io::Result<()> {
        let config = || Config::new("127.0.0.1:0", data);
        let partners = [
            ("cms", spawn_cms(config()).await),
            ("wms", spawn_wms(config()).await),
            ("ros", spawn_ros(config()).await),
        ];
        for (name, running) in partners {
            let running = running.map_err(io::Error::other)?;
            let time = self.drive(name, running.local_addr()).await?;
            each(&self.measured(name, &running, time).await?);
            running.shutdown().await;
        }
        Ok(())
    }

    async fn drive(&self, name: &'static str, addr: SocketAddr) -> io::Result<Duration> {
        // A run's own orders, so that a ledger can be used again.
        let run = Utc::now().timestamp_millis();
        let next = Arc::new(AtomicU64::new(0));
        let endpoint = Endpoint::tcp(addr.ip().to_string(), addr.port());
        let frames = Arc::new(Client::<wms::Wms>::new(endpoint, Options::new()));
        let effects = self.effects;
        let mut callers = JoinSet::new();
        let start = Instant::now();
        for _ in 0..self.callers {
            let (next, frames) = (Arc::clone(&next), Arc::clone(&frames));
            callers.spawn(async move {
                let mut line = match name {
                    "wms" => Line::Frames(frames),
                    _ => Line::Http(connect(addr).await?),
                };
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= effects {
                        return io::Result::Ok(());
                    }
                    line.call(name, &format!("L{run}-{number}")).await?;
                }
            });
        }
        while let Some(ended) = callers.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        Ok(start.elapsed())
    }

    async fn measured(
        &self,
        partner: &'static str,
        running: &Running,
        time: Duration,
    ) -> io::Result<Measured> {
        let in_ledger = running.effects().await?.len() as u64;
        if in_ledger < self.effects {
            let lost = format!("the ledger has {in_ledger} of {} effects", self.effects);
            return Err(io::Error::other(lost));
        }
        Ok(Measured {
            partner,
            effects: self.effects,
            callers: self.callers,
            time,
        })
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Measured {
    /// Which partner.
    pub partner: &'static str,
    /// How many effects, all of them synced before they were answered.
    pub effects: u64,
    /// By how many callers at a time.
    pub callers: u64,
    /// In what time.
    pub time: Duration,
}

impl Measured {
    /// Effects a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.effects as f64 / self.time.as_secs_f64()
    }
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: {:.0} durable effects/s ({} in {:.2} s by {} callers)",
            self.partner,
            self.rate(),
            self.effects,
            self.time.as_secs_f64(),
            self.callers
        )
    }
}

type Sender = http1::SendRequest<Full<Bytes>>;

enum Line {
    Http(Sender),
    Frames(Arc<Client<wms::Wms>>),
}

impl Line {
    async fn call(&mut self, name: &str, order: &str) -> io::Result<()> {
        match self {
            Self::Frames(frames) => {
                let cx = CallContext::new(order, Duration::from_secs(30));
                let answer = frames.call(&register(order), &cx).await;
                answer.map(drop).map_err(io::Error::other)
            }
            Self::Http(sender) => {
                let request = match name {
                    "cms" => verify(order)?,
                    _ => put(order)?,
                };
                exchange(sender, request).await
            }
        }
    }
}

async fn connect(addr: SocketAddr) -> io::Result<Sender> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(io::Error::other)?;
    // It ends with the sender.
    tokio::spawn(connection);
    Ok(sender)
}

async fn exchange(sender: &mut Sender, request: Request<Full<Bytes>>) -> io::Result<()> {
    let response = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    let status = response.status();
    let body = response.into_body().collect().await;
    let body = body.map_err(io::Error::other)?.to_bytes();
    if !status.is_success() {
        let body = String::from_utf8_lossy(&body);
        return Err(io::Error::other(format!("{status}: {body}")));
    }
    Ok(())
}

const CLIENT: &str = "TEST-CLIENT";
const SKU: &str = "TEST";
const ADDRESS: &str = "1 Main Street, Colombo";

fn verify(order: &str) -> io::Result<Request<Full<Bytes>>> {
    let request = cms::VerifyContractRequest {
        order_id: order.to_owned(),
        client_id: CLIENT.to_owned(),
        priority: cms::Priority::Standard,
        packages: vec![cms::Package {
            sku: SKU.to_owned(),
            description: None,
            quantity: std::num::NonZeroU32::MIN,
            priority: None,
        }],
        delivery_addresses: vec![ADDRESS.to_owned()],
    };
    let headers = cms::RequestHeaders::default();
    let body = cms::write_request(Version::V11, &headers, &request).map_err(io::Error::other)?;
    Request::post("/cms")
        .header(header::HOST, "cms")
        .header(header::CONTENT_TYPE, Version::V11.content_type())
        .header("soapaction", cms::VerifyContractRequest::ACTION)
        .body(Full::new(Bytes::from(body)))
        .map_err(io::Error::other)
}

fn put(order: &str) -> io::Result<Request<Full<Bytes>>> {
    let body = ros::RouteRequest {
        client_id: CLIENT.to_owned(),
        priority: ros::Priority::Standard,
        packages: vec![ros::Package {
            sku: SKU.to_owned(),
            description: None,
            quantity: 1,
            priority: ros::Priority::Standard,
        }],
        delivery_addresses: vec![ADDRESS.to_owned()],
    };
    let body = serde_json::to_vec(&body)?;
    Request::put(format!("/v1/orders/{order}/route"))
        .header(header::HOST, "ros")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(io::Error::other)
}

fn register(order: &str) -> wms::Request {
    wms::Request::Register(wms::Register {
        about: wms::About {
            trace_parent: String::new(),
            key: String::new(),
            order_id: order.to_owned(),
        },
        client_id: CLIENT.to_owned(),
        priority: wms::Priority::Standard,
        packages: vec![wms::Package {
            sku: SKU.to_owned(),
            description: String::new(),
            quantity: 1,
            priority: wms::Priority::Standard,
            handling: wms::Handling::default(),
        }],
        addresses: vec![ADDRESS.to_owned()],
    })
}

/// What to type.
pub const USAGE: &str =
    "partners load [--effects N, default 50000] [--callers N, default 128] [--data DIR]";

/// Runs it with what was typed after `load`, and hands `print` a line a partner.
///
/// # Errors
///
/// One sentence: what was typed makes no sense, or the run failed.
pub async fn command(
    mut args: impl Iterator<Item = String>,
    mut print: impl FnMut(&Measured),
) -> Result<(), String> {
    let mut load = Load::default();
    let mut data = None;
    while let Some(flag) = args.next() {
        let value = args
            .next()
            .ok_or_else(|| format!("{flag} needs a value; {USAGE}"))?;
        let number = || match value.parse::<u64>() {
            Ok(number @ 1..=10_000_000) => Ok(number),
            _ => Err(format!("{flag} is 1 to 10000000, not {value:?}")),
        };
        match flag.as_str() {
            "--effects" => load = load.effects(number()?),
            "--callers" => load = load.callers(number()?.min(10_000)),
            "--data" => data = Some(PathBuf::from(&value)),
            _ => return Err(format!("there is no {flag}; {USAGE}")),
        }
    }
    let own = std::env::temp_dir().join(format!("partners-load-{}", std::process::id()));
    let dir = data.as_deref().unwrap_or(&own);
    let result = load.run(dir, &mut print).await;
    if data.is_none() {
        // Nothing in it is of use any more.
        let _ = std::fs::remove_dir_all(&own);
    }
    result.map_err(|error| error.to_string())
}
