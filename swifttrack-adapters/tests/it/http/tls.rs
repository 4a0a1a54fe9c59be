//! TLS: whom a client trusts, and that a handshake is not yet a request.

use swifttrack_adapters::{Class, Tls};
use tokio::task::JoinSet;

use super::*;
use crate::tls::{self, AUTHORITY};

async fn secured(server: &ScriptedHttp) -> (String, JoinSet<()>) {
    let (port, tasks) = tls::proxy(server.url().trim_start_matches("http://")).await;
    (format!("https://localhost:{port}"), tasks)
}

#[tokio::test]
async fn a_trusted_partner_is_spoken_to_and_its_connection_used_again() {
    let server = server(fine).await;
    let (url, _proxy) = secured(&server).await;
    let client = Client::new(&url)
        .unwrap()
        .tls(Tls::trusting(AUTHORITY).unwrap());
    for _ in 0..3 {
        let answer = post(&client, &patient()).await.unwrap();
        assert_eq!(answer.body().as_ref(), b"fine");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_partner_that_is_not_trusted_gets_no_request() {
    let server = server(fine).await;
    let (url, _proxy) = secured(&server).await;
    for client in [
        // Unknown authority.
        Client::new(&url).unwrap(),
        // Known authority, another name.
        Client::new(&url.replace("localhost", "127.0.0.1"))
            .unwrap()
            .tls(Tls::trusting(AUTHORITY).unwrap()),
    ] {
        let error = post(&client, &patient()).await.unwrap_err();
        assert_eq!(error.class(), Class::NotApplied, "{error}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn what_was_sent_by_tls_was_sent() {
    let server = server(|_| vec![Act::Close]).await;
    let (url, _proxy) = secured(&server).await;
    let client = Client::new(&url)
        .unwrap()
        .tls(Tls::trusting(AUTHORITY).unwrap());
    let error = post(&client, &patient()).await.unwrap_err();
    assert_eq!(error.class(), Class::Unknown, "{error}");
}

#[tokio::test]
async fn a_partner_without_tls_gets_no_request() {
    let server = server(fine).await;
    let client = Client::new(&server.url().replace("http://", "https://")).unwrap();
    let soon = CallContext::new("k", Duration::from_millis(500));
    let error = post(&client, &soon).await.unwrap_err();
    assert_eq!(error.class(), Class::NotApplied, "{error}");
    assert!(server.requests().is_empty());
}
