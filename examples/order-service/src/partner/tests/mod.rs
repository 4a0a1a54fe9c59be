//! The adapters keep the laws of their trait against the partners' stand-ins.

mod cms;
mod ros;
mod wms;

use partners::ledger::Effect;
use partners::{Config, Running};
use serde_json::{Value, json};
use swifttrack_adapters::conformance::Misbehaviour;
use tempfile::TempDir;

use super::Subject;
use crate::order::{NewOrder, Package, Priority};

/// A stand-in, and the directory of its ledger.
struct Stand {
    partner: Running,
    /// The operation of a forward call.
    op: &'static str,
    _data: TempDir,
}

fn config() -> (Config, TempDir) {
    let data = tempfile::tempdir().unwrap();
    (Config::new("127.0.0.1:0", data.path()), data)
}

fn url(partner: &Running) -> String {
    format!("http://{}", partner.local_addr())
}

impl Stand {
    async fn misbehave(&self, how: Misbehaviour) {
        let mode = match how {
            Misbehaviour::Busy => "error",
            Misbehaviour::Hang => "hang",
            Misbehaviour::ResetBefore => "reset_before",
            Misbehaviour::ResetAfter => "reset_after_commit",
            Misbehaviour::Garbage => "garbage",
            Misbehaviour::HalfReply => "half_reply",
            Misbehaviour::DuplicateReply => "duplicate_reply",
            Misbehaviour::Late => {
                let rule = json!({"op": self.op, "mode": "latency", "ms": 400, "count": 1});
                return self.fault(&rule).await;
            }
            other => panic!("the stand-ins do not know {other:?}"),
        };
        self.fault(&json!({"op": self.op, "mode": mode, "count": 1}))
            .await;
    }

    /// By the control port, as anybody would.
    async fn fault(&self, rule: &Value) {
        use swifttrack_adapters::{CallContext, http::Client, rest};
        let control = format!("http://{}", self.partner.control_addr());
        let control = Client::new(&control).unwrap().without_echo();
        let cx = CallContext::new("", std::time::Duration::from_secs(30));
        let set = rest::Client::over(control)
            .post::<()>("/_fault", rule, &cx)
            .await;
        set.unwrap();
    }

    async fn live(&self, order_id: &str) -> usize {
        let effects = self.partner.effects().await.unwrap();
        let mut live = 0;
        for shown in effects.iter().filter(|shown| shown.order_id == order_id) {
            match shown.effect {
                Effect::Applied => live += 1,
                Effect::Cancelled => live -= 1,
                Effect::Tombstoned | Effect::Already => {}
            }
        }
        live
    }
}

fn order_id(n: u32) -> String {
    format!("ORD-{n}")
}

fn order(n: u32) -> NewOrder {
    NewOrder {
        id: order_id(n),
        client_id: "CLIENT-001".into(),
        priority: Priority::Urgent,
        packages: vec![Package {
            sku: "ITEM-001".into(),
            description: Some("Tea & <biscuits>".into()),
            quantity: 2,
            priority: Priority::Standard,
        }],
        delivery_addresses: vec![format!("{n} Galle Road"), "Kandy".into()],
    }
}

fn subject(n: u32) -> Subject {
    Subject {
        order_id: order_id(n),
        partner_id: None,
        reason: "test".into(),
    }
}
