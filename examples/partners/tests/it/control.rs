//! The control port, and how a partner starts.

use partners::{Config, spawn_cms, spawn_ros};
use serde_json::json;

use crate::http::ask;
use crate::rig::{BOTH, Rig, Who};

#[tokio::test]
async fn a_rule_that_makes_no_sense_is_a_400_that_names_the_member() {
    for who in BOTH {
        let rig = Rig::new(who).await;
        for (body, pointers) in [
            ("{", &[""][..]),
            (r#"{"op":"register","mode":"slow"}"#, &["/op", "/mode"]),
            (
                r#"{"op":"*","mode":"error","code":"507","count":-1}"#,
                &["/count", "/code"],
            ),
            (
                r#"{"op":"*","mode":"latency","probability":2}"#,
                &["/probability", "/ms"],
            ),
        ] {
            let answer = ask(rig.control(), "POST", "/_fault", &[], body).await;
            assert_eq!(answer.status, 400, "{body}");
            assert_eq!(
                answer.header("content-type"),
                Some("application/problem+json")
            );
            let problem = answer.json();
            let found: Vec<_> = problem["errors"]
                .as_array()
                .unwrap()
                .iter()
                .map(|e| &e["pointer"])
                .collect();
            assert_eq!(found, pointers, "{body}");
        }
        assert_eq!(rig.tell(who.forward("A", "k", "x")).await, "DONE");
    }
}

#[tokio::test]
async fn the_ledger_is_shown_in_pages() {
    let rig = Rig::new(Who::Ros).await;
    for order in ["A", "B", "C"] {
        rig.tell(Who::Ros.forward(order, "", "x")).await;
    }
    rig.tell(Who::Ros.cancel("B", "undo")).await;
    let page = async |query: &str| {
        let path = format!("/_ledger{query}");
        ask(rig.control(), "GET", &path, &[], "").await
    };
    let middle = page("?after=1&limit=2").await.json();
    assert_eq!(middle["next"], 3);
    let orders: Vec<_> = middle["effects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["orderId"])
        .collect();
    assert_eq!(orders, ["B", "C"]);
    let last = page("?after=3").await.json();
    let effect = &last["effects"][0];
    assert_eq!(
        [
            &effect["n"],
            &effect["op"],
            &effect["key"],
            &effect["orderId"],
            &effect["effect"]
        ],
        [
            &json!(4),
            &json!("delete"),
            &json!("undo"),
            &json!("B"),
            &json!("CANCELLED")
        ]
    );
    assert!(
        effect["at"]
            .as_str()
            .unwrap()
            .parse::<chrono::DateTime<chrono::Utc>>()
            .is_ok()
    );
    assert_eq!(effect.as_object().unwrap().len(), 6);
    let empty = page("?after=4").await.json();
    assert_eq!(empty, json!({"effects": [], "next": 4}));
    for query in ["?after=x", "?limit=0", "?limit=10001", "?page=2"] {
        assert_eq!(page(query).await.status, 400, "{query}");
    }
    assert_eq!(
        ask(rig.control(), "GET", "/_fault", &[], "").await.status,
        405
    );
    assert_eq!(
        ask(rig.control(), "GET", "/other", &[], "").await.status,
        404
    );
}

#[tokio::test]
async fn a_taken_port_is_named_before_anything_is_started() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let ledgers = || std::fs::read_dir(data.path()).unwrap().count();
    for config in [
        Config::new(&address, data.path()),
        Config::new("127.0.0.1:0", data.path()).control(&address),
    ] {
        let error = spawn_cms(config).await.unwrap_err();
        assert!(error.is_listen());
        assert!(error.to_string().contains(&address), "{error}");
        assert_eq!(ledgers(), 0);
    }
    let error = spawn_ros(Config::new("nonsense", data.path()))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("nonsense"), "{error}");
}

#[tokio::test]
async fn a_ledger_has_one_partner_at_a_time() {
    let rig = Rig::new(Who::Cms).await;
    let second = spawn_cms(Config::new("127.0.0.1:0", rig.data.path()))
        .await
        .unwrap_err();
    assert!(second.is_ledger());
    // Another partner keeps its own file in the same folder.
    let other = spawn_ros(Config::new("127.0.0.1:0", rig.data.path()))
        .await
        .unwrap();
    other.shutdown().await;
}
