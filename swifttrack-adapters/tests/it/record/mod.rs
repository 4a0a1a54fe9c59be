//! What was recorded is played back, and no secret is kept.

#[cfg(feature = "framed")]
mod frames;

use std::sync::Arc;

use swifttrack_adapters::conformance::{Act, ScriptedHttp};
use swifttrack_adapters::record::{Cassette, Player, Recorder, Redaction};
use swifttrack_adapters::rest::Client;
use swifttrack_adapters::{CallContext, http};

use crate::http::patient;

/// Asks for a thing, and says what came of it.
async fn ask(client: &Client, name: &str) -> String {
    let cx = CallContext {
        trace_parent: Some(format!("trace-{}", uuid_of(&patient()))),
        ..patient()
    };
    let asked = client
        .put::<serde_json::Value>(
            "/things",
            &serde_json::json!({"name": name, "pin": "1234"}),
            &cx,
        )
        .await;
    match asked {
        Ok(reply) => reply.body.to_string(),
        Err(error) => format!("{error:?}"),
    }
}

fn uuid_of(cx: &CallContext) -> String {
    cx.request_id.to_string()
}

fn redaction() -> Redaction {
    Redaction::new().json_member("pin")
}

async fn recorded() -> (Vec<String>, Cassette) {
    let server = ScriptedHttp::start(|r| {
        let json = "content-type: application/json\r\nset-cookie: session=hidden\r\n";
        let body = String::from_utf8_lossy(&r.body).into_owned();
        match body.contains("bad") {
            true => vec![Act::Say(r.answer(
                503,
                "content-type: text/plain\r\n",
                "later",
            ))],
            false => vec![Act::Say(r.answer(200, json, &body))],
        }
    });
    let server = server.await.unwrap();
    let recorder = Recorder::new(http::Client::new(&server.url()).unwrap(), redaction());
    let client = Client::over(recorder.clone()).bearer("hidden").unwrap();
    let mut said = Vec::new();
    for name in ["a", "bad", "b"] {
        said.push(ask(&client, name).await);
    }
    (said, recorder.cassette())
}

#[tokio::test]
async fn a_player_answers_as_the_partner_did() {
    let (said, cassette) = recorded().await;
    let player = Arc::new(Player::new(cassette, redaction()));
    let client = Client::over(Arc::clone(&player)).bearer("another").unwrap();
    // In another order, and under other request ids.
    assert_eq!(
        ask(&client, "b").await,
        said[2].replace("1234", "[redacted]")
    );
    assert_eq!(
        ask(&client, "a").await,
        said[0].replace("1234", "[redacted]")
    );
    assert_eq!(player.left().len(), 1);
    assert_eq!(ask(&client, "bad").await, said[1]);
    assert!(player.left().is_empty());
    let again = ask(&client, "a").await;
    assert!(again.contains("not on record"), "{again}");
}

#[tokio::test]
async fn no_secret_is_kept() {
    let (_, cassette) = recorded().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("things.jsonl");
    cassette.save(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    for secret in ["hidden", "1234", "trace-"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert_eq!(text.lines().count(), 3);
    assert_eq!(Cassette::load(&path).unwrap(), cassette);
}

#[test]
fn a_cassette_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broken.jsonl");
    assert!(
        Cassette::load(&path)
            .unwrap_err()
            .to_string()
            .contains("broken.jsonl")
    );
    std::fs::write(&path, "\n{}\n").unwrap();
    let error = Cassette::load(&path).unwrap_err().to_string();
    assert!(error.contains("broken.jsonl, line 2"), "{error}");
}

#[cfg(feature = "soap")]
#[tokio::test]
async fn a_token_of_soap_is_not_kept_either() {
    use crate::soap::{NAMESPACES, Parcel, parcel};
    use swifttrack_adapters::soap::{Client, Credentials, Reply, Version, envelope};

    let server = ScriptedHttp::start(|r| {
        let answer = envelope(Version::V11, NAMESPACES, &[], &parcel()).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        vec![Act::Say(r.answer(
            200,
            "content-type: text/xml\r\n",
            &answer,
        ))]
    });
    let server = server.await.unwrap();
    let recorder = Recorder::new(http::Client::new(&server.url()).unwrap(), redaction());
    let call = |exchange: Arc<dyn http::Exchange>| async {
        let client = Client::new(exchange, "/s", Version::V11, NAMESPACES)
            .credentials(Credentials::new("alice", "secret"));
        let reply = client
            .call::<Parcel, Parcel>("urn:a", &[], &parcel(), &patient())
            .await;
        assert_eq!(reply.unwrap(), Reply::Answer(parcel()));
    };
    call(Arc::new(recorder.clone())).await;
    let cassette = recorder.cassette();
    let kept = &cassette.exchanges[0].request_body;
    assert_eq!(kept.matches("[redacted]").count(), 3, "{kept}");
    // Another nonce, another time, another digest: and still the same question.
    call(Arc::new(Player::new(cassette, redaction()))).await;
}
