//! What is the route optimiser's own.

use serde_json::json;

use crate::http::ask;
use crate::rig::{Rig, Who, rest, route_to};

#[tokio::test]
async fn a_route_is_made_once_and_shown_again() {
    let rig = Rig::new(Who::Ros).await;
    let made = rest("PUT", "ORD-1", "k", &route_to("1 Main Street"))
        .once(rig.addr())
        .await;
    assert_eq!(made.status, 201);
    assert_eq!(made.header("location"), Some("/v1/orders/ORD-1/route"));
    assert_eq!(made.header("content-type"), Some("application/json"));
    let mut route = made.json();
    let members = [
        "orderId",
        "routeId",
        "etaMinutes",
        "totalDistanceKm",
        "assignedDriver",
        "assignedVehicle",
        "optimizedStops",
        "estimatedDelivery",
        "optimizationScore",
        "replayed",
    ];
    assert!(members.iter().all(|name| !route[name].is_null()), "{route}");
    assert_eq!(route.as_object().unwrap().len(), members.len());
    let stops = route["optimizedStops"].as_array().unwrap();
    assert_eq!(stops.len(), 2);
    assert_eq!(stops[0]["sequence"], 1);
    let shown = rest("GET", "ORD-1", "", "").once(rig.addr()).await;
    assert_eq!((shown.status, shown.json()), (200, route.clone()));

    let again = rest("PUT", "ORD-1", "k", &route_to("1 Main Street"))
        .once(rig.addr())
        .await;
    assert_eq!(again.status, 200);
    route["replayed"] = json!(true);
    assert_eq!(again.json(), route);
}

#[tokio::test]
async fn bodies_are_compared_after_they_were_read() {
    let rig = Rig::new(Who::Ros).await;
    let full = r#"{"clientId":"C","priority":"STANDARD","packages":[{"sku":"S","quantity":1,"priority":"STANDARD"}],"deliveryAddresses":["x"]}"#;
    let terse = r#"{ "deliveryAddresses": ["x"], "packages": [{"sku": "S"}], "clientId": "C" }"#;
    assert_eq!(
        rest("PUT", "A", "k", full).once(rig.addr()).await.status,
        201
    );
    assert_eq!(
        rest("PUT", "A", "k", terse).once(rig.addr()).await.status,
        200
    );
}

#[tokio::test]
async fn what_is_refused_is_refused_by_code_and_class() {
    let rig = Rig::new(Who::Ros).await;
    let none = r#"{"clientId":"C","deliveryAddresses":[]}"#;
    let missing = r#"{"clientId":"C"}"#;
    let negative =
        r#"{"clientId":"C","packages":[{"sku":"S","quantity":-1}],"deliveryAddresses":["x"]}"#;
    let restricted = route_to("1 RESTRICTED Road");
    for (order, body, status, code) in [
        ("A", none, 400, "MISSING_DELIVERY_ADDRESSES"),
        ("A", missing, 400, "MISSING_DELIVERY_ADDRESSES"),
        ("A", "{", 400, "MALFORMED"),
        ("A", negative, 400, "MALFORMED"),
        ("a%20b", missing, 400, "MALFORMED"),
        ("A", &restricted, 422, "UNKNOWN_ZONE"),
    ] {
        let answer = rest("PUT", order, "", body).once(rig.addr()).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{body}"
        );
        assert_eq!(answer.json()["class"], "REJECTED");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
    }
    let late = rest("PUT", "A", "", &route_to("x")).with("Request-Deadline-Ms", "0");
    let late = late.once(rig.addr()).await;
    assert_eq!((late.status, late.code().as_str()), (429, "BUSY"));
    assert_eq!(late.header("retry-after"), Some("1"));
    assert!(rig.effects().await.is_empty());
    let unknown = ask(rig.addr(), "GET", "/v1/nothing", &[], "").await;
    assert_eq!(unknown.status, 404);
    let method = ask(rig.addr(), "POST", "/v1/orders/A/route", &[], "").await;
    assert_eq!(method.status, 405);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_before_it_is_read() {
    let rig = Rig::new(Who::Ros).await;
    let answer = rest("PUT", "A", "", &"x".repeat((1 << 20) + 1))
        .once(rig.addr())
        .await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn a_token_is_asked_for_everywhere_but_at_the_health_check() {
    let rig = Rig::with(Who::Ros, |config| config.token("s3cret")).await;
    let put = || rest("PUT", "A", "", &route_to("x"));
    for refused in [
        put(),
        put().with("Authorization", "Bearer other"),
        put().with("Authorization", "Basic s3cret"),
    ] {
        let answer = refused.once(rig.addr()).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (401, "UNAUTHORIZED")
        );
        assert_eq!(answer.json()["class"], "NOT_APPLIED");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(
        put()
            .with("Authorization", "bearer s3cret")
            .once(rig.addr())
            .await
            .status,
        201
    );
    assert_eq!(ask(rig.addr(), "GET", "/health", &[], "").await.status, 200);
    assert_eq!(
        ask(rig.addr(), "GET", "/v1/zones", &[], "").await.status,
        401
    );
}

#[tokio::test]
async fn a_cancel_frees_the_vehicle() {
    let rig = Rig::with(Who::Ros, |config| config.fleet(1)).await;
    assert_eq!(rig.tell(Who::Ros.forward("A", "", "x")).await, "DONE");
    let full = Who::Ros.forward("B", "", "x").once(rig.addr()).await;
    assert_eq!(
        (full.status, full.code().as_str()),
        (503, "NO_AVAILABLE_VEHICLES")
    );
    assert_eq!(full.header("retry-after"), Some("1"));
    let vehicles = ask(rig.addr(), "GET", "/v1/vehicles", &[], "").await.json();
    assert_eq!(
        [&vehicles["total"], &vehicles["available"]],
        [&json!(1), &json!(0)]
    );
    rig.tell(Who::Ros.cancel("A", "")).await;
    assert_eq!(rig.tell(Who::Ros.forward("B", "", "x")).await, "DONE");
}
