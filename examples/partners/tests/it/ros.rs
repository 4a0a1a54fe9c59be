use std::net::SocketAddr;

use partners::{Config, Running, spawn_ros};
use serde_json::json;

use crate::http::{Answer, Client, ask, effects, fault};

struct Ros {
    running: Running,
    _data: tempfile::TempDir,
}

async fn ros() -> Ros {
    with(|config| config).await
}

async fn with(set: impl FnOnce(Config) -> Config) -> Ros {
    let data = tempfile::tempdir().unwrap();
    let config = set(Config::new("127.0.0.1:0", data.path()));
    let running = spawn_ros(config).await.unwrap();
    Ros {
        running,
        _data: data,
    }
}

impl Ros {
    fn addr(&self) -> SocketAddr {
        self.running.local_addr()
    }

    fn control(&self) -> SocketAddr {
        self.running.control_addr()
    }

    async fn put(&self, order: &str, key: &str, address: &str) -> Answer {
        let key = [("Idempotency-Key", key)];
        ask(self.addr(), "PUT", &path(order), &key, &body(address)).await
    }

    async fn delete(&self, order: &str, key: &str) -> Answer {
        let key = [("Idempotency-Key", key)];
        ask(self.addr(), "DELETE", &path(order), &key, "").await
    }

    async fn get(&self, order: &str) -> Answer {
        ask(self.addr(), "GET", &path(order), &[], "").await
    }
}

fn path(order: &str) -> String {
    format!("/v1/orders/{order}/route")
}

fn body(address: &str) -> String {
    json!({"clientId": "CLIENT-001", "priority": "HIGH",
        "packages": [{"sku": "ITEM-001", "quantity": 2}], "deliveryAddresses": [address, "9 Side Street"]})
    .to_string()
}

#[tokio::test]
async fn a_route_is_made_once_and_shown_again() {
    let ros = ros().await;
    let made = ros.put("ORD-1", "k", "1 Main Street").await;
    assert_eq!(made.status, 201);
    assert_eq!(made.header("location"), Some("/v1/orders/ORD-1/route"));
    let mut route = made.json();
    assert_eq!(route["orderId"], "ORD-1");
    assert_eq!(route["replayed"], false);
    assert_eq!(route["optimizedStops"].as_array().unwrap().len(), 2);
    assert_eq!(ros.get("ORD-1").await.json(), route);

    let again = ros.put("ORD-1", "k", "1 Main Street").await;
    assert_eq!(again.status, 200);
    route["replayed"] = json!(true);
    assert_eq!(again.json(), route);
    assert_eq!(effects(ros.control()).await, ["put ORD-1 APPLIED"]);
}

#[tokio::test]
async fn hits_of_every_mode() {
    let ros = ros().await;
    fault(
        ros.control(),
        json!({"op": "put", "mode": "error", "count": 1}),
    )
    .await;
    let refused = ros.put("ORD-1", "k", "1 Main Street").await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "BUSY"));
    let mut client = Client::to(ros.addr()).await;
    fault(
        ros.control(),
        json!({"op": "put", "mode": "reset_before", "count": 1}),
    )
    .await;
    let cut = client.ask("PUT", &path("A"), &[], &body("x")).await;
    assert_eq!(cut.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(effects(ros.control()).await.is_empty());
    ros.delete("A", "k").await;
    assert!(client.received().is_empty());
}
