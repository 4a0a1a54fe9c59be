//! A cancel that was accepted is a promise.

use serde_json::{Value, json};

use crate::support::order::good;
use crate::support::partners::{clear_faults, refuses_all, set_fault};
use crate::support::service::kinds;
use crate::support::{Backend, Partners, Service, on_both_backends};

on_both_backends!(
    a_running_order_is_cancelled_and_undone,
    a_finished_order_is_not_cancelled,
);

async fn a_running_order_is_cancelled_and_undone(backend: Backend) {
    let partners = Partners::start().await;
    let service = Service::start(backend, &partners).await;
    set_fault(&partners.wms, &refuses_all()).await;
    let order = service.submit(&good("ORD-001")).await;
    let waits = |status: &Value| status["processing"]["progress"]["completed"] == 1;
    service
        .status_when("it waits for the WMS", &order, waits)
        .await;

    let cancelled = service.post("/api/orders/ORD-001/cancel", &json!({})).await;
    assert_eq!(cancelled.status, 202, "{cancelled:?}");
    clear_faults(&partners.wms).await;

    let status = service.end_of(&order).await;
    assert_eq!(status["status"], "CANCELLED", "{status:#}");
    assert_eq!(
        status["processing"]["currentStage"], "COMPENSATED",
        "{status:#}"
    );
    let effects = partners.effects(&order).await;
    assert_eq!(effects.map(|effects| effects.live()), [0, 0, 0]);
    assert_eq!(
        effects[0].applied, 1,
        "the contract was there to be cancelled"
    );

    let events = service.events(&order).await;
    let kinds = kinds(&events);
    let at = |kind: &str| kinds.iter().position(|k| *k == kind);
    assert!(
        at("ORDER_CANCEL_REQUESTED") < at("CMS_COMPENSATION_EXECUTED"),
        "{kinds:?}"
    );
    assert!(
        at("CMS_COMPENSATION_EXECUTED") < at("ORDER_SAGA_COMPENSATED"),
        "{kinds:?}"
    );
    assert_eq!(kinds.last(), Some(&"ORDER_CANCELLED"), "{kinds:?}");
}

async fn a_finished_order_is_not_cancelled(backend: Backend) {
    let partners = Partners::start().await;
    let service = Service::start(backend, &partners).await;
    let order = service.submit(&good("ORD-001")).await;
    service.end_of(&order).await;
    service
        .post("/api/orders/ORD-001/cancel", &json!({}))
        .await
        .problem(409);
    service
        .post("/api/orders/ORD-002/cancel", &json!({}))
        .await
        .problem(404);
    assert_eq!(service.status(&order).await["status"], "READY_FOR_DELIVERY");
}
