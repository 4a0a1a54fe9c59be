//! The same order twice is one order.

use bytes::Bytes;
use hyper::Request;
use serde_json::{Value, json};

use crate::support::http::Answer;
use crate::support::order::good;
use crate::support::service::kinds;
use crate::support::{Backend, Partners, Service, on_both_backends};

on_both_backends!(
    the_same_order_is_accepted_again_and_done_once,
    another_order_under_the_same_id_is_a_conflict,
    many_at_once_are_one_order,
    an_idempotency_key_stands_for_one_body,
);

async fn the_same_order_is_accepted_again_and_done_once(backend: Backend) {
    let partners = Partners::start().await;
    let service = Service::start(backend, &partners).await;
    let order = service.submit(&good("ORD-001")).await;
    // The same after the defaults are filled in: the priority is left out.
    let mut again = good("ORD-001");
    again.as_object_mut().unwrap().remove("priority");
    service.submit(&again).await;
    service.end_of(&order).await;
    service.submit(&again).await;

    let events = service.events(&order).await;
    assert_eq!(
        kinds(&events)
            .iter()
            .filter(|kind| **kind == "ORDER_ACCEPTED")
            .count(),
        1
    );
    assert_eq!(
        partners
            .effects(&order)
            .await
            .map(|effects| effects.applied),
        [1, 1, 1]
    );
}

async fn another_order_under_the_same_id_is_a_conflict(backend: Backend) {
    let partners = Partners::start().await;
    let service = Service::start(backend, &partners).await;
    let order = service.submit(&good("ORD-001")).await;
    let mut other = good("ORD-001");
    other["packages"][0]["quantity"] = json!(3);
    service.post("/api/orders", &other).await.problem(409);

    service.end_of(&order).await;
    service.post("/api/orders", &other).await.problem(409);
    let read = service.get("/api/orders/ORD-001").await.json();
    assert_eq!(read["packages"][0]["quantity"], 2);
}

async fn many_at_once_are_one_order(backend: Backend) {
    let partners = Partners::start().await;
    let service = Service::start(backend, &partners).await;
    let submissions: Vec<_> = (0..20)
        .map(|_| {
            let client = service.client;
            tokio::spawn(async move { client.post("/api/orders", &good("ORD-001")).await })
        })
        .collect();
    for submission in submissions {
        assert_eq!(submission.await.unwrap().unwrap().status, 202);
    }
    service.end_of("ORD-001").await;
    assert_eq!(
        partners
            .effects("ORD-001")
            .await
            .map(|effects| effects.applied),
        [1, 1, 1]
    );
}

async fn an_idempotency_key_stands_for_one_body(backend: Backend) {
    let partners = Partners::start().await;
    let service = Service::start(backend, &partners).await;
    assert_eq!(
        with_key(&service, "key-1", &good("ORD-001")).await.status,
        202
    );
    assert_eq!(
        with_key(&service, "key-1", &good("ORD-001")).await.status,
        202
    );
    with_key(&service, "key-1", &good("ORD-002"))
        .await
        .problem(422);
    service.get("/api/orders/ORD-002").await.problem(404);
    assert_eq!(
        with_key(&service, "key-2", &good("ORD-002")).await.status,
        202
    );
}

async fn with_key(service: &Service, key: &str, order: &Value) -> Answer {
    let request = Request::post("/api/orders")
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .body(Bytes::from(order.to_string()))
        .unwrap();
    service.client.send(request).await.unwrap()
}
