//! The real binary, as a child.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::http::{Answer, Client};
use super::{Backend, LIMIT, Partners};

/// The statuses in which an order stays.
const TERMINAL: [&str; 3] = ["READY_FOR_DELIVERY", "FAILED", "CANCELLED"];

/// A service that can be killed and started again on the same port with the same state.
#[derive(Debug)]
pub(crate) struct Service {
    /// Replicas share it.
    pub(crate) backend: Arc<Backend>,
    pub(crate) client: Client,
    environment: Vec<(&'static str, String)>,
    process: Child,
    /// What it has printed, a std mutex since nothing is awaited while it is held.
    printed: Arc<Mutex<String>>,
    _data: TempDir,
}

impl Service {
    /// Starts a service against these partners and waits until it is ready.
    pub(crate) async fn start(backend: Backend, partners: &Partners) -> Self {
        Self::start_with(backend, partners, &[]).await
    }

    pub(crate) async fn start_with(
        backend: Backend,
        partners: &Partners,
        more: &[(&'static str, &str)],
    ) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut environment = backend.environment(data.path());
        environment.extend(partners.environment());
        environment.extend(
            more.iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        Self::start_in(Arc::new(backend), environment, data).await
    }

    /// Starts another replica on the same database.
    pub(crate) async fn beside(&self) -> Self {
        let environment = self.environment.iter();
        let environment = environment.filter(|(name, _)| *name != "PORT").cloned();
        let data = tempfile::tempdir().unwrap();
        Self::start_in(Arc::clone(&self.backend), environment.collect(), data).await
    }

    async fn start_in(
        backend: Arc<Backend>,
        mut environment: Vec<(&'static str, String)>,
        data: TempDir,
    ) -> Self {
        let server = free_address();
        environment.push(("PORT", server.port().to_string()));
        let printed = Arc::default();
        let service = Self {
            backend,
            client: Client { server },
            process: spawn(&environment, &printed),
            environment,
            printed,
            _data: data,
        };
        service.ready().await;
        service
    }

    /// Ends the process as a power cut would: no handler runs.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks the process to end, and returns its exit code.
    pub(crate) async fn stop(&mut self) -> Option<i32> {
        let pid = self.process.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(asked.success());
        let mut ended = None;
        testkit::wait_until("the service ends", LIMIT, async || {
            ended = self.process.try_wait().unwrap();
            ended.is_some()
        })
        .await;
        ended.unwrap().code()
    }

    /// Starts it again, and waits until it is ready.
    pub(crate) async fn restart(&mut self) {
        self.process = spawn(&self.environment, &self.printed);
        self.ready().await;
    }

    /// The environment in which another process meets the same state.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        self.environment.clone()
    }

    async fn ready(&self) {
        testkit::wait_until(
            "the service is ready",
            LIMIT,
            async || matches!(self.client.get("/readyz").await, Ok(answer) if answer.status == 200),
        )
        .await;
    }

    /// Where its broker is: the one it was told of, else the one whose address it prints.
    pub(crate) async fn brokers(&self) -> String {
        match &*self.backend {
            Backend::PostgresAndKafka { brokers, .. } => brokers.clone(),
            Backend::Sqlite => {
                let found = || broker_of(&self.printed.lock().unwrap());
                testkit::wait_until("the broker's address is printed", LIMIT, async || {
                    found().is_some()
                })
                .await;
                found().unwrap()
            }
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.client.get(path).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.client.post(path, body).await.unwrap()
    }

    /// Submits an order that must be accepted, and returns its id.
    pub(crate) async fn submit(&self, order: &Value) -> String {
        let answer = self.post("/api/orders", order).await;
        assert_eq!(answer.status, 202, "{}", answer.json());
        order["id"].as_str().unwrap().to_owned()
    }

    /// Submits an order again and again for as long as the answer asks for that: a replica that
    /// has just begun may have to wait for the lease of one that was killed.
    pub(crate) async fn submit_patiently(&self, order: &Value) -> String {
        testkit::wait_until("the order is accepted", LIMIT, async || {
            let answer = self.post("/api/orders", order).await;
            assert!([202, 503].contains(&answer.status.as_u16()), "{answer:?}");
            assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
            answer.status == 202
        })
        .await;
        order["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn status(&self, order: &str) -> Value {
        let answer = self.get(&format!("/api/orders/{order}/status")).await;
        assert_eq!(answer.status, 200, "{order}: {answer:?}");
        answer.json()
    }

    /// Waits until the order has come to an end, and returns its status body.
    pub(crate) async fn end_of(&self, order: &str) -> Value {
        let ended = |status: &Value| TERMINAL.iter().any(|end| status["status"] == *end);
        self.status_when("it has ended", order, ended).await
    }

    /// Waits until the order's status body is as wanted, and returns it.
    pub(crate) async fn status_when(
        &self,
        what: &str,
        order: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut last = Value::Null;
        let polling = testkit::wait_until(what, Duration::MAX, async || {
            last = self.status(order).await;
            wanted(&last)
        });
        if tokio::time::timeout(LIMIT, polling).await.is_err() {
            let events = self
                .get(&format!("/api/orders/{order}/events"))
                .await
                .json();
            panic!("{order}: in vain until {what}\n{last:#}\n{events:#}");
        }
        last
    }

    /// The order's events, whose sequence must be 1, 2, 3 …
    pub(crate) async fn events(&self, order: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/orders/{order}/events")).await;
        assert_eq!(answer.status, 200, "{order}: {answer:?}");
        let events = answer.json()["events"].as_array().unwrap().clone();
        assert_gapless(order, &events);
        events
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("what the service said:\n{}", self.printed.lock().unwrap());
        }
    }
}

#[track_caller]
pub(crate) fn assert_gapless(order: &str, events: &[Value]) {
    let sequence: Vec<u64> = events
        .iter()
        .filter_map(|e| e["sequence"].as_u64())
        .collect();
    let wanted: Vec<u64> = (1..).take(events.len()).collect();
    assert_eq!(sequence, wanted, "{order}: {events:#?}");
    assert!(
        events.iter().all(|event| event["orderId"] == order),
        "{order}: {events:#?}"
    );
}

pub(crate) fn kinds(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| event["eventType"].as_str())
        .collect()
}

/// Runs the service in this environment until it ends by itself.
pub(crate) fn run_to_end(environment: &[(&'static str, String)]) -> Output {
    command(environment).output().unwrap()
}

/// Runs it with these words behind its name.
pub(crate) fn run_command(environment: &[(&'static str, String)], words: &str) -> Output {
    command(environment)
        .args(words.split_whitespace())
        .output()
        .unwrap()
}

/// Nothing listens there now; the service takes it a moment later.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
}

fn command(environment: &[(&'static str, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_order-service"));
    command
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn spawn(environment: &[(&'static str, String)], printed: &Arc<Mutex<String>>) -> Child {
    let mut process = command(environment).spawn().unwrap();
    let (out, err) = (
        process.stdout.take().unwrap(),
        process.stderr.take().unwrap(),
    );
    keep(out, printed);
    keep(err, printed);
    process
}

/// Reads what the process prints, so that it is never held up by a full pipe.
fn keep(from: impl std::io::Read + Send + 'static, printed: &Arc<Mutex<String>>) {
    let printed = Arc::clone(printed);
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut printed = printed.lock().unwrap();
            printed.push_str(&line);
            printed.push('\n');
        }
    });
}

/// The address in the last line that speaks of the broker.
fn broker_of(printed: &str) -> Option<String> {
    let line = printed.lines().rev().find(|line| {
        let line = line.to_lowercase();
        line.contains("broker at 127.0.0.1:")
    })?;
    let (_, rest) = line.split_once("127.0.0.1:")?;
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some(format!("127.0.0.1:{port}"))
}
