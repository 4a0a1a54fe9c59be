//! The first-byte rule.

use swifttrack_adapters::Class;
use tokio::net::TcpListener;

use super::*;

async fn error_of(script: impl Fn(&Received) -> Vec<Act> + Send + Sync + 'static) -> Error {
    let server = server(script).await;
    let client = Client::new(&server.url()).unwrap().body_bytes_max(1000);
    let error = post(&client, &patient()).await.unwrap_err();
    assert_eq!(server.requests().len(), 1, "nothing is sent twice");
    server.closed(1).await;
    error
}

#[tokio::test]
async fn what_was_not_sent_was_not_applied() {
    // A port that was free a moment ago: nobody listens.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = post(&Client::new(&url).unwrap(), &patient())
        .await
        .unwrap_err();
    assert_eq!(error.class(), Class::NotApplied, "{error}");
    assert!(error.counts_against_partner(), "{error}");
}

#[tokio::test]
async fn a_name_that_does_not_exist_was_not_applied() {
    let client = Client::new("http://partner.invalid").unwrap();
    let error = post(&client, &patient()).await.unwrap_err();
    assert_eq!(error.class(), Class::NotApplied, "{error}");
}

#[tokio::test]
async fn a_spent_deadline_is_our_own_affair() {
    let server = server(fine).await;
    let client = Client::new(&server.url()).unwrap();
    let error = post(&client, &CallContext::new("k", Duration::ZERO))
        .await
        .unwrap_err();
    assert!(error.is_local() && error.is_not_applied(), "{error}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_full_window_is_our_own_affair() {
    let server = server(|_| vec![Act::Hang]).await;
    let client = Client::new(&server.url()).unwrap().connections_max(1);
    let blocked = tokio::spawn({
        let client = client.clone();
        async move { post(&client, &patient()).await }
    });
    while server.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    let soon = CallContext::new("k", Duration::from_millis(20));
    let error = post(&client, &soon).await.unwrap_err();
    assert!(error.is_local() && error.is_not_applied(), "{error}");
    blocked.abort();
}

#[tokio::test]
async fn what_was_sent_and_not_answered_is_unknown() {
    for act in [Act::Close, Act::Reset] {
        let shown = format!("{act:?}");
        let error = error_of(move |_| vec![act.clone()]).await;
        assert_eq!(error.class(), Class::Unknown, "{shown}: {error}");
    }
}

#[tokio::test]
async fn a_hanging_partner_is_given_up_at_the_deadline() {
    let server = server(|_| vec![Act::Hang]).await;
    let client = Client::new(&server.url()).unwrap();
    let soon = CallContext::new("k", Duration::from_millis(50));
    let error = post(&client, &soon).await.unwrap_err();
    assert_eq!(error.class(), Class::Unknown, "{error}");
    assert!(error.message().contains("deadline"), "{error}");
    server.closed(1).await;
}

#[tokio::test]
async fn half_an_answer_is_unknown() {
    for cut in [10, 60, 95] {
        let error = error_of(move |r| {
            let whole = r.answer(200, "", "a body of some length, of which a part will do");
            vec![Act::Say(whole[..cut].to_vec()), Act::Close]
        })
        .await;
        assert!(error.is_unknown(), "{cut}: {error}");
    }
}

#[tokio::test]
async fn what_is_not_http_breaks_the_protocol() {
    let error = error_of(|_| vec![Act::Say(b"\x00\x01SSH-2.0 hello\r\n\r\n".to_vec())]).await;
    assert_eq!(error.class(), Class::Protocol, "{error}");
}

#[tokio::test]
async fn an_answer_beyond_the_cap_is_not_read() {
    let announced = error_of(|r| vec![Act::Say(r.answer(200, "", &"x".repeat(1001)))]).await;
    assert_eq!(announced.class(), Class::Protocol, "{announced}");
    assert!(
        announced.message().contains("body_bytes_max"),
        "{announced}"
    );

    let endless = error_of(|r| {
        let id = r.header("x-request-id").unwrap();
        let head =
            format!("HTTP/1.1 200 OK\r\nx-request-id: {id}\r\ntransfer-encoding: chunked\r\n\r\n");
        let mut acts = vec![Act::Say(head.into_bytes())];
        acts.extend(
            (0..11).map(|_| Act::Say(format!("64\r\n{}\r\n", "x".repeat(100)).into_bytes())),
        );
        acts.push(Act::Hang);
        acts
    })
    .await;
    assert_eq!(endless.class(), Class::Protocol, "{endless}");
}

#[tokio::test]
async fn an_endless_head_is_not_read() {
    let error = error_of(|_| {
        let mut acts = vec![Act::Say(b"HTTP/1.1 200 OK\r\n".to_vec())];
        acts.extend(
            (0..100).map(|n| Act::Say(format!("h{n}: {}\r\n", "x".repeat(1000)).into_bytes())),
        );
        acts.push(Act::Hang);
        acts
    })
    .await;
    assert!(error.is_unknown(), "{error}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in [300, 301, 302, 303, 307, 308] {
        let error = error_of(move |r| {
            let elsewhere = "location: http://127.0.0.1:1/\r\n";
            vec![Act::Say(r.answer(status, elsewhere, ""))]
        })
        .await;
        assert_eq!(error.class(), Class::Unknown, "{error}");
        assert!(error.message().contains("not followed"), "{error}");
    }
}

#[tokio::test]
async fn an_interim_answer_is_not_the_answer() {
    let server = server(|r| {
        let mut bytes = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".to_vec();
        bytes.extend(r.answer(200, "", "fine"));
        vec![Act::Say(bytes)]
    })
    .await;
    let client = Client::new(&server.url()).unwrap();
    assert_eq!(post(&client, &patient()).await.unwrap().status(), 200);
}
