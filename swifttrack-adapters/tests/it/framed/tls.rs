//! TLS under frames: whom a client trusts, and that a handshake is not yet a request.

use swifttrack_adapters::Tls;
use swifttrack_adapters::framed::{Client, Endpoint, Options, ServerOptions};
use tokio::task::JoinSet;

use super::sockets::server;
use super::support::{Echo, within, word};
use crate::tls::{self, AUTHORITY};

fn client(host: &str, port: u16, authority: Option<&[u8]>) -> Client<Echo> {
    let rules = authority.map_or_else(Tls::webpki, |pem| Tls::trusting(pem).unwrap());
    Client::new(Endpoint::tls(host, port, rules), Options::new())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_share_a_connection_whatever_a_record_of_tls_holds() {
    let (inner, _shutdown, _serving) = server(ServerOptions::new()).await;
    let (port, _proxy) = tls::proxy(&format!("127.0.0.1:{inner}")).await;
    let client = client("localhost", port, Some(AUTHORITY));
    let mut calls = JoinSet::new();
    for n in 0..200 {
        let client = client.clone();
        calls.spawn(async move {
            let text = word(&format!("{n} {}", "x".repeat(n * 300)));
            let answer = client.call(&text, &within(60_000)).await.unwrap();
            assert_eq!(answer, text);
        });
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
    assert_eq!(client.snapshot().connected, 1);
}

#[tokio::test]
async fn a_partner_that_is_not_trusted_gets_no_request() {
    let (inner, _shutdown, _serving) = server(ServerOptions::new()).await;
    let (port, _proxy) = tls::proxy(&format!("127.0.0.1:{inner}")).await;
    for (what, client) in [
        ("an unknown authority", client("localhost", port, None)),
        ("another name", client("127.0.0.1", port, Some(AUTHORITY))),
        ("no TLS at all", client("localhost", inner, Some(AUTHORITY))),
    ] {
        let error = client
            .call(&word("ask"), &within(60_000))
            .await
            .unwrap_err();
        assert!(error.is_not_applied(), "{what}: {error:?}");
        assert!(error.counts_against_partner(), "{what}: {error:?}");
        assert_eq!(client.snapshot().connected, 0, "{what}");
    }
}

#[tokio::test]
async fn what_was_sent_by_tls_was_sent() {
    let (inner, _shutdown, _serving) = server(ServerOptions::new()).await;
    let (port, _proxy) = tls::proxy(&format!("127.0.0.1:{inner}")).await;
    let client = client("localhost", port, Some(AUTHORITY));
    let error = client
        .call(&word("reset"), &within(60_000))
        .await
        .unwrap_err();
    assert!(error.is_unknown(), "{error:?}");
    let answer = client.call(&word("well"), &within(60_000)).await.unwrap();
    assert_eq!(answer, word("well"));
}
