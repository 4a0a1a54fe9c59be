//! Small order services with one bug each, and one without: to be judged, and found out.

use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use partners::wms::message::{Cancel, Handling, Package, Priority, Register, Request, Wms};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use swifttrack_adapters::framed::{Client as Frames, Endpoint, Options};
use tokio::time::{sleep, timeout};

use crate::http::Client;
use crate::line;
use crate::rig::{Ask, rest, soap, verify};

/// What is wrong with the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    /// Every attempt has a key of its own.
    NewKey,
    /// Nothing is written down.
    Forgets,
    /// A call without an answer counts as one that did nothing.
    TimeoutIsFailure,
}

const BUGS: [(&str, Bug); 4] = [
    ("none", Bug::None),
    ("new_key", Bug::NewKey),
    ("forgets", Bug::Forgets),
    ("timeout_is_failure", Bug::TimeoutIsFailure),
];

/// The command that serves with this bug: this very test program, told to run [`serve`] alone.
pub(crate) fn command(bug: Bug) -> Vec<String> {
    let name = BUGS.iter().find(|(_, known)| *known == bug).unwrap().0;
    let program = std::env::current_exe().unwrap();
    [
        "env",
        &format!("PLANTED={name}"),
        program.to_str().unwrap(),
        "planted::serve",
        "--exact",
        "--nocapture",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// No test, but the service: it serves until it is killed if `PLANTED` names its bug.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve() {
    let Ok(planted) = std::env::var("PLANTED") else {
        return;
    };
    let bug = BUGS.iter().find(|(name, _)| *name == planted).unwrap().1;
    let service = Arc::new(Service::open(bug));
    for id in service.orders.lock().unwrap().keys() {
        tokio::spawn(Arc::clone(&service).run(id.clone()));
    }
    let app = Router::new()
        .route("/readyz", get(|| async {}))
        .route("/api/orders", post(submit))
        .route("/api/orders/{id}/status", get(status))
        .with_state(service);
    let port = std::env::var("PORT").unwrap();
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await;
    axum::serve(listener.unwrap(), app).await.unwrap();
}

async fn submit(
    State(service): State<Arc<Service>>,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let id = body["id"].as_str().unwrap().to_owned();
    let new = Order {
        id: id.clone(),
        body,
        begun: 0,
        done: 0,
        undoing: false,
        end: None,
    };
    let known = service.orders.lock().unwrap().contains_key(&id);
    if !known {
        service.save(&new);
        service.orders.lock().unwrap().insert(id.clone(), new);
        tokio::spawn(Arc::clone(&service).run(id));
    }
    (StatusCode::ACCEPTED, Json(json!({"status": "accepted"})))
}

async fn status(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, StatusCode> {
    let orders = service.orders.lock().unwrap();
    let order = orders.get(&id).ok_or(StatusCode::NOT_FOUND)?;
    let status = match order.end {
        None => "PROCESSING",
        Some(true) => "READY_FOR_DELIVERY",
        Some(false) => "FAILED",
    };
    Ok(Json(json!({"orderId": id, "status": status})))
}

/// How far an order is. Written before and after every step, and after the end.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    id: String,
    body: Value,
    /// Steps that may have happened.
    begun: usize,
    /// Steps that happened.
    done: usize,
    /// Whether there is no way forward any more.
    undoing: bool,
    /// Whether it is ready, once it has ended.
    end: Option<bool>,
}

struct Service {
    bug: Bug,
    journal: PathBuf,
    cms: SocketAddr,
    wms: Frames<Wms>,
    ros: SocketAddr,
    orders: Mutex<HashMap<String, Order>>,
}

enum Outcome {
    Done,
    Rejected,
    Again,
    Unknown,
}

const STEPS: usize = 3;
const TRIES: usize = 12;

impl Service {
    fn open(bug: Bug) -> Self {
        let dir = PathBuf::from(std::env::var("DATA_DIR").unwrap());
        std::fs::create_dir_all(&dir).unwrap();
        let journal = dir.join("journal");
        let lines = std::fs::read_to_string(&journal).unwrap_or_default();
        // A torn last line is no line; a later state of an order replaces the former.
        let orders = lines
            .lines()
            .filter_map(|line| serde_json::from_str::<Order>(line).ok());
        let partner = |name: &str| {
            let url = std::env::var(name).unwrap();
            let place = url.split_once("://").unwrap().1;
            place.to_socket_addrs().unwrap().next().unwrap()
        };
        let wms = partner("WMS_URL");
        Self {
            bug,
            cms: partner("CMS_URL"),
            wms: Frames::new(
                Endpoint::tcp(wms.ip().to_string(), wms.port()),
                Options::new(),
            ),
            ros: partner("ROS_URL"),
            orders: Mutex::new(orders.map(|order| (order.id.clone(), order)).collect()),
            journal,
        }
    }

    fn save(&self, order: &Order) {
        if self.bug == Bug::Forgets {
            return;
        }
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.journal)
            .unwrap();
        // A line feed first, so that a torn line spoils no other.
        let line = format!("\n{}\n", serde_json::to_string(order).unwrap());
        file.write_all(line.as_bytes()).unwrap();
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Order)) -> Order {
        let mut orders = self.orders.lock().unwrap();
        let order = orders.get_mut(id).unwrap();
        change(order);
        self.save(order);
        order.clone()
    }

    async fn run(self: Arc<Self>, id: String) {
        let mut order = self.orders.lock().unwrap()[&id].clone();
        if order.end.is_some() {
            return;
        }
        while !order.undoing && order.done < STEPS {
            let step = order.done;
            order = self.change(&id, |order| order.begun = step + 1);
            order = match self.forward(&order, step).await {
                true => self.change(&id, |order| order.done = step + 1),
                false => self.change(&id, |order| order.undoing = true),
            };
        }
        if order.undoing {
            let undo = match self.bug {
                Bug::TimeoutIsFailure => order.done,
                _ => order.begun,
            };
            for step in (0..undo).rev() {
                self.undo(&order, step).await;
            }
        }
        self.change(&id, |order| order.end = Some(!order.undoing));
    }

    async fn forward(&self, order: &Order, step: usize) -> bool {
        for attempt in 0..TRIES {
            let key = match self.bug {
                Bug::NewKey => format!("{}:{step}:{attempt}", order.id),
                _ => format!("{}:{step}", order.id),
            };
            match self.call(forward(order, step, &key)).await {
                Outcome::Done => return true,
                Outcome::Rejected => return false,
                Outcome::Unknown if self.bug == Bug::TimeoutIsFailure => return false,
                Outcome::Again | Outcome::Unknown => sleep(Duration::from_millis(30)).await,
            }
        }
        false
    }

    async fn undo(&self, order: &Order, step: usize) {
        let key = format!("{}:{step}:undo", order.id);
        loop {
            if let Outcome::Done = self.call(cancel(order, step, &key)).await {
                return;
            }
            sleep(Duration::from_millis(30)).await;
        }
    }

    async fn call(&self, call: Call) -> Outcome {
        let limit = Duration::from_millis(150);
        let (addr, ask) = match call {
            Call::Cms(ask) => (self.cms, ask),
            Call::Ros(ask) => (self.ros, ask),
            Call::Wms(request) => {
                return match line::call(&self.wms, &request, limit).await {
                    Ok(_) => Outcome::Done,
                    Err(error) if error.is_rejected() => Outcome::Rejected,
                    Err(error) if error.is_not_applied() => Outcome::Again,
                    Err(_) => Outcome::Unknown,
                };
            }
        };
        let exchange = async {
            let mut client = Client::to(addr).await;
            ask.send(&mut client).await;
            client.answer().await
        };
        let answer = match timeout(limit, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => return Outcome::Unknown,
        };
        let body = String::from_utf8_lossy(&answer.body);
        if (200..300).contains(&answer.status) {
            Outcome::Done
        } else if body.contains("REJECTED") {
            Outcome::Rejected
        } else if body.contains("NOT_APPLIED") {
            Outcome::Again
        } else {
            Outcome::Unknown
        }
    }
}

enum Call {
    Cms(Ask),
    Wms(Request),
    Ros(Ask),
}

fn forward(order: &Order, step: usize, key: &str) -> Call {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let body = &order.body;
    let address = text(&body["deliveryAddresses"][0]);
    match step {
        0 => {
            let inner = verify(&order.id, &text(&body["clientId"]), &address);
            Call::Cms(soap("VerifyContract", key, &inner))
        }
        1 => Call::Wms(Request::Register(Register {
            about: line::about(&order.id, key),
            client_id: text(&body["clientId"]),
            priority: Priority::Standard,
            packages: vec![Package {
                sku: text(&body["packages"][0]["sku"]),
                description: String::new(),
                quantity: 1,
                priority: Priority::Standard,
                handling: Handling::default(),
            }],
            addresses: vec![address],
        })),
        _ => Call::Ros(rest("PUT", &order.id, key, &body.to_string())),
    }
}

fn cancel(order: &Order, step: usize, key: &str) -> Call {
    let id = &order.id;
    match step {
        0 => {
            let inner = format!("<c:OrderId>{id}</c:OrderId><c:Reason>undo</c:Reason>");
            Call::Cms(soap("CancelContract", key, &inner))
        }
        1 => Call::Wms(Request::Cancel(Cancel {
            about: line::about(id, key),
            package_id: String::new(),
            reason: "undo".to_owned(),
        })),
        _ => Call::Ros(rest("DELETE", id, key, "")),
    }
}
