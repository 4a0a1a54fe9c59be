//! Whatever comes in, the answer is a problem document that says what to do.

use bytes::Bytes;
use hyper::Request;
use serde_json::{Value, json};

use crate::support::http::Answer;
use crate::support::order::good;
use crate::support::{Backend, Partners, Service};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_request_is_told_what_is_wrong_with_it() {
    let partners = Partners::start().await;
    let service = Service::start(Backend::sqlite(), &partners).await;

    let json = "application/json";
    send(&service, json, Bytes::from("{\"id\":"))
        .await
        .problem(400);
    send(&service, json, Bytes::new()).await.problem(400);
    send(&service, "text/plain", Bytes::from(good("A").to_string()))
        .await
        .problem(415);
    // The service may answer before it has read all of it, and then close.
    let large = Bytes::from(vec![b' '; 10 * 1024 * 1024]);
    if let Ok(answer) = try_send(&service, json, large).await {
        answer.problem(413);
    }

    service.get("/api/nothing").await.problem(404);
    service.get("/api/orders/ORD-404/status").await.problem(404);
    service
        .post("/api/services/abc/recover", &json!({}))
        .await
        .problem(404);
    service
        .post("/api/services/__proto__/recover", &json!({}))
        .await
        .problem(404);
    let wrong_method = service.post("/health", &json!({})).await;
    wrong_method.problem(405);
    assert!(wrong_method.header("allow").contains("GET"));
    assert_eq!(service.get("/readyz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_faults_of_an_order_are_listed_at_once() {
    let partners = Partners::start().await;
    let service = Service::start(Backend::sqlite(), &partners).await;
    let order = json!({
        "id": "ORD 001",
        "priority": "SOON",
        "packages": [
            {"sku": "", "quantity": 0},
            {"sku": "ITEM-001", "quantity": "two"},
        ],
        "deliveryAddresses": ["a bell rings: \u{7}"],
    });
    let problem = service.post("/api/orders", &order).await.problem(422);
    assert_eq!(
        pointers(&problem),
        [
            "/clientId",
            "/deliveryAddresses/0",
            "/id",
            "/packages/0/quantity",
            "/packages/0/sku",
            "/packages/1/quantity",
            "/priority",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_at_every_limit_runs_and_one_beyond_is_refused() {
    let partners = Partners::start().await;
    let service = Service::start(Backend::sqlite(), &partners).await;
    let id = "O".repeat(64);
    let mut order = good(&id);
    order["packages"] = (0..200)
        .map(|_| json!({"sku": "ITEM-001", "quantity": 1, "description": "d".repeat(500)}))
        .collect();
    order["deliveryAddresses"] = (0..50).map(|_| json!("é".repeat(500))).collect();
    service.submit(&order).await;
    assert_eq!(service.end_of(&id).await["status"], "READY_FOR_DELIVERY");

    type Spoil = fn(&mut Value);
    let beyond: [(&str, Spoil); 6] = [
        ("/id", |order| order["id"] = json!("O".repeat(65))),
        ("/packages", |order| {
            order["packages"] = vec![order["packages"][0].clone(); 201].into()
        }),
        ("/packages", |order| order["packages"] = json!([])),
        ("/packages/0/quantity", |order| {
            order["packages"][0]["quantity"] = json!(100_001)
        }),
        ("/packages/0/description", |order| {
            order["packages"][0]["description"] = json!("d".repeat(501));
        }),
        ("/deliveryAddresses", |order| {
            order["deliveryAddresses"] = json!(vec!["a"; 51])
        }),
    ];
    for (pointer, spoil) in beyond {
        let mut order = good("ORD-001");
        spoil(&mut order);
        let problem = service.post("/api/orders", &order).await.problem(422);
        assert_eq!(pointers(&problem), [pointer]);
    }
}

/// Where the faults are, sorted.
fn pointers(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().unwrap();
    let mut pointers: Vec<_> = errors
        .iter()
        .map(|e| e["pointer"].as_str().unwrap())
        .collect();
    assert!(
        errors.iter().all(|error| error["detail"].is_string()),
        "{problem:#}"
    );
    pointers.sort_unstable();
    pointers
}

async fn send(service: &Service, media_type: &str, body: Bytes) -> Answer {
    try_send(service, media_type, body).await.unwrap()
}

async fn try_send(
    service: &Service,
    media_type: &str,
    body: Bytes,
) -> Result<Answer, crate::support::http::Unreached> {
    let request = Request::post("/api/orders").header("content-type", media_type);
    service.client.send(request.body(body)?).await
}
