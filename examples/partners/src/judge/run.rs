//! Doing what the plan says, and asking what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use http::{Method, StatusCode};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::plan::{Order, What};
use super::service::{Service, ask};
use super::verdict::{Testimony, verdict};
use super::{End, JudgeError, Plan, Report};
use crate::{Config, Running, spawn_cms, spawn_ros, spawn_wms};

/// The most requests to the service at a time.
const REQUESTS_MAX: usize = 64;
/// A service that ends by itself so often is not judged any further.
const CRASHES_MAX: u32 = 20;

/// A partner that plays along.
struct Party {
    name: &'static str,
    /// Forward, cancel, query.
    ops: [&'static str; 3],
    /// How the service is told where it is.
    url: (&'static str, String),
    running: Running,
}

/// Starts the three partners and `command`, does what `plan` says, and holds the
/// service's word against the ledgers. `data` takes ledgers, the service's
/// `DATA_DIR` and its output; it should be new.
///
/// # Cancel safety
///
/// Dropped, it kills the service and stops the partners.
///
/// # Errors
///
/// If partners or service cannot be started, or a ledger cannot be read.
pub async fn judge(plan: &Plan, command: &[String], data: &Path) -> Result<Report, JudgeError> {
    let parties = parties(plan, data).await?;
    let mut variables: Vec<_> = parties
        .iter()
        .map(|party| (party.url.0.to_owned(), party.url.1.clone()))
        .collect();
    let service_data = data.join("service").display().to_string();
    variables.push(("DATA_DIR".to_owned(), service_data));
    // Patience is the service's own matter; these only keep a run short unless the caller says otherwise.
    for (name, value) in [
        ("RETRY_DELAY_MS", "200"),
        ("CIRCUIT_BREAKER_TIMEOUT", "1000"),
    ] {
        if std::env::var_os(name).is_none() {
            variables.push((name.to_owned(), value.to_owned()));
        }
    }
    let service = Service::start(command, variables, &data.join("service.log")).await?;

    let mut run = Run {
        addr: service.addr(),
        service,
        parties,
        accepted: Arc::default(),
        crashes: 0,
        kills: 0,
    };
    let orders = run.storm(plan).await?;
    let ends = run.settle(plan, &orders).await?;
    run.report(plan, ends, data).await
}

struct Run {
    addr: SocketAddr,
    service: Service,
    parties: Vec<Party>,
    /// A std mutex, since nothing is awaited while it is held.
    accepted: Arc<Mutex<BTreeSet<String>>>,
    crashes: u32,
    kills: u32,
}

impl Run {
    /// Orders, faults and kills, as planned. Gives back the ids of all orders.
    async fn storm(&mut self, plan: &Plan) -> Result<BTreeSet<String>, JudgeError> {
        let ops: Vec<_> = self.parties.iter().map(|party| party.ops).collect();
        let mut orders = BTreeSet::new();
        let mut clients = JoinSet::new();
        let slots = Arc::new(Semaphore::new(REQUESTS_MAX));
        let mut start = Instant::now();
        for event in plan.events(&ops) {
            sleep_until(start + event.at).await;
            self.look_after().await?;
            match event.what {
                What::Submit(order) => {
                    orders.insert(order.id.clone());
                    let (addr, slots) = (self.addr, Arc::clone(&slots));
                    let accepted = Arc::clone(&self.accepted);
                    let give_up = plan.settle;
                    clients.spawn(async move {
                        let _slot = slots.acquire_owned().await;
                        let submitted = submit(addr, &order);
                        if let Ok(true) = tokio::time::timeout(give_up, submitted).await {
                            let mut accepted =
                                accepted.lock().unwrap_or_else(PoisonError::into_inner);
                            accepted.insert(order.id);
                        }
                    });
                }
                What::Cancel(id) => {
                    let addr = self.addr;
                    clients.spawn(async move {
                        let path = format!("/api/orders/{id}/cancel");
                        // Refused or lost: whatever it came to, the order must end well.
                        let _ = ask(addr, Method::POST, &path, "").await;
                    });
                }
                What::Break { party, rule } => {
                    let faults = self.parties[party].running.faults();
                    if let Ok(rule) = faults.parse(&rule) {
                        faults.set(rule);
                    }
                }
                What::Kill => {
                    // The time that it takes to start again is not on the time line.
                    let killed = Instant::now();
                    self.service.kill().await?;
                    self.kills += 1;
                    start += killed.elapsed();
                }
            }
        }
        for party in &self.parties {
            party.running.faults().clear();
        }
        while clients.join_next().await.is_some() {
            self.look_after().await?;
        }
        Ok(orders)
    }

    /// All is well again: waits until every order has ended and every late call has arrived.
    async fn settle(
        &mut self,
        plan: &Plan,
        orders: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, End>, JudgeError> {
        let calm = Instant::now();
        let mut open = orders.clone();
        let mut ends = BTreeMap::new();
        while !open.is_empty() && calm.elapsed() < plan.settle {
            self.look_after().await?;
            let mut asked = futures_util::stream::iter(open.clone())
                .map(|id| async {
                    let end = self.end_of(&id).await;
                    (id, end)
                })
                .buffer_unordered(REQUESTS_MAX);
            while let Some((id, end)) = asked.next().await {
                if !matches!(end, End::Unfinished(_)) {
                    open.remove(&id);
                }
                ends.insert(id, end);
            }
            drop(asked);
            sleep(Duration::from_millis(100)).await;
        }
        sleep_until(calm + plan.delay_max + Duration::from_millis(500)).await;
        // A service may change its mind when a late answer comes; its last word counts.
        for id in orders {
            let end = self.end_of(id).await;
            if !matches!(end, End::Unfinished(_)) {
                ends.insert(id.clone(), end);
            }
        }
        Ok(ends)
    }

    async fn report(
        self,
        plan: &Plan,
        ends: BTreeMap<String, End>,
        data: &Path,
    ) -> Result<Report, JudgeError> {
        self.service.stop().await;
        let mut testimonies = Vec::new();
        let mut faults = BTreeMap::new();
        for party in self.parties {
            let effects = party.running.effects().await;
            faults.insert(party.name, party.running.faults().hits());
            testimonies.push(Testimony {
                partner: party.name,
                effects: effects.map_err(|source| JudgeError::new("read a ledger", source))?,
                second_keys: party.running.second_keys(),
            });
            party.running.shutdown().await;
        }
        let effects = testimonies.iter().map(|t| (t.partner, t.effects.len()));
        Ok(Report {
            seed: plan.seed,
            effects: effects.collect(),
            findings: verdict(&ends, &testimonies),
            ends,
            kills: self.kills,
            crashes: self.crashes,
            faults,
            data: data.to_owned(),
        })
    }

    /// The service's own word about an order.
    async fn end_of(&self, id: &str) -> End {
        let path = format!("/api/orders/{id}/status");
        match ask(self.addr, Method::GET, &path, "").await {
            Ok((StatusCode::NOT_FOUND, _)) => {
                let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
                match accepted.contains(id) {
                    true => End::Forgotten,
                    false => End::Refused,
                }
            }
            Ok((StatusCode::OK, body)) => {
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                match body["status"].as_str() {
                    Some("READY_FOR_DELIVERY") => End::Ready,
                    Some("FAILED" | "CANCELLED") => End::Undone,
                    Some(status) => End::Unfinished(status.to_owned()),
                    None => End::Unfinished("without a status".to_owned()),
                }
            }
            Ok((status, _)) => End::Unfinished(format!("its status page is a {status}")),
            Err(error) => End::Unfinished(format!("its status page does not come: {error}")),
        }
    }

    async fn look_after(&mut self) -> Result<(), JudgeError> {
        if self.service.revive().await? {
            self.crashes += 1;
            if self.crashes > CRASHES_MAX {
                let what = "it ended by itself more than 20 times";
                return Err(JudgeError::new("judge it", std::io::Error::other(what)));
            }
        }
        Ok(())
    }
}

/// Sends the order until there is an answer; whether it was accepted.
async fn submit(addr: SocketAddr, order: &Order) -> bool {
    let body = order.body.to_string();
    loop {
        match ask(addr, Method::POST, "/api/orders", &body).await {
            Ok((StatusCode::ACCEPTED, _)) => return true,
            Ok((StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT, _)) => {}
            Ok((status, _)) if status.is_client_error() => return false,
            Ok(_) | Err(_) => {}
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn parties(plan: &Plan, data: &Path) -> Result<Vec<Party>, JudgeError> {
    let config = || Config::new("127.0.0.1:0", data.join("partners")).seed(plan.seed);
    let cms = spawn_cms(config()).await?;
    let wms = spawn_wms(config()).await?;
    let ros = spawn_ros(config()).await?;
    Ok(vec![
        Party {
            name: "cms",
            ops: ["verify", "cancel", "get"],
            url: ("CMS_URL", format!("http://{}", cms.local_addr())),
            running: cms,
        },
        Party {
            name: "wms",
            ops: ["register", "cancel", "query"],
            url: ("WMS_URL", format!("tcp://{}", wms.local_addr())),
            running: wms,
        },
        Party {
            name: "ros",
            ops: ["put", "delete", "get"],
            url: ("ROS_URL", format!("http://{}", ros.local_addr())),
            running: ros,
        },
    ])
}
