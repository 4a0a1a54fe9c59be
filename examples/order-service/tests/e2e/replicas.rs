//! Several replicas on one database and one Kafka are one service.

use serde_json::{Value, json};

use crate::support::order::good;
use crate::support::partners::{clear_faults, refuses_all, set_fault};
use crate::support::service::{free_address, kinds, run_to_end};
use crate::support::{Backend, LIMIT, Partners, Service};

/// Nothing but `recover` closes a circuit, and no order runs out of retries.
const PATIENT: [(&str, &str); 2] = [
    ("CIRCUIT_BREAKER_TIMEOUT", "3600000"),
    ("MAX_RETRY_ATTEMPTS", "100"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and any Kafka broker: cargo xtask test"]
async fn any_replica_serves_any_order_and_outlives_another() {
    let partners = Partners::start().await;
    let mut first = Service::start(Backend::postgres_and_kafka().await, &partners).await;
    let second = first.beside().await;
    // Long enough for the first to be killed with orders at every stage.
    partners.take(100).await;
    let mut orders = Vec::new();
    for number in 0..10 {
        for (name, replica) in [("A", &first), ("B", &second)] {
            orders.push(
                replica
                    .submit_patiently(&good(&format!("ORD-{name}-{number}")))
                    .await,
            );
        }
    }
    // The same order at both is one order; another one is a conflict at either.
    second.submit_patiently(&good("ORD-A-0")).await;
    let mut other = good("ORD-A-0");
    other["priority"] = json!("URGENT");
    second.post("/api/orders", &other).await.problem(409);

    assert_eq!(
        first.end_of("ORD-B-0").await["status"],
        "READY_FOR_DELIVERY"
    );
    first.kill();
    for order in &orders {
        assert_eq!(second.end_of(order).await["status"], "READY_FOR_DELIVERY");
        assert_eq!(
            partners.effects(order).await.map(|effects| effects.live()),
            [1, 1, 1]
        );
        let events = second.events(order).await;
        let accepted = kinds(&events)
            .iter()
            .filter(|kind| **kind == "ORDER_ACCEPTED")
            .count();
        assert_eq!(accepted, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and any Kafka broker: cargo xtask test"]
async fn recover_reaches_every_replica() {
    let partners = Partners::start().await;
    let backend = Backend::postgres_and_kafka().await;
    let first = Service::start_with(backend, &partners, &PATIENT).await;
    let second = first.beside().await;
    set_fault(&partners.ros, &refuses_all()).await;
    let mut orders = Vec::new();
    for number in 0..3 {
        for (name, replica) in [("A", &first), ("B", &second)] {
            orders.push(
                replica
                    .submit_patiently(&good(&format!("ORD-{name}-{number}")))
                    .await,
            );
        }
    }
    for replica in [&first, &second] {
        circuit_is(replica, "open").await;
    }
    clear_faults(&partners.ros).await;
    let recovered = first.post("/api/services/ros/recover", &json!({})).await;
    assert_eq!(recovered.status, 200);
    let asked = std::time::Instant::now();
    circuit_is(&second, "closed").await;
    eprintln!("the other replica knew after {:?}", asked.elapsed());
    for order in &orders {
        assert_eq!(second.end_of(order).await["status"], "READY_FOR_DELIVERY");
    }
}

/// Each replica would tell its own broker of its own events only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and any Kafka broker: cargo xtask test"]
async fn a_second_replica_with_a_broker_of_its_own_is_refused() {
    let partners = Partners::start().await;
    let backend = Backend::postgres_and_kafka().await;
    // An empty variable counts as unset.
    let mut first = Service::start_with(backend, &partners, &[("KAFKA_BROKERS", "")]).await;
    let mut environment = first.environment();
    environment.retain(|(name, _)| *name != "PORT");
    environment.push(("PORT", free_address().port().to_string()));
    let ended = tokio::task::spawn_blocking(move || run_to_end(&environment))
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    assert!(said.contains("KAFKA_BROKERS"), "{said}");

    let order = first.submit_patiently(&good("ORD-001")).await;
    assert_eq!(first.end_of(&order).await["status"], "READY_FOR_DELIVERY");
    // The place is free again as soon as the process is gone, however it went.
    first.kill();
    first.restart().await;
    let order = first.submit_patiently(&good("ORD-002")).await;
    assert_eq!(first.end_of(&order).await["status"], "READY_FOR_DELIVERY");
}

async fn circuit_is(replica: &Service, wanted: &str) {
    testkit::wait_until(&format!("the circuit is {wanted}"), LIMIT, async || {
        let health: Value = replica.get("/api/services/health").await.json();
        health["services"]["ros"]["circuit"] == wanted
    })
    .await;
}
