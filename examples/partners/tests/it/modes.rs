//! Every way in which an answer can go wrong, on the wire.

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::http::Client;
use crate::rig::{BOTH, Rig, Who};

/// A rule for one hit of the forward operation, and a client that asks for it.
async fn hit(who: Who, mode: &str) -> (Rig, Client) {
    let rig = Rig::new(who).await;
    rig.fault(json!({"op": who.ops()[0], "mode": mode, "count": 1}))
        .await;
    let mut client = Client::to(rig.addr()).await;
    who.forward("A", "k", "x")
        .with("X-Request-ID", "r-1")
        .send(&mut client)
        .await;
    (rig, client)
}

/// What the same request comes to once the rule is gone.
async fn after(rig: &Rig) -> String {
    rig.tell(rig.who.forward("A", "k", "x")).await
}

#[tokio::test]
async fn a_forward_call_delayed_past_its_cancel_is_refused_by_the_tombstone() {
    let late = async |who: Who| {
        let rig = Rig::new(who).await;
        let rule = json!({"op": who.ops()[0], "mode": "latency", "ms": 1000, "count": 1});
        rig.fault(rule).await;
        let started = Instant::now();
        let mut client = Client::to(rig.addr()).await;
        who.forward("A", "k", "x").send(&mut client).await;
        rig.tell(who.cancel("A", "u")).await;
        assert_eq!(rig.effects().await, ["A TOMBSTONED"]);

        let answer = client.answer().await.unwrap();
        assert!(started.elapsed() >= Duration::from_secs(1));
        assert_eq!(who.told(&answer), "CANCELLED");
        assert_eq!(rig.effects().await, ["A TOMBSTONED"]);
    };
    tokio::join!(late(Who::Cms), late(Who::Ros));
}

#[tokio::test]
async fn a_delayed_call_arrives_although_its_sender_has_gone() {
    for who in BOTH {
        let rig = Rig::new(who).await;
        let rule = json!({"op": who.ops()[0], "mode": "latency", "ms": 100, "count": 1});
        rig.fault(rule).await;
        let mut client = Client::to(rig.addr()).await;
        who.forward("A", "k", "x").send(&mut client).await;
        assert!(
            timeout(Duration::from_millis(20), client.answer())
                .await
                .is_err()
        );
        drop(client);
        while rig.effects().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(after(&rig).await, "REPLAYED");
    }
}

#[tokio::test]
async fn a_hang_has_done_it_and_says_nothing() {
    for who in BOTH {
        let (rig, mut client) = hit(who, "hang").await;
        while rig.effects().await.is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(
            timeout(Duration::from_millis(100), client.answer())
                .await
                .is_err()
        );
        assert!(client.received().is_empty());
        drop(client);
        assert_eq!(after(&rig).await, "REPLAYED");
        rig.running.shutdown().await;
    }
}

#[tokio::test]
async fn a_hang_that_ends_answers() {
    let rig = Rig::new(Who::Ros).await;
    rig.fault(json!({"op": "*", "mode": "hang", "ms": 50, "count": 1}))
        .await;
    let started = Instant::now();
    assert_eq!(rig.tell(Who::Ros.forward("A", "k", "x")).await, "DONE");
    assert!(started.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn an_error_has_done_nothing() {
    for who in BOTH {
        let (rig, mut client) = hit(who, "error").await;
        let answer = client.answer().await.unwrap();
        assert_eq!(who.told(&answer), "BUSY");
        assert!(answer.text().contains("NOT_APPLIED"));
        assert_eq!(answer.header("x-request-id"), Some("r-1"));
        assert!(rig.effects().await.is_empty());
        assert_eq!(after(&rig).await, "DONE");

        rig.fault(json!({"op": "*", "mode": "error", "count": 1, "code": "INTERNAL"}))
            .await;
        let answer = who.forward("B", "l", "x").once(rig.addr()).await;
        assert_eq!(who.told(&answer), "INTERNAL");
        assert!(answer.text().contains("UNKNOWN"));
    }
}

#[tokio::test]
async fn a_reset_before_has_done_nothing() {
    for who in BOTH {
        let (rig, mut client) = hit(who, "reset_before").await;
        assert_eq!(
            client.answer().await.unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
        assert!(rig.effects().await.is_empty());
        assert_eq!(after(&rig).await, "DONE");
    }
}

#[tokio::test]
async fn a_reset_after_commit_has_done_it() {
    for who in BOTH {
        let (rig, mut client) = hit(who, "reset_after_commit").await;
        assert_eq!(
            client.answer().await.unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
        assert!(client.received().is_empty());
        assert_eq!(rig.effects().await, ["A APPLIED"]);
        assert_eq!(after(&rig).await, "REPLAYED");
    }
}

#[tokio::test]
async fn garbage_is_no_answer_and_it_was_done() {
    for who in BOTH {
        let (rig, mut client) = hit(who, "garbage").await;
        assert_eq!(
            client.answer().await.unwrap_err().kind(),
            ErrorKind::UnexpectedEof
        );
        assert_eq!(client.received().len(), 96);
        assert!(client.received().iter().all(|byte| !byte.is_ascii()));
        assert_eq!(after(&rig).await, "REPLAYED");
    }
}

#[tokio::test]
async fn half_a_reply_is_the_first_half_and_an_end() {
    for who in BOTH {
        let (rig, mut client) = hit(who, "half_reply").await;
        assert_eq!(
            client.answer().await.unwrap_err().kind(),
            ErrorKind::UnexpectedEof
        );
        let half = client.received().to_vec();
        assert!(half.starts_with(b"HTTP/1.1 2"), "{half:?}");
        let whole = who.forward("A", "k", "x").once(rig.addr()).await;
        assert_eq!(who.told(&whole), "REPLAYED");
        assert!(half.len() < whole.head.len() + whole.body.len());
    }
}

#[tokio::test]
async fn a_duplicate_reply_is_the_same_twice_and_the_connection_stays() {
    for who in BOTH {
        let (_rig, mut client) = hit(who, "duplicate_reply").await;
        let first = client.answer().await.unwrap();
        let second = client.answer().await.unwrap();
        assert_eq!(who.told(&first), "DONE");
        assert_eq!(first.body, second.body);
        assert_eq!(second.header("x-request-id"), Some("r-1"));
        who.get("A")
            .with("X-Request-ID", "r-2")
            .send(&mut client)
            .await;
        let third = client.answer().await.unwrap();
        assert_eq!(third.header("x-request-id"), Some("r-2"));
    }
}

#[tokio::test]
async fn rules_hit_the_operation_that_they_name() {
    for who in BOTH {
        let rig = Rig::new(who).await;
        let [_, cancel, get] = who.ops();
        rig.fault(json!({"op": cancel, "mode": "error"})).await;
        rig.fault(json!({"op": get, "mode": "error", "count": 1}))
            .await;
        assert_eq!(rig.tell(who.forward("A", "k", "x")).await, "DONE");
        assert_eq!(rig.tell(who.get("A")).await, "BUSY");
        assert_eq!(rig.tell(who.get("A")).await, "VERIFIED");
        assert_eq!(rig.tell(who.cancel("A", "u")).await, "BUSY");
        let gone = crate::http::ask(rig.control(), "DELETE", "/_fault", &[], "").await;
        assert_eq!(gone.status, 204);
        assert_eq!(rig.tell(who.cancel("A", "u")).await, "CANCELLED");
        assert_eq!(rig.effects().await, ["A APPLIED", "A CANCELLED"]);
    }
}
