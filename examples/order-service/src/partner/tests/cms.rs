//! The contract system.

use std::time::Duration;

use async_trait::async_trait;
use partners::spawn_cms;
use serde_json::json;
use swifttrack_adapters::conformance::{Act, Misbehaviour, Rig, ScriptedHttp};
use swifttrack_adapters::{Adapter as _, CallContext, Class, Error, Lookup, adapter_conformance};

use super::super::{CmsAdapter, Contract, Subject};
use super::{NewOrder, Stand, config, order, subject, url};

struct Cms {
    stand: Stand,
    adapter: CmsAdapter,
}

async fn cms() -> Cms {
    let (config, data) = config();
    let partner = spawn_cms(config.user("alice", "secret")).await.unwrap();
    let credentials = Some(("alice".into(), "secret".into()));
    let adapter = CmsAdapter::new(&url(&partner), credentials).unwrap();
    let stand = Stand {
        partner,
        op: "verify",
        _data: data,
    };
    Cms { stand, adapter }
}

#[async_trait]
impl Rig for Cms {
    type Adapter = CmsAdapter;

    fn adapter(&self) -> &CmsAdapter {
        &self.adapter
    }

    fn adapter_of_nobody(&self) -> CmsAdapter {
        CmsAdapter::new("http://127.0.0.1:1", None).unwrap()
    }

    fn request(&self, n: u32) -> NewOrder {
        order(n)
    }

    fn subject(&self, n: u32) -> Subject {
        subject(n)
    }

    /// A contract does not name its order; what it costs is always the same.
    fn answers(&self, answer: &Contract, _: u32) -> bool {
        answer.estimated_cost == 250.0 + 2.0 * 150.0 + 500.0 && answer.currency == "LKR"
    }

    async fn misbehave(&self, how: Misbehaviour) {
        self.stand.misbehave(how).await;
    }

    async fn live(&self, n: u32) -> usize {
        self.stand.live(&super::order_id(n)).await
    }
}

adapter_conformance!(cms().await);

fn cx() -> CallContext {
    CallContext::new("key", Duration::from_secs(30))
}

#[tokio::test]
async fn what_cms_refuses_for_good_is_rejected_with_its_code() {
    let rig = cms().await;
    for (client, code) in [
        ("NOBODY", "INVALID_CLIENT_ID"),
        ("CLIENT-003", "CLIENT_SUSPENDED"),
        ("CLIENT-EXPIRED", "CONTRACT_EXPIRED"),
        ("CLIENT-POOR", "CREDIT_LIMIT_EXCEEDED"),
    ] {
        let order = NewOrder {
            id: client.into(),
            client_id: client.into(),
            ..order(1)
        };
        let error = rig.adapter.call(&order, &cx()).await.unwrap_err();
        assert_eq!((error.class(), error.code()), (Class::Rejected, Some(code)));
    }
}

#[tokio::test]
async fn a_key_belongs_to_one_order() {
    let rig = cms().await;
    rig.adapter.call(&order(1), &cx()).await.unwrap();
    let error = rig.adapter.call(&order(2), &cx()).await.unwrap_err();
    assert_eq!(
        (error.class(), error.code()),
        (Class::Rejected, Some("KEY_REUSED"))
    );
}

#[tokio::test]
async fn who_is_not_let_in_has_done_nothing() {
    let rig = cms().await;
    let wrong = Some(("alice".into(), "guess".into()));
    for credentials in [None, wrong] {
        let adapter = CmsAdapter::new(&url(&rig.stand.partner), credentials).unwrap();
        let error = adapter.call(&order(1), &cx()).await.unwrap_err();
        assert_eq!(
            (error.class(), error.code()),
            (Class::NotApplied, Some("AUTH_FAILED"))
        );
    }
    assert_eq!(rig.live(1).await, 0);
}

#[tokio::test]
async fn something_that_broke_half_way_is_unknown() {
    let rig = cms().await;
    let rule = json!({"op": "*", "mode": "error", "code": "INTERNAL"});
    rig.stand.fault(&rule).await;
    let error = rig.adapter.call(&order(1), &cx()).await.unwrap_err();
    assert_eq!(
        (error.class(), error.code()),
        (Class::Unknown, Some("INTERNAL"))
    );
    let error = rig.adapter.query(&subject(1), &cx()).await.unwrap_err();
    assert!(error.is_unknown(), "{error}");
}

/// What a call makes of this answer.
async fn answered(status: u16, body: &'static str) -> Error {
    let server = ScriptedHttp::start(move |r| {
        let xml = "content-type: text/xml; charset=utf-8\r\n";
        vec![Act::Say(r.answer(status, xml, body))]
    });
    let server = server.await.unwrap();
    let adapter = CmsAdapter::new(&server.url(), None).unwrap();
    adapter.call(&order(1), &cx()).await.unwrap_err()
}

const FAULT: &str = "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body>\
    <s:Fault><faultcode>s:Client</faultcode><faultstring>no</faultstring><detail>\
    <f:CmsFault xmlns:f='http://swiftlogistics.lk/cms/v1'><f:Code>BUSY</f:Code>\
    <f:Class>NOT_APPLIED</f:Class><f:RetryAfterSeconds>7</f:RetryAfterSeconds>\
    <f:Message>later</f:Message></f:CmsFault></detail></s:Fault></s:Body></s:Envelope>";

#[tokio::test]
async fn the_detail_of_a_fault_decides_and_not_its_code_or_status() {
    for status in [200, 500, 503] {
        let error = answered(status, FAULT).await;
        assert_eq!(
            (error.class(), error.code()),
            (Class::NotApplied, Some("BUSY"))
        );
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    }
}

#[tokio::test]
async fn a_fault_of_somebody_else_is_unknown() {
    let bare = "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body><s:Fault>\
        <faultcode>s:Client</faultcode><faultstring>no route</faultstring></s:Fault></s:Body></s:Envelope>";
    let error = answered(500, bare).await;
    assert_eq!((error.class(), error.code()), (Class::Unknown, None));
}

#[tokio::test]
async fn a_query_and_a_cancel_read_every_state() {
    let server = ScriptedHttp::start(|r| {
        let request = String::from_utf8_lossy(&r.body);
        let state = ["NONE", "VERIFIED", "CANCELLED"]
            .into_iter()
            .find(|state| request.contains(&format!("<c:OrderId>{state}<")))
            .unwrap();
        let body = format!(
            "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body>\
             <GetContractResponse xmlns='http://swiftlogistics.lk/cms/v1'><State>{state}</State>\
             </GetContractResponse></s:Body></s:Envelope>"
        );
        vec![Act::Say(r.answer(200, "content-type: text/xml\r\n", &body))]
    });
    let server = server.await.unwrap();
    let adapter = CmsAdapter::new(&server.url(), None).unwrap();
    for (state, expected) in [
        ("NONE", Lookup::NotYet),
        ("VERIFIED", Lookup::Happened),
        ("CANCELLED", Lookup::Never),
    ] {
        let subject = Subject {
            order_id: state.into(),
            ..subject(1)
        };
        assert_eq!(adapter.query(&subject, &cx()).await.unwrap(), expected);
    }
}
