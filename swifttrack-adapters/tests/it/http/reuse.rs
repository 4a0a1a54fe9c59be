//! Connections are used again when that is safe, and only then.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;

use super::*;

fn client(server: &ScriptedHttp) -> Client {
    Client::new(&server.url()).unwrap()
}

#[tokio::test]
async fn one_connection_serves_one_call_after_another() {
    let server = server(fine).await;
    let client = client(&server);
    for _ in 0..5 {
        let answer = post(&client, &patient()).await.unwrap();
        assert_eq!(answer.body().as_ref(), b"fine");
    }
    assert_eq!(server.connections(), 1);
    let request = &server.requests()[4];
    assert_eq!((&*request.method, &*request.path), ("POST", "/effect"));
    assert_eq!(request.body, b"do it");
    assert_eq!(request.header("host"), Some(client.authority()));
}

#[tokio::test]
async fn a_chunked_answer_and_one_without_body_leave_the_connection_usable() {
    let server = server(|request| {
        let id = request.header("x-request-id").unwrap();
        let chunked = format!(
            "HTTP/1.1 200 OK\r\nX-Request-ID: {id}\r\ntransfer-encoding: chunked\r\n\r\n\
             3\r\nfin\r\n1\r\ne\r\n0\r\n\r\n"
        );
        vec![Act::Say(match request.connection {
            0 if request.path == "/effect" => chunked.into_bytes(),
            _ => request.answer(204, "", ""),
        })]
    })
    .await;
    let client = client(&server);
    assert_eq!(
        post(&client, &patient()).await.unwrap().body().as_ref(),
        b"fine"
    );
    let request = Request::delete("/other").body(Bytes::new()).unwrap();
    let answer = client.exchange(request, &patient()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.body().len()), (204, 0));
    assert_eq!(
        post(&client, &patient()).await.unwrap().body().as_ref(),
        b"fine"
    );
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn two_calls_at_a_time_have_two_connections() {
    let both = Arc::new(Barrier::new(2));
    let server = server(fine).await;
    let client = client(&server);
    let call = |client: Client, both: Arc<Barrier>| async move {
        both.wait().await;
        post(&client, &patient()).await.unwrap()
    };
    tokio::join!(
        call(client.clone(), Arc::clone(&both)),
        call(client.clone(), both)
    );
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_connection_whose_peer_says_close_is_not_used_again() {
    let server = server(|r| {
        vec![
            Act::Say(r.answer(200, "connection: close\r\n", "")),
            Act::Close,
        ]
    })
    .await;
    let client = client(&server);
    post(&client, &patient()).await.unwrap();
    post(&client, &patient()).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_noticed_before_it_is_used() {
    let server = server(|r| vec![Act::Say(r.answer(200, "", "")), Act::Close]).await;
    let client = client(&server);
    for calls in 1..=3 {
        post(&client, &patient()).await.unwrap();
        server.closed(calls).await;
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn a_second_answer_in_one_piece_is_nobodys() {
    let server = server(|r| vec![Act::Say(r.answer(200, "", "twice").repeat(2))]).await;
    let client = client(&server);
    for _ in 0..3 {
        assert!(post(&client, &patient()).await.is_ok());
    }
    assert_eq!(server.connections(), 3);
}

/// The second answer comes once the first was taken, so that the connection lies idle meanwhile.
#[tokio::test]
async fn a_second_answer_to_an_idle_connection_is_nobodys() {
    let server = server(|r| {
        let answer = r.answer(200, "", "twice");
        vec![
            Act::Say(answer.clone()),
            Act::Pause(Duration::from_millis(20)),
            Act::Say(answer),
            Act::Close,
        ]
    })
    .await;
    let client = client(&server);
    for calls in 1..=3 {
        assert!(post(&client, &patient()).await.is_ok());
        server.closed(calls).await;
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn an_answer_to_another_request_is_unknown_and_closes_the_connection() {
    let server = server(|r| match r.connection {
        0 => vec![Act::Say(r.answer_as(
            "00000000-0000-7000-8000-000000000000",
            200,
            "",
            "x",
        ))],
        1 => vec![Act::Say(
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(),
        )],
        2 => {
            let id = r.header("x-request-id").unwrap();
            vec![Act::Say(r.answer(
                200,
                &format!("x-request-id: {id}\r\n"),
                "",
            ))]
        }
        _ => fine(r),
    })
    .await;
    let client = client(&server);
    for connections in 1..=3 {
        let error = post(&client, &patient()).await.unwrap_err();
        assert!(error.is_unknown(), "{error}");
        assert!(error.message().contains("x-request-id"), "{error}");
        server.closed(connections).await;
    }
    assert!(post(&client, &patient()).await.is_ok());
}

#[tokio::test]
async fn without_echo_every_call_has_its_own_connection() {
    let server = server(|_| {
        vec![Act::Say(
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(),
        )]
    })
    .await;
    let client = client(&server).without_echo();
    post(&client, &patient()).await.unwrap();
    post(&client, &patient()).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_dropped_call_closes_its_connection() {
    let server = server(|r| match r.connection {
        0 => vec![Act::Hang],
        _ => fine(r),
    })
    .await;
    let client = client(&server);
    let call = tokio::spawn({
        let client = client.clone();
        async move { post(&client, &patient()).await }
    });
    while server.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    call.abort();
    server.closed(1).await;
    assert!(post(&client, &patient()).await.is_ok());
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn idle_connections_are_few_and_do_not_grow_old() {
    let server = server(fine).await;
    let client = client(&server)
        .idle_max(1)
        .idle_age_max(Duration::from_millis(50));
    let calls = (0..4).map(|_| async { post(&client, &patient()).await });
    for answer in futures_util::future::join_all(calls).await {
        answer.unwrap();
    }
    // Without any further call: three were not kept, and the last one grew old.
    server.closed(4).await;
    post(&client, &patient()).await.unwrap();
    assert_eq!(server.connections(), 5);
}

#[tokio::test]
async fn a_call_waits_for_a_free_connection() {
    let server = server(fine).await;
    let client = client(&server).connections_max(1);
    let calls = (0..8).map(|_| async { post(&client, &patient()).await });
    for answer in futures_util::future::join_all(calls).await {
        answer.unwrap();
    }
    assert_eq!(server.connections(), 1);
}
