//! Client and server against each other, over TCP.

use std::sync::Arc;

use swifttrack_adapters::framed::{Client, Endpoint, Options, ServerOptions, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::server::Obeys;
use super::support::{Echo, told, within, word};

pub(crate) async fn server(options: ServerOptions) -> (u16, oneshot::Sender<()>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (shutdown, down) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let down = told(down);
        serve::<Echo, _>(listener, Arc::new(Obeys), options, down).await;
    });
    (port, shutdown, serving)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_calls_share_one_connection() {
    let (port, shutdown, serving) = server(ServerOptions::new().window(32)).await;
    let client = Client::<Echo>::new(Endpoint::tcp("127.0.0.1", port), Options::new());
    let mut calls = JoinSet::new();
    for n in 0..2000 {
        let client = client.clone();
        calls.spawn(async move {
            let text = word(&format!("{n} {}", "x".repeat(n % 700)));
            let answer = client.call(&text, &within(60_000)).await.unwrap();
            assert_eq!(answer, text);
        });
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
    let seen = client.snapshot();
    assert_eq!(
        (seen.connected, seen.answered, seen.in_flight),
        (1, 2000, 0)
    );
    shutdown.send(()).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_server_that_restarts_is_found_again() {
    let (port, shutdown, serving) = server(ServerOptions::new()).await;
    let client = Client::<Echo>::new(Endpoint::tcp("localhost", port), Options::new());
    client.call(&word("before"), &within(60_000)).await.unwrap();
    shutdown.send(()).unwrap();
    serving.await.unwrap();

    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(serve::<Echo, _>(
        listener,
        Arc::new(Obeys),
        ServerOptions::new(),
        std::future::pending(),
    ));
    let context = within(60_000);
    loop {
        match client.call(&word("after"), &context).await {
            Ok(answer) => break assert_eq!(answer, word("after")),
            Err(error) => assert!(error.is_not_applied(), "{error:?}"),
        }
    }
}

#[tokio::test]
async fn every_mishap_is_unknown_and_the_next_call_works() {
    let (port, _shutdown, _serving) = server(ServerOptions::new()).await;
    let client = Client::<Echo>::new(Endpoint::tcp("127.0.0.1", port), Options::new());
    for mishap in ["half", "garbage", "reset", "panic"] {
        let answer = client.call(&word("well"), &within(60_000)).await.unwrap();
        assert_eq!(answer, word("well"));
        let error = client
            .call(&word(mishap), &within(60_000))
            .await
            .unwrap_err();
        assert!(error.is_unknown(), "{mishap}: {error:?}");
    }
    client.call(&word("twice"), &within(60_000)).await.unwrap();
    client.ping(&within(60_000)).await.unwrap();
    assert_eq!(client.snapshot().strays, 1);
}
