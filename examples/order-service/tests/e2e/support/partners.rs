//! The three partners, in this process, and what their ledgers say.

use std::collections::BTreeMap;

use partners::{Config, Running};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::Client;

/// The three, each on ports of its own, with ledgers that end with the value.
#[derive(Debug)]
pub(crate) struct Partners {
    pub(crate) cms: Running,
    pub(crate) wms: Running,
    pub(crate) ros: Running,
    _data: TempDir,
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

impl Partners {
    pub(crate) async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = |name: &str| Config::new("127.0.0.1:0", data.path().join(name));
        Self {
            cms: partners::spawn_cms(config("cms")).await.unwrap(),
            wms: partners::spawn_wms(config("wms")).await.unwrap(),
            ros: partners::spawn_ros(config("ros")).await.unwrap(),
            _data: data,
        }
    }

    /// For the service's environment.
    pub(crate) fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("CMS_URL", format!("http://{}", self.cms.local_addr())),
            ("WMS_URL", format!("tcp://{}", self.wms.local_addr())),
            ("ROS_URL", format!("http://{}", self.ros.local_addr())),
        ]
    }

    fn each(&self) -> [(&'static str, &Running); 3] {
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
pub(crate) async fn set_fault(partner: &Running, rule: &Value) {
    let answer = control(partner).post("/_fault", rule).await.unwrap();
    assert_eq!(answer.status, 204, "{rule}: {answer:?}");
}

pub(crate) async fn clear_faults(partner: &Running) {
    let answer = control(partner).delete("/_fault").await.unwrap();
    assert_eq!(answer.status, 204, "{answer:?}");
}

/// A rule that holds until it is cleared: the partner does nothing and says so.
pub(crate) fn refuses_all() -> Value {
    json!({"op": "*", "mode": "error"})
}

fn control(partner: &Running) -> Client {
    Client {
        server: partner.control_addr(),
    }
}

async fn ledger(partner: &Running) -> BTreeMap<String, Effects> {
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
