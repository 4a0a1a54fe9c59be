//! A partner that fails is left alone for a while; orders are accepted and wait for it.

use serde_json::{Value, json};

use crate::support::order::good;
use crate::support::partners::{clear_faults, refuses_all, set_fault};
use crate::support::{Backend, LIMIT, Partners, Service, on_both_backends, topic};

on_both_backends!(
    an_open_circuit_makes_orders_wait_and_recover_lets_them_go,
    business_refusals_open_no_circuit,
);

/// So that nothing but `recover` closes the circuit while the test runs, and no retry is used
/// up before it is open.
const PATIENT: [(&str, &str); 2] = [
    ("CIRCUIT_BREAKER_TIMEOUT", "3600000"),
    ("RETRY_DELAY_MS", "50"),
];

async fn an_open_circuit_makes_orders_wait_and_recover_lets_them_go(backend: Backend) {
    let partners = Partners::start().await;
    let service = Service::start_with(backend, &partners, &PATIENT).await;
    set_fault(&partners.wms, &refuses_all()).await;

    let mut orders = vec![service.submit(&good("ORD-0")).await];
    let open = wms_when(&service, "open").await;
    assert_eq!(open["available"], false, "{open:#}");
    assert!(open["retryAfterMs"].is_u64(), "{open:#}");
    assert_eq!(
        service.get("/health").await.status,
        200,
        "degraded is not down"
    );
    assert_eq!(service.get("/health").await.json()["status"], "degraded");
    assert_eq!(service.get("/readyz").await.status, 200);

    for number in 1..=5 {
        orders.push(service.submit(&good(&format!("ORD-{number}"))).await);
    }
    for order in &orders {
        let waits = |status: &Value| status["processing"]["progress"]["completed"] == 1;
        let status = service
            .status_when("it waits for the WMS", order, waits)
            .await;
        assert_eq!(status["status"], "PROCESSING", "{status:#}");
    }

    clear_faults(&partners.wms).await;
    let recovered = service.post("/api/services/wms/recover", &json!({})).await;
    assert_eq!(recovered.status, 200);
    for order in &orders {
        assert_eq!(service.end_of(order).await["status"], "READY_FOR_DELIVERY");
        assert_eq!(
            partners.effects(order).await.map(|effects| effects.live()),
            [1, 1, 1]
        );
    }
    wms_when(&service, "closed").await;

    let topic = service.backend.topics().health;
    let records = topic::read(&service.brokers().await, &topic, |records| {
        let seen = |kind: &str| {
            records
                .iter()
                .any(|record| record.value["eventType"] == kind)
        };
        seen("CIRCUIT_OPENED") && seen("CIRCUIT_CLOSED")
    })
    .await;
    assert!(
        records.iter().all(|record| record.key == "wms"),
        "{records:#?}"
    );
}

async fn business_refusals_open_no_circuit(backend: Backend) {
    let partners = Partners::start().await;
    let service = Service::start_with(backend, &partners, &PATIENT).await;
    for number in 0..5 {
        let mut order = good(&format!("ORD-{number}"));
        order["clientId"] = json!("CLIENT-003");
        let order = service.submit(&order).await;
        assert_eq!(service.end_of(&order).await["status"], "FAILED");
    }
    let health = service.get("/api/services/health").await.json();
    assert_eq!(health["services"]["cms"]["circuit"], "closed", "{health:#}");
}

/// Waits until the WMS' circuit is in this state, and returns what is said of it.
async fn wms_when(service: &Service, circuit: &str) -> Value {
    let mut wms = Value::Null;
    testkit::wait_until(
        &format!("the circuit of the WMS is {circuit}"),
        LIMIT,
        async || {
            wms = service.get("/api/services/health").await.json()["services"]["wms"].take();
            wms["circuit"] == circuit
        },
    )
    .await;
    wms
}
