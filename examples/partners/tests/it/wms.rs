//! The warehouse, over frames.

use std::time::Duration;

use partners::wms::message::{
    About, Answer, Cancel, CancelState, Handling, OrderState, Package, Priority, Register,
    Registered, Request, Wms,
};
use partners::{Config, Running, spawn_wms};
use serde_json::json;
use swifttrack_adapters::framed::{Client, Endpoint, Options};
use swifttrack_adapters::{CallContext, Class, Error};

use crate::http;

struct Warehouse {
    running: Running,
    client: Client<Wms>,
    data: tempfile::TempDir,
}

impl Warehouse {
    async fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        Self::over(data).await
    }

    async fn over(data: tempfile::TempDir) -> Self {
        let config = Config::new("127.0.0.1:0", data.path());
        let running = spawn_wms(config).await.unwrap();
        let client = client(&running, Options::new());
        Self {
            running,
            client,
            data,
        }
    }

    async fn ask(&self, request: Request) -> Result<Answer, Error> {
        let context = CallContext::new("", Duration::from_secs(30));
        self.client.call(&request, &context).await
    }

    async fn register(&self, order: &str, key: &str) -> Result<Registered, Error> {
        registered(self.ask(register(order, key, "ITEM-001", 2)).await)
    }

    async fn cancel(&self, order: &str, key: &str) -> CancelState {
        match self.ask(cancel(order, key)).await.unwrap() {
            Answer::Cancelled(state) => state,
            other => panic!("{other:?}"),
        }
    }

    async fn query(&self, order: &str) -> (OrderState, String) {
        match self.ask(Request::Query(about(order, ""))).await.unwrap() {
            Answer::Queried(state, package_id) => (state, package_id),
            other => panic!("{other:?}"),
        }
    }

    async fn fault(&self, rule: serde_json::Value) {
        let control = self.running.control_addr();
        let answer = http::ask(control, "POST", "/_fault", &[], &rule.to_string()).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    async fn effects(&self) -> Vec<String> {
        let effects = self.running.effects().await.unwrap();
        effects
            .iter()
            .map(|effect| {
                let shown = serde_json::to_value(effect).unwrap();
                format!(
                    "{} {}",
                    shown["orderId"].as_str().unwrap(),
                    shown["effect"].as_str().unwrap()
                )
            })
            .collect()
    }
}

fn client(running: &Running, options: Options) -> Client<Wms> {
    let at = running.local_addr();
    Client::new(Endpoint::tcp(at.ip().to_string(), at.port()), options)
}

fn about(order: &str, key: &str) -> About {
    About {
        trace_parent: String::new(),
        key: key.to_owned(),
        order_id: order.to_owned(),
    }
}

fn register(order: &str, key: &str, sku: &str, quantity: u32) -> Request {
    Request::Register(Register {
        about: about(order, key),
        client_id: "CLIENT-001".to_owned(),
        priority: Priority::Standard,
        packages: vec![Package {
            sku: sku.to_owned(),
            description: "Tea".to_owned(),
            quantity,
            priority: Priority::Standard,
            handling: Handling::default(),
        }],
        addresses: vec!["1 Main Street".to_owned()],
    })
}

fn cancel(order: &str, key: &str) -> Request {
    Request::Cancel(Cancel {
        about: about(order, key),
        package_id: String::new(),
        reason: "saga".to_owned(),
    })
}

fn registered(result: Result<Answer, Error>) -> Result<Registered, Error> {
    match result? {
        Answer::Registered(registered) => Ok(registered),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_order_is_registered_once_and_its_cancel_is_final() {
    let warehouse = Warehouse::new().await;
    assert_eq!(warehouse.query("A").await.0, OrderState::None);
    let first = warehouse.register("A", "k").await.unwrap();
    assert!(!first.replayed);
    assert_eq!(
        (first.items[0].sku.as_str(), first.items[0].reserved),
        ("ITEM-001", 2)
    );
    for key in ["k", "other", ""] {
        let again = warehouse.register("A", key).await.unwrap();
        assert!(again.replayed);
        let replayed = false;
        assert_eq!(Registered { replayed, ..again }, first);
    }
    let seen = warehouse.query("A").await;
    assert_eq!(seen, (OrderState::Registered, first.package_id.clone()));

    assert_eq!(warehouse.cancel("A", "u").await, CancelState::Cancelled);
    assert_eq!(
        warehouse.cancel("A", "u").await,
        CancelState::Cancelled,
        "the first word again"
    );
    assert_eq!(warehouse.cancel("A", "v").await, CancelState::Already);
    let seen = warehouse.query("A").await;
    assert_eq!(seen, (OrderState::Cancelled, first.package_id));
    let error = warehouse.register("A", "k").await.unwrap_err();
    assert_eq!(
        (error.class(), error.code()),
        (Class::Rejected, Some("CANCELLED"))
    );
    assert_eq!(warehouse.effects().await, ["A APPLIED", "A CANCELLED"]);
}

#[tokio::test]
async fn every_refusal_has_its_code_and_changes_nothing() {
    let warehouse = Warehouse::new().await;
    warehouse.register("A", "k").await.unwrap();
    let mut big = register("B", "", "TEST", u32::MAX);
    if let Request::Register(register) = &mut big {
        register.packages = vec![register.packages[0].clone(); 30];
    }
    for (request, code) in [
        (register("A", "k", "ITEM-001", 3), "KEY_REUSED"),
        (register("A", "other", "ITEM-001", 3), "KEY_REUSED"),
        (register("B", "k", "ITEM-001", 2), "KEY_REUSED"),
        (register("B", "", "NO-SUCH", 1), "INVALID_SKU"),
        (register("B", "", "SKU-LOW", 3), "INVENTORY_SHORTAGE"),
        (big, "CAPACITY_EXCEEDED"),
        (register("not an id", "", "TEST", 1), "MALFORMED"),
        (register("B", "", "TEST", 0), "MALFORMED"),
    ] {
        let error = warehouse.ask(request).await.unwrap_err();
        assert_eq!((error.class(), error.code()), (Class::Rejected, Some(code)));
    }
    assert_eq!(warehouse.effects().await, ["A APPLIED"]);
    registered(warehouse.ask(register("B", "", "SKU-LOW", 2)).await).unwrap();
    assert_eq!(warehouse.cancel("B", "").await, CancelState::Cancelled);
    registered(warehouse.ask(register("C", "", "SKU-LOW", 2)).await).unwrap();
}

#[tokio::test]
async fn a_late_call_is_refused_by_the_tombstone() {
    let warehouse = Warehouse::new().await;
    warehouse
        .fault(json!({"op": "register", "mode": "latency", "ms": 300, "count": 1}))
        .await;
    let context = CallContext::new("", Duration::from_millis(50));
    let late = register("A", "k", "ITEM-001", 2);
    let error = warehouse.client.call(&late, &context).await.unwrap_err();
    assert!(
        error.is_unknown(),
        "its deadline is over and it is on its way"
    );
    assert_eq!(warehouse.cancel("A", "u").await, CancelState::Tombstoned);

    // Once its place in the window is free again, it has arrived.
    while warehouse.client.snapshot().in_flight > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(warehouse.effects().await, ["A TOMBSTONED"]);
    let error = warehouse.register("A", "k").await.unwrap_err();
    assert_eq!(error.code(), Some("CANCELLED"));
}

#[tokio::test]
async fn a_delayed_call_arrives_although_its_connection_has_gone() {
    let warehouse = Warehouse::new().await;
    warehouse
        .fault(json!({"op": "register", "mode": "latency", "ms": 100, "count": 1}))
        .await;
    let gone = client(&warehouse.running, Options::new());
    let context = CallContext::new("", Duration::from_millis(20));
    let request = register("A", "k", "ITEM-001", 2);
    gone.call(&request, &context).await.unwrap_err();
    drop(gone);
    while warehouse.effects().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(warehouse.register("A", "k").await.unwrap().replayed);
}

#[tokio::test]
async fn what_goes_wrong_before_has_done_nothing() {
    let warehouse = Warehouse::new().await;
    for (rule, class, code) in [
        (json!({"mode": "error"}), Class::NotApplied, Some("BUSY")),
        (
            json!({"mode": "error", "code": "INTERNAL"}),
            Class::Unknown,
            Some("INTERNAL"),
        ),
        (json!({"mode": "reset_before"}), Class::Unknown, None),
    ] {
        let mut rule = rule;
        rule["op"] = json!("register");
        rule["count"] = json!(1);
        warehouse.query("A").await;
        warehouse.fault(rule).await;
        let error = warehouse.register("A", "k").await.unwrap_err();
        assert_eq!((error.class(), error.code()), (class, code));
        assert_eq!(error.retry_after().is_some(), code == Some("BUSY"));
        assert!(warehouse.effects().await.is_empty());
    }
    assert!(!warehouse.register("A", "k").await.unwrap().replayed);
}

#[tokio::test]
async fn what_goes_wrong_after_is_unknown_and_was_done_once() {
    let warehouse = Warehouse::new().await;
    for mode in ["reset_after_commit", "garbage", "half_reply"] {
        warehouse.query(mode).await;
        warehouse
            .fault(json!({"op": "register", "mode": mode, "count": 1}))
            .await;
        let error = warehouse.register(mode, "").await.unwrap_err();
        assert!(error.is_unknown(), "{mode}: {error:?}");
        // A connection that answered before it broke is replaced at once.
        assert!(
            warehouse.register(mode, "").await.unwrap().replayed,
            "{mode}"
        );
    }
    warehouse
        .fault(json!({"op": "register", "mode": "duplicate_reply", "count": 1}))
        .await;
    assert!(!warehouse.register("twice", "").await.unwrap().replayed);
    warehouse.query("twice").await;
    assert_eq!(warehouse.client.snapshot().strays, 1);
    warehouse
        .fault(json!({"op": "register", "mode": "hang", "ms": 30, "count": 1}))
        .await;
    assert!(!warehouse.register("hang", "").await.unwrap().replayed);
    assert_eq!(warehouse.effects().await.len(), 5);
}

#[tokio::test]
async fn what_was_answered_outlives_the_process() {
    let warehouse = Warehouse::new().await;
    let first = warehouse.register("A", "k").await.unwrap();
    registered(warehouse.ask(register("L", "", "SKU-LOW", 2)).await).unwrap();
    warehouse.cancel("B", "").await;
    let Warehouse { running, data, .. } = warehouse;
    running.shutdown().await;

    let warehouse = Warehouse::over(data).await;
    let again = warehouse.register("A", "k").await.unwrap();
    assert_eq!((again.replayed, again.package_id), (true, first.package_id));
    let error = warehouse.register("B", "k2").await.unwrap_err();
    assert_eq!(error.code(), Some("CANCELLED"));
    let low = warehouse.ask(register("M", "", "SKU-LOW", 1)).await;
    assert_eq!(low.unwrap_err().code(), Some("INVENTORY_SHORTAGE"));
}

#[tokio::test]
async fn only_who_shows_the_token_is_let_in() {
    let data = tempfile::tempdir().unwrap();
    let config = Config::new("127.0.0.1:0", data.path()).token("secret");
    let running = spawn_wms(config).await.unwrap();
    let context = CallContext::new("", Duration::from_secs(30));
    let query = Request::Query(about("A", ""));
    for (token, let_in) in [("secret", true), ("secreu", false), ("", false)] {
        let client = client(&running, Options::new().token(token));
        match client.call(&query, &context).await {
            Ok(_) => assert!(let_in),
            Err(error) => {
                assert!(!let_in && error.is_not_applied());
                assert_eq!(error.code(), Some("UNAUTHORIZED"));
            }
        }
    }
}
