//! TLS: whom a client trusts, and that a handshake is not yet a request.
//!
//! The certificates beside this file are good for a hundred years; the
//! authority's key was thrown away.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use swifttrack_adapters::{Class, Tls};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::*;

const AUTHORITY: &[u8] = include_bytes!("tls/authority.pem");

/// Stands in front of a partner, as a proxy that ends TLS. It ends when dropped.
async fn secured(server: &ScriptedHttp) -> (String, JoinSet<()>) {
    let chain = vec![CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server-key.pem")).unwrap();
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let inner = server.url().trim_start_matches("http://").to_owned();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, inner) = (acceptor.clone(), inner.clone());
            connections.spawn(async move {
                let Ok(mut outer) = acceptor.accept(socket).await else {
                    return;
                };
                let mut inner = TcpStream::connect(inner).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
            });
        }
    });
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
