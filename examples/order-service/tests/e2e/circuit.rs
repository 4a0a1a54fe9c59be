//! A partner that fails is left alone for a while; orders are accepted and wait for it.

use std::collections::BTreeSet;

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

    let told = assert_health_events(&service).await;
    assert_eq!(
        told,
        ["CIRCUIT_OPENED", "CIRCUIT_CLOSED", "SERVICE_RECOVERED"]
            .map(str::to_owned)
            .into()
    );
    assert_retry_events(&service, &orders).await;
}

/// What the world hears of the circuit, once it has heard of the recovery.
async fn assert_health_events(service: &Service) -> BTreeSet<String> {
    let topic = service.backend.topics().health;
    let records = topic::read(&service.brokers().await, &topic, |records| {
        let seen = |kind: &str| {
            records
                .iter()
                .any(|record| record.value["eventType"] == kind)
        };
        seen("CIRCUIT_CLOSED") && seen("SERVICE_RECOVERED")
    })
    .await;
    let instance = service.get("/api/services/health").await.json()["instance"].take();
    for record in &records {
        record.assert_headers();
        assert_eq!(record.key, "wms");
        let members: Vec<_> = record.value.as_object().unwrap().keys().collect();
        assert_eq!(
            members,
            [
                "eventId",
                "eventType",
                "service",
                "instance",
                "timestamp",
                "version",
                "data"
            ]
        );
        assert_eq!(record.value["service"], "wms");
        assert_eq!(record.value["instance"], instance);
        assert!(record.value["data"]["reason"].is_string(), "{record:#?}");
        let failures = record.value["data"]["consecutiveFailures"].as_u64();
        let opened = record.value["eventType"] == "CIRCUIT_OPENED";
        assert!(!opened || failures.is_some_and(|n| n >= 3), "{record:#?}");
    }
    let kind = |record: &topic::Record| record.value["eventType"].as_str().map(str::to_owned);
    records.iter().filter_map(kind).collect()
}

/// Each planned retry is told, once, outside of the order's sequence.
async fn assert_retry_events(service: &Service, orders: &[String]) {
    let topic = service.backend.topics().retry;
    let records = topic::read(&service.brokers().await, &topic, |records| {
        3 <= records.len()
    })
    .await;
    for record in records {
        record.assert_headers();
        record.trace();
        assert!(orders.contains(&record.key), "{record:#?}");
        let members: Vec<_> = record.value.as_object().unwrap().keys().collect();
        assert_eq!(
            members,
            [
                "eventId",
                "eventType",
                "orderId",
                "timestamp",
                "version",
                "data"
            ]
        );
        assert_eq!(record.value["eventType"], "WMS_RETRY_SCHEDULED");
        assert_eq!(record.value["orderId"], record.key.as_str());
        let data = &record.value["data"];
        assert_eq!(data["serviceName"], "wms");
        assert!(
            data["retryCount"].as_u64().is_some_and(|n| 1 <= n),
            "{data}"
        );
        for member in ["nextRetryAt", "errorType", "error"] {
            assert!(data[member].is_string(), "{member}: {data}");
        }
    }
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
