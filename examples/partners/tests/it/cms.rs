//! What is the contract system's own.

use chrono::Utc;
use partners::cms::message::{GetContractRequest, RequestHeaders, write_request};
use swifttrack_adapters::soap::{Credentials, Version};

use crate::http::ask;
use crate::rig::{Ask, Rig, Who, element, soap, soap12, verify};

#[tokio::test]
async fn a_contract_is_priced_and_held() {
    let rig = Rig::new(Who::Cms).await;
    let body = verify("ORD-1", "CLIENT-001", "1 Main Street");
    let answer = soap("VerifyContract", "k", &body)
        .with("X-Request-ID", "r-1")
        .once(rig.addr())
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/xml; charset=utf-8")
    );
    assert_eq!(answer.header("x-request-id"), Some("r-1"));
    let text = answer.text();
    for (name, value) in [
        ("Status", "SUCCESS"),
        ("BillingStatus", "APPROVED"),
        ("EstimatedCost", "900.00"),
        ("Currency", "LKR"),
        ("RemainingCredit", "9999999999100.00"),
        ("Replayed", "false"),
    ] {
        assert_eq!(element(text, name).as_deref(), Some(value), "{text}");
    }
    let contract = element(text, "ContractId");
    let state = soap("GetContract", "", "<c:OrderId>ORD-1</c:OrderId>")
        .once(rig.addr())
        .await;
    assert_eq!(element(state.text(), "ContractId"), contract);

    rig.tell(Who::Cms.cancel("ORD-1", "u")).await;
    let next = soap("VerifyContract", "l", &verify("ORD-2", "CLIENT-001", "x"))
        .once(rig.addr())
        .await;
    assert_eq!(
        element(next.text(), "RemainingCredit").as_deref(),
        Some("9999999999100.00")
    );
}

#[tokio::test]
async fn each_refusal_is_a_fault_with_code_and_class() {
    let rig = Rig::new(Who::Cms).await;
    for (client, code) in [
        ("CLIENT-003", "CLIENT_SUSPENDED"),
        ("CLIENT-EXPIRED", "CONTRACT_EXPIRED"),
        ("CLIENT-POOR", "CREDIT_LIMIT_EXCEEDED"),
        ("NOBODY", "INVALID_CLIENT_ID"),
    ] {
        let body = verify("ORD-1", client, "x");
        let answer = soap("VerifyContract", "k", &body).once(rig.addr()).await;
        assert_eq!(answer.status, 500);
        assert_eq!(element(answer.text(), "Code").as_deref(), Some(code));
        assert_eq!(element(answer.text(), "Class").as_deref(), Some("REJECTED"));
        assert_eq!(
            element(answer.text(), "faultcode").as_deref(),
            Some("s:Client")
        );
        let answer = soap12("VerifyContract", "k", &body).once(rig.addr()).await;
        assert_eq!(answer.status, 400);
        assert_eq!(element(answer.text(), "Value").as_deref(), Some("s:Sender"));
    }
    assert!(rig.effects().await.is_empty());
}

#[tokio::test]
async fn both_versions_share_the_ledger() {
    let rig = Rig::new(Who::Cms).await;
    let body = verify("ORD-1", "CLIENT-001", "x");
    assert_eq!(rig.tell(soap12("VerifyContract", "k", &body)).await, "DONE");
    assert_eq!(
        rig.tell(soap("VerifyContract", "k", &body)).await,
        "REPLAYED"
    );
    let spaced = body.replace("><c:ClientId", ">\n  <c:ClientId");
    assert_eq!(
        rig.tell(soap("VerifyContract", "k", &spaced)).await,
        "REPLAYED"
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_malformed() {
    let rig = Rig::new(Who::Cms).await;
    let good = soap("VerifyContract", "k", &verify("ORD-1", "CLIENT-001", "x"));
    let spoil = |from: &str, to: &str| Ask {
        body: good.body.replace(from, to),
        ..good.clone()
    };
    for bad in [
        spoil("</s:Envelope>", ""),
        spoil("<c:Quantity>2</c:Quantity>", "<c:Quantity>0</c:Quantity>"),
        spoil("<c:ClientId>CLIENT-001</c:ClientId>", ""),
        spoil("<c:OrderId>ORD-1</c:OrderId>", "<c:OrderId></c:OrderId>"),
        spoil("?><s:", "?><!DOCTYPE x><s:"),
        Ask {
            headers: soap("CancelContract", "", "").headers,
            ..good.clone()
        },
    ] {
        let answer = bad.once(rig.addr()).await;
        assert_eq!(answer.status, 500);
        assert_eq!(
            element(answer.text(), "Code").as_deref(),
            Some("MALFORMED"),
            "{}",
            answer.text()
        );
    }
    let json = Ask {
        headers: vec![("Content-Type", "application/json".to_owned())],
        ..good
    };
    assert_eq!(json.once(rig.addr()).await.status, 415);
    assert!(rig.effects().await.is_empty());
}

#[tokio::test]
async fn the_wsdl_names_the_address_that_was_asked() {
    let rig = Rig::new(Who::Cms).await;
    let wsdl = ask(rig.addr(), "GET", "/cms?wsdl", &[], "").await;
    assert_eq!(wsdl.status, 200);
    assert!(
        wsdl.text().contains("http://partner/cms\""),
        "{}",
        wsdl.text()
    );
    assert_eq!(ask(rig.addr(), "GET", "/health", &[], "").await.status, 200);
    assert_eq!(ask(rig.addr(), "GET", "/cms", &[], "").await.status, 404);
    assert_eq!(ask(rig.addr(), "PUT", "/cms", &[], "").await.status, 405);
}

#[tokio::test]
async fn only_the_user_that_is_known_is_let_in() {
    let rig = Rig::with(Who::Cms, |config| config.user("order-service", "s3cret")).await;
    let get = |headers: RequestHeaders| {
        let request = GetContractRequest {
            order_id: "ORD-1".into(),
        };
        let body = write_request(Version::V11, &headers, &request).unwrap();
        Ask {
            body: String::from_utf8(body).unwrap(),
            ..soap("GetContract", "", "")
        }
    };
    let token = |name: &str, password: &str| RequestHeaders {
        security: Some(Credentials::new(name, password).token(Utc::now())),
        context: None,
    };
    let good = get(token("order-service", "s3cret"));
    assert_eq!(rig.tell(good.clone()).await, "NONE");
    for refused in [
        good,
        get(token("order-service", "other")),
        get(token("somebody", "s3cret")),
        get(RequestHeaders::default()),
    ] {
        let answer = refused.once(rig.addr()).await;
        assert_eq!(
            element(answer.text(), "Code").as_deref(),
            Some("AUTH_FAILED")
        );
        assert_eq!(
            element(answer.text(), "Class").as_deref(),
            Some("NOT_APPLIED")
        );
        assert_eq!(
            element(answer.text(), "faultcode").as_deref(),
            Some("s:Client")
        );
    }
}
