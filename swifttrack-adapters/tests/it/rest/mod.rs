//! REST: what is sent, and what each answer means.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use swifttrack_adapters::conformance::{Act, Received, ScriptedHttp};
use swifttrack_adapters::rest::{Client, Problem, Reply};
use swifttrack_adapters::{CallContext, Class, Error};

use crate::http::patient;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Thing {
    name: String,
}

const JSON: &str = "content-type: application/json\r\n";
const PROBLEM: &str = "content-type: application/problem+json; charset=utf-8\r\n";

async fn server(script: impl Fn(&Received) -> Vec<Act> + Send + Sync + 'static) -> ScriptedHttp {
    ScriptedHttp::start(script).await.unwrap()
}

/// What a PUT makes of this answer.
async fn put(
    status: u16,
    headers: &'static str,
    body: &'static str,
) -> Result<Reply<Thing>, Error> {
    let server = server(move |r| vec![Act::Say(r.answer(status, headers, body))]).await;
    let client = Client::new(&server.url()).unwrap();
    let thing = Thing { name: "a".into() };
    client.put("/things/1", &thing, &patient()).await
}

#[tokio::test]
async fn a_request_carries_what_the_partner_needs() {
    let server = server(|r| vec![Act::Say(r.answer(200, JSON, r#"{"name":"b"}"#))]).await;
    let client = Client::new(&format!("{}/base/", server.url()))
        .unwrap()
        .bearer("secret")
        .unwrap();
    let mut cx = patient();
    cx.idempotency_key = "ORD-1:ROS".into();
    cx.trace_parent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into());
    let thing = Thing { name: "a".into() };
    let reply: Reply<Thing> = client.put("/things/1?x=y", &thing, &cx).await.unwrap();
    assert_eq!(
        (reply.status.as_u16(), reply.body.name.as_str()),
        (200, "b")
    );

    let request = &server.requests()[0];
    assert_eq!(
        (&*request.method, &*request.path),
        ("PUT", "/base/things/1?x=y")
    );
    assert_eq!(request.body, br#"{"name":"a"}"#);
    for (name, value) in [
        ("content-type", "application/json"),
        ("idempotency-key", "ORD-1:ROS"),
        ("traceparent", cx.trace_parent.as_deref().unwrap()),
        ("x-request-id", &cx.request_id.to_string()),
        ("authorization", "Bearer secret"),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    let left: u64 = request
        .header("request-deadline-ms")
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=30_000).contains(&left), "{left}");
    assert!(!format!("{client:?}").contains("secret"), "{client:?}");
}

#[tokio::test]
async fn a_question_has_no_idempotency_key_and_no_body() {
    let server = server(|r| vec![Act::Say(r.answer(200, JSON, r#"{"name":"b"}"#))]).await;
    let client = Client::new(&server.url()).unwrap();
    client.get::<Thing>("/things/1", &patient()).await.unwrap();
    let request = &server.requests()[0];
    assert_eq!(
        (request.header("idempotency-key"), request.body.len()),
        (None, 0)
    );
}

#[tokio::test]
async fn an_answer_without_body_is_unit() {
    let server = server(|r| vec![Act::Say(r.answer(204, "", ""))]).await;
    let client = Client::new(&server.url()).unwrap();
    let reply: Reply<()> = client.delete("/things/1", &patient()).await.unwrap();
    assert_eq!(reply.status, 204);
    assert!(
        client
            .post::<Thing>("/things", &(), &patient())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn the_partner_says_what_happened() {
    for (word, class) in [
        (
            r#"{"code":"UNKNOWN_ZONE","class":"REJECTED","detail":"no such zone"}"#,
            Class::Rejected,
        ),
        (
            r#"{"code":"UNKNOWN_ZONE","class":"NOT_APPLIED","title":"no such zone"}"#,
            Class::NotApplied,
        ),
        (
            r#"{"code":"UNKNOWN_ZONE","class":"UNKNOWN","detail":"no such zone"}"#,
            Class::Unknown,
        ),
    ] {
        // The status says nothing once the class does.
        for status in [400, 409, 429, 500, 503] {
            let error = put(status, PROBLEM, word).await.unwrap_err();
            assert_eq!(error.class(), class, "{status} {word}");
            assert_eq!(error.code(), Some("UNKNOWN_ZONE"));
            assert!(error.message().contains("no such zone"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_status_alone_says_nothing() {
    for status in [400, 404, 409, 429, 500, 502, 503, 504] {
        for (headers, body) in [
            ("", ""),
            ("content-type: text/html\r\n", "<h1>Bad Gateway</h1>"),
            // A class is only believed where problem details are declared.
            (JSON, r#"{"code":"BUSY","class":"NOT_APPLIED"}"#),
            (PROBLEM, "not json"),
            (PROBLEM, r#"["class"]"#),
            (PROBLEM, r#"{"class":"not_applied"}"#),
            (PROBLEM, r#"{"class":7}"#),
        ] {
            let error = put(status, headers, body).await.unwrap_err();
            assert_eq!(error.class(), Class::Unknown, "{status} {headers}{body}");
        }
    }
}

#[tokio::test]
async fn a_429_with_a_code_was_not_applied() {
    let headers = "content-type: application/problem+json\r\nretry-after: 7\r\n";
    let error = put(429, headers, r#"{"code":"BUSY"}"#).await.unwrap_err();
    assert_eq!(error.class(), Class::NotApplied);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    let other = put(503, headers, r#"{"code":"BUSY"}"#).await.unwrap_err();
    assert_eq!(other.class(), Class::Unknown);
    assert_eq!(other.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn an_answer_that_is_not_as_agreed_breaks_the_protocol() {
    for (headers, body) in [
        (JSON, r#"{"name":7}"#),
        (JSON, r#"{"name":"#),
        (JSON, ""),
        ("content-type: text/html\r\n", r#"{"name":"b"}"#),
        ("", r#"{"name":"b"}"#),
    ] {
        let error = put(200, headers, body).await.unwrap_err();
        assert_eq!(error.class(), Class::Protocol, "{headers}{body}");
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_our_own_affair() {
    let server = server(|_| vec![Act::Close]).await;
    let client = Client::new(&server.url()).unwrap();
    let cx = CallContext::new("key\r\nevil: 1", Duration::from_secs(9));
    let error = client.delete::<()>("/things/1", &cx).await.unwrap_err();
    assert!(error.is_local(), "{error}");
    assert!(
        client
            .delete::<()>("/a b", &patient())
            .await
            .unwrap_err()
            .is_local()
    );
    assert!(client.clone().bearer("a\nb").is_err());
    assert_eq!(server.connections(), 0);
}

#[test]
fn problem_details_are_read_leniently() {
    let problem = Problem::parse(
        br#"{"type":"about:blank","title":7,"status":"409","detail":null,"more":[{}],"code":"C"}"#,
    )
    .unwrap();
    assert_eq!(
        problem,
        Problem {
            kind: Some("about:blank".into()),
            code: Some("C".into()),
            ..Problem::default()
        }
    );
    assert_eq!(Problem::parse(b"[]"), None);
    assert_eq!(Problem::parse("[".repeat(100_000).as_bytes()), None);
}
