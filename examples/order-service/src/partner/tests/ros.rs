//! The route optimizer.

use std::time::Duration;

use async_trait::async_trait;
use partners::spawn_ros;
use swifttrack_adapters::conformance::{Act, Misbehaviour, Rig, ScriptedHttp};
use swifttrack_adapters::{Adapter as _, CallContext, Class, Lookup, adapter_conformance};

use super::super::{RosAdapter, Route, Subject};
use super::{NewOrder, Stand, config, order, subject, url};

struct Ros {
    stand: Stand,
    adapter: RosAdapter,
}

async fn ros() -> Ros {
    let (config, data) = config();
    let partner = spawn_ros(config.token("secret")).await.unwrap();
    let adapter = RosAdapter::new(&url(&partner), Some("secret".into())).unwrap();
    let stand = Stand {
        partner,
        op: "put",
        _data: data,
    };
    Ros { stand, adapter }
}

#[async_trait]
impl Rig for Ros {
    type Adapter = RosAdapter;

    fn adapter(&self) -> &RosAdapter {
        &self.adapter
    }

    fn adapter_of_nobody(&self) -> RosAdapter {
        RosAdapter::new("http://127.0.0.1:1", None).unwrap()
    }

    fn request(&self, n: u32) -> NewOrder {
        order(n)
    }

    fn subject(&self, n: u32) -> Subject {
        subject(n)
    }

    /// The adapter itself refuses a route of another order.
    fn answers(&self, answer: &Route, _: u32) -> bool {
        !answer.route_id.is_empty() && !answer.assigned_vehicle.is_empty()
    }

    async fn misbehave(&self, how: Misbehaviour) {
        self.stand.misbehave(how).await;
    }

    async fn live(&self, n: u32) -> usize {
        self.stand.live(&super::order_id(n)).await
    }
}

adapter_conformance!(ros().await);

fn cx() -> CallContext {
    CallContext::new("key", Duration::from_secs(30))
}

#[tokio::test]
async fn what_ros_refuses_for_good_is_rejected_with_its_code() {
    let rig = ros().await;
    let order = NewOrder {
        delivery_addresses: vec!["RESTRICTED zone".into()],
        ..order(1)
    };
    let error = rig.adapter.call(&order, &cx()).await.unwrap_err();
    assert_eq!(
        (error.class(), error.code()),
        (Class::Rejected, Some("UNKNOWN_ZONE"))
    );
}

#[tokio::test]
async fn a_fleet_on_the_road_is_asked_again_later() {
    let (config, data) = config();
    let partner = spawn_ros(config.fleet(1)).await.unwrap();
    let adapter = RosAdapter::new(&url(&partner), None).unwrap();
    let key = |n: u32| CallContext::new(format!("key-{n}"), Duration::from_secs(30));
    adapter.call(&order(1), &key(1)).await.unwrap();
    let error = adapter.call(&order(2), &key(2)).await.unwrap_err();
    let expected = (Class::NotApplied, Some("NO_AVAILABLE_VEHICLES"));
    assert_eq!((error.class(), error.code()), expected);
    assert!(error.retry_after().is_some(), "{error:?}");
    // A cancelled order gives its vehicle back.
    adapter.cancel(&subject(1), &key(3)).await.unwrap();
    adapter.call(&order(2), &key(2)).await.unwrap();
    drop(data);
}

#[tokio::test]
async fn who_is_not_let_in_has_done_nothing() {
    let rig = ros().await;
    let adapter = RosAdapter::new(&url(&rig.stand.partner), Some("guess".into())).unwrap();
    let error = adapter.call(&order(1), &cx()).await.unwrap_err();
    assert_eq!(
        (error.class(), error.code()),
        (Class::NotApplied, Some("UNAUTHORIZED"))
    );
}

#[tokio::test]
async fn a_found_route_is_the_one_that_was_given() {
    let rig = ros().await;
    let given = rig.adapter.call(&order(1), &cx()).await.unwrap();
    let found = rig.adapter.query(&subject(1), &cx()).await.unwrap();
    assert_eq!(found, Lookup::Done(given));
}

#[tokio::test]
async fn a_route_of_another_order_is_refused() {
    let server = ScriptedHttp::start(|r| {
        let route = r#"{"orderId":"ORD-2","routeId":"R","etaMinutes":1,"totalDistanceKm":1.5,
            "assignedDriver":"D","assignedVehicle":"V","optimizedStops":[],
            "estimatedDelivery":"2026-01-01T00:00:00Z","optimizationScore":1.0,"replayed":false}"#;
        vec![Act::Say(r.answer(
            200,
            "content-type: application/json\r\n",
            route,
        ))]
    });
    let server = server.await.unwrap();
    let adapter = RosAdapter::new(&server.url(), None).unwrap();
    let error = adapter.call(&order(1), &cx()).await.unwrap_err();
    assert_eq!(error.class(), Class::Protocol);
    assert!(adapter.query(&subject(1), &cx()).await.is_err());
}

#[tokio::test]
async fn a_page_that_is_not_found_says_nothing_about_the_order() {
    let server =
        ScriptedHttp::start(|r| vec![Act::Say(r.answer(404, "content-type: text/html\r\n", "no"))]);
    let server = server.await.unwrap();
    let adapter = RosAdapter::new(&server.url(), None).unwrap();
    let error = adapter.query(&subject(1), &cx()).await.unwrap_err();
    assert!(error.is_unknown(), "{error}");
}
