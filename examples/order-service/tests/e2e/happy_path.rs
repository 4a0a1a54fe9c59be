//! An order that every partner takes.

use serde_json::json;

use crate::support::order::{HAPPY_PATH, good};
use crate::support::service::kinds;
use crate::support::{Backend, LIMIT, Partners, Service, on_both_backends, topic};

on_both_backends!(
    an_order_is_accepted_and_becomes_ready,
    the_happy_path_is_on_the_topic_in_order,
    an_order_reads_back_as_it_was_submitted,
    an_unchanged_status_costs_no_body,
    orders_are_listed_newest_first_in_pages,
);

async fn an_order_is_accepted_and_becomes_ready(backend: Backend) {
    let partners = Partners::start().await;
    let service = Service::start(backend, &partners).await;

    let accepted = service.post("/api/orders", &good("ORD-001")).await;
    assert_eq!(accepted.status, 202);
    assert_eq!(accepted.header("location"), "/api/orders/ORD-001");
    assert!(accepted.headers.contains_key("retry-after"));
    let body = accepted.json();
    assert_eq!(body["status"], "accepted");
    assert_eq!(body["orderId"], "ORD-001");
    assert_eq!(
        body["processing"]["statusEndpoint"],
        "/api/orders/ORD-001/status"
    );

    let status = service.end_of("ORD-001").await;
    assert_eq!(status["status"], "READY_FOR_DELIVERY");
    assert_eq!(status["processing"]["currentStage"], "PROCESSING_COMPLETE");
    assert_eq!(
        status["processing"]["progress"],
        json!({"completed": 3, "total": 3, "percentage": 100})
    );
    let steps = status["steps"].as_array().unwrap();
    let names: Vec<_> = steps
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["CMS_VERIFICATION", "WMS_REGISTRATION", "ROS_OPTIMIZATION"]
    );
    assert!(
        steps.iter().all(|step| step["status"] == "COMPLETED"),
        "{status:#}"
    );

    for (partner, effects) in ["CMS", "WMS", "ROS"]
        .iter()
        .zip(partners.effects("ORD-001").await)
    {
        assert_eq!((effects.applied, effects.live()), (1, 1), "{partner}");
    }
}

async fn the_happy_path_is_on_the_topic_in_order(backend: Backend) {
    let partners = Partners::start().await;
    let service = Service::start(backend, &partners).await;
    let order = service.submit(&good("ORD-001")).await;
    service.end_of(&order).await;

    let events = service.events(&order).await;
    assert_eq!(kinds(&events), HAPPY_PATH);

    let topic = service.backend.topics().order;
    let records = topic::of_order(&service.brokers().await, &topic, &order, events.len()).await;
    let values: Vec<_> = records.iter().map(|record| record.value.clone()).collect();
    assert_eq!(
        values, events,
        "the topic and the events of the order are the same"
    );
    let partitions = topic::partitions(&service.brokers().await, &topic).await;
    for record in &records {
        record.assert_headers();
        assert_eq!(record.partition, topic::partition_of(&order, partitions));
        assert_eq!(record.trace(), records[0].trace(), "an order is one trace");
        let text = record.value.to_string();
        assert!(
            !text.contains("Main Street"),
            "no address leaves the service: {text}"
        );
    }
}

async fn an_order_reads_back_as_it_was_submitted(backend: Backend) {
    let partners = Partners::start().await;
    let service = Service::start(backend, &partners).await;
    let submitted = good("ORD-001");
    let order = service.submit(&submitted).await;
    service.end_of(&order).await;

    let read = service.get("/api/orders/ORD-001").await.json();
    for member in [
        "id",
        "clientId",
        "priority",
        "packages",
        "deliveryAddresses",
    ] {
        assert_eq!(read[member], submitted[member], "{member}");
    }
    assert_eq!(read["status"], "READY_FOR_DELIVERY");
    // 250 for the package line, 150 for the address.
    let cost = read["partners"]["cms"]["estimatedCost"].to_string();
    assert_eq!(cost.trim_matches('"').parse(), Ok(400.0), "{read:#}");
    assert_eq!(read["partners"]["cms"]["currency"], "LKR");
    assert!(read["partners"]["wms"]["packageId"].is_string(), "{read:#}");
    assert!(read["partners"]["ros"]["routeId"].is_string(), "{read:#}");
}

async fn an_unchanged_status_costs_no_body(backend: Backend) {
    let partners = Partners::start().await;
    let service = Service::start(backend, &partners).await;
    let order = service.submit(&good("ORD-001")).await;
    service.end_of(&order).await;

    let path = format!("/api/orders/{order}/status");
    let etag = service.get(&path).await.header("etag").to_owned();
    assert!(etag.starts_with("W/"), "{etag}");
    let request = hyper::Request::get(&path).header("if-none-match", &etag);
    let answer = service
        .client
        .send(request.body(bytes::Bytes::new()).unwrap())
        .await
        .unwrap();
    assert_eq!(answer.status, 304);
    assert!(answer.body.is_empty());
}

async fn orders_are_listed_newest_first_in_pages(backend: Backend) {
    let partners = Partners::start().await;
    let service = Service::start(backend, &partners).await;
    for number in 1..=5 {
        let order = service.submit(&good(&format!("ORD-{number}"))).await;
        service.end_of(&order).await;
    }

    let mut ids = Vec::new();
    let mut path = "/api/orders?limit=2".to_owned();
    testkit::wait_until("the last page is read", LIMIT, async || {
        let page = service.get(&path).await.json();
        let orders = page["orders"].as_array().unwrap();
        assert!(orders.len() <= 2);
        ids.extend(
            orders
                .iter()
                .map(|order| order["id"].as_str().unwrap().to_owned()),
        );
        match page["nextCursor"].as_str() {
            Some(cursor) => {
                path = format!("/api/orders?limit=2&cursor={cursor}");
                false
            }
            None => true,
        }
    })
    .await;
    assert_eq!(ids, ["ORD-5", "ORD-4", "ORD-3", "ORD-2", "ORD-1"]);

    let failed = service.get("/api/orders?status=FAILED").await.json();
    assert_eq!(failed["orders"], json!([]));
}
