//! The three partners, and what their ledgers say.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use partners::{Config, Running};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::Client;

/// The three, each on ports of its own, with ledgers that end with the value.
#[derive(Debug)]
pub(crate) struct Partners {
    pub(crate) cms: Partner,
    pub(crate) wms: Partner,
    pub(crate) ros: Partner,
    _data: TempDir,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Partner {
    name: &'static str,
    data: PathBuf,
    listen: SocketAddr,
    control: SocketAddr,
    life: Life,
}

/// Where it lives. Either ends with the value.
#[derive(Debug)]
enum Life {
    Here { _running: Running },
    Process(Child),
}

/// What stands at a partner for one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    pub(crate) applied: usize,
    pub(crate) cancelled: usize,
}

impl Effects {
    pub(crate) fn live(self) -> usize {
        self.applied - self.cancelled
    }
}

impl Partner {
    async fn here(name: &'static str, data: PathBuf) -> Self {
        let running = spawn(name, Config::new("127.0.0.1:0", &data)).await;
        Self {
            name,
            data,
            listen: running.local_addr(),
            control: running.control_addr(),
            life: Life::Here { _running: running },
        }
    }

    fn process(name: &'static str, data: PathBuf) -> Self {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (child, listen, control) = spawn_process(name, &data, anywhere, anywhere);
        Self {
            name,
            data,
            listen,
            control,
            life: Life::Process(child),
        }
    }

    /// Has every operation take a while.
    pub(crate) async fn takes(&self, ms: u64) {
        set_fault(self, &json!({"op": "*", "mode": "latency", "ms": ms})).await;
    }

    /// Ends the process as a power cut would, and starts it again with the same ledger.
    pub(crate) fn kill_and_restart(&mut self) {
        let Life::Process(child) = &mut self.life else {
            panic!("the {} is no process", self.name)
        };
        child.kill().unwrap();
        child.wait().unwrap();
        let (again, ..) = spawn_process(self.name, &self.data, self.listen, self.control);
        *child = again;
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        if let Life::Process(child) = &mut self.life {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn spawn(name: &str, config: Config) -> Running {
    let spawned = match name {
        "cms" => partners::spawn_cms(config).await,
        "wms" => partners::spawn_wms(config).await,
        "ros" => partners::spawn_ros(config).await,
        _ => panic!("there is no partner {name}"),
    };
    spawned.unwrap()
}

/// In the environment of a test program that is to be a partner: its name, where its ledger
/// lies, where it listens, and where its control port does.
const ROLE: [&str; 4] = ["E2E_PARTNER", "E2E_DATA", "E2E_LISTEN", "E2E_CONTROL"];

/// Starts this program again, as a partner, and waits until it says that it is ready.
fn spawn_process(
    name: &str,
    data: &Path,
    listen: SocketAddr,
    control: SocketAddr,
) -> (Child, SocketAddr, SocketAddr) {
    let values = [
        name.to_owned(),
        data.display().to_string(),
        listen.to_string(),
        control.to_string(),
    ];
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "support::partners::a_partner_as_a_process",
            "--exact",
            "--nocapture",
        ])
        .envs(ROLE.iter().zip(values))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let addresses = lines.find_map(|line| {
        let line = line.unwrap();
        let (_, ready) = line.split_once("ready ")?;
        let (listen, control) = ready.split_once(' ')?;
        Some((listen.parse().unwrap(), control.parse().unwrap()))
    });
    let (listen, control) = addresses.unwrap_or_else(|| panic!("the {name} did not start"));
    // The test harness of the child says now and then that it still runs, and would end if
    // nobody heard it.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    (child, listen, control)
}

/// No test, but the partner that [`spawn_process`] starts: it lives until it is killed, or until
/// the program that started it is gone.
#[test]
fn a_partner_as_a_process() {
    let [Some(name), Some(data), Some(listen), Some(control)] =
        ROLE.map(|variable| std::env::var(variable).ok())
    else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let running = runtime.block_on(spawn(&name, Config::new(listen, data).control(control)));
    println!("ready {} {}", running.local_addr(), running.control_addr());
    // Nothing is written there: this ends with the pipe.
    let _ = std::io::stdin().read_line(&mut String::new());
}

impl Partners {
    /// In this process, so that the service can be killed without them.
    pub(crate) async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        Self {
            cms: Partner::here("cms", data.path().join("cms")).await,
            wms: Partner::here("wms", data.path().join("wms")).await,
            ros: Partner::here("ros", data.path().join("ros")).await,
            _data: data,
        }
    }

    /// As processes of their own, which can be killed, too.
    pub(crate) fn start_processes() -> Self {
        let data = tempfile::tempdir().unwrap();
        Self {
            cms: Partner::process("cms", data.path().join("cms")),
            wms: Partner::process("wms", data.path().join("wms")),
            ros: Partner::process("ros", data.path().join("ros")),
            _data: data,
        }
    }

    /// Has every operation take a while, so that an order has a middle.
    pub(crate) async fn take(&self, ms: u64) {
        for (_, partner) in self.each() {
            partner.takes(ms).await;
        }
    }

    /// For the service's environment.
    pub(crate) fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("CMS_URL", format!("http://{}", self.cms.listen)),
            ("WMS_URL", format!("tcp://{}", self.wms.listen)),
            ("ROS_URL", format!("http://{}", self.ros.listen)),
        ]
    }

    fn each(&self) -> [(&'static str, &Partner); 3] {
        [("CMS", &self.cms), ("WMS", &self.wms), ("ROS", &self.ros)]
    }

    /// What each partner has done for each order.
    pub(crate) async fn ledgers(&self) -> BTreeMap<&'static str, BTreeMap<String, Effects>> {
        let mut ledgers = BTreeMap::new();
        for (name, partner) in self.each() {
            ledgers.insert(name, ledger(partner).await);
        }
        ledgers
    }

    /// What each partner has done for this order, in the order of the steps.
    pub(crate) async fn effects(&self, order: &str) -> [Effects; 3] {
        let ledgers = self.ledgers().await;
        ["CMS", "WMS", "ROS"].map(|name| ledgers[name].get(order).copied().unwrap_or_default())
    }
}

/// Puts a rule in the place of the one for its operation.
pub(crate) async fn set_fault(partner: &Partner, rule: &Value) {
    let answer = control(partner).post("/_fault", rule).await.unwrap();
    assert_eq!(answer.status, 204, "{rule}: {answer:?}");
}

pub(crate) async fn clear_faults(partner: &Partner) {
    let answer = control(partner).delete("/_fault").await.unwrap();
    assert_eq!(answer.status, 204, "{answer:?}");
}

/// A rule that holds until it is cleared: the partner does nothing and says so.
pub(crate) fn refuses_all() -> Value {
    json!({"op": "*", "mode": "error"})
}

fn control(partner: &Partner) -> Client {
    Client {
        server: partner.control,
    }
}

async fn ledger(partner: &Partner) -> BTreeMap<String, Effects> {
    let mut effects: BTreeMap<String, Effects> = BTreeMap::new();
    let mut after = 0;
    loop {
        let path = format!("/_ledger?after={after}&limit=1000");
        let page = control(partner).get(&path).await.unwrap().json();
        let rows = page["effects"].as_array().unwrap();
        if rows.is_empty() {
            return effects;
        }
        for row in rows {
            let of = effects
                .entry(row["orderId"].as_str().unwrap().to_owned())
                .or_default();
            match row["effect"].as_str().unwrap() {
                "APPLIED" => of.applied += 1,
                "CANCELLED" => of.cancelled += 1,
                "TOMBSTONED" => {}
                other => panic!("an effect that is not documented: {other}"),
            }
        }
        after = page["next"].as_u64().unwrap();
    }
}
