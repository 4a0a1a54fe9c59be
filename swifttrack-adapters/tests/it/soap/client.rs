//! The client: what is sent, and what each answer means.

use swifttrack_adapters::conformance::{Act, Received, ScriptedHttp};
use swifttrack_adapters::soap::{
    self, Client, Credentials, Fault, FaultCode, Limits, Reply, Version, envelope,
};
use swifttrack_adapters::{Class, Error, http};

use super::{Known, NAMESPACES, PARCEL, Parcel, parcel, wrap};
use crate::http::patient;

type Read = Result<Reply<Parcel, Parcel>, Error>;

async fn server(script: impl Fn(&Received) -> Vec<Act> + Send + Sync + 'static) -> ScriptedHttp {
    ScriptedHttp::start(script).await.unwrap()
}

fn client(server: &ScriptedHttp, version: Version) -> Client {
    let exchange = http::Client::new(&server.url()).unwrap();
    Client::new(exchange, "/service", version, NAMESPACES)
}

async fn call(client: &Client) -> Read {
    client
        .call("urn:test/Send", &[], &parcel(), &patient())
        .await
}

/// What a call makes of this answer.
async fn answered(status: u16, content_type: &'static str, body: String) -> Read {
    let server = server(move |r| {
        let headers = format!("content-type: {content_type}\r\n");
        vec![Act::Say(r.answer(status, &headers, &body))]
    })
    .await;
    call(&client(&server, Version::V11)).await
}

#[tokio::test]
async fn each_version_says_its_action_in_its_own_way() {
    for (version, content_type, action) in [
        (
            Version::V11,
            "text/xml; charset=utf-8",
            Some("\"urn:test/Send\""),
        ),
        (
            Version::V12,
            "application/soap+xml; charset=utf-8; action=\"urn:test/Send\"",
            None,
        ),
    ] {
        let server = server(move |r| {
            let message = soap::parse::<Known, Parcel>(&r.body, version, &Limits::new()).unwrap();
            let answer = envelope(version, NAMESPACES, &[], &message.body).unwrap();
            let headers = format!("content-type: {}\r\n", version.content_type());
            vec![Act::Say(r.answer(
                200,
                &headers,
                std::str::from_utf8(&answer).unwrap(),
            ))]
        })
        .await;
        let reply = call(&client(&server, version)).await.unwrap();
        assert_eq!(reply, Reply::Answer(parcel()));
        let request = &server.requests()[0];
        assert_eq!((&*request.method, &*request.path), ("POST", "/service"));
        assert_eq!(request.header("content-type"), Some(content_type));
        assert_eq!(request.header("soapaction"), action);
    }
}

#[tokio::test]
async fn credentials_are_shown_with_every_request_anew() {
    let server = server(|r| vec![Act::Say(r.answer(500, "", ""))]).await;
    let client = client(&server, Version::V11).credentials(Credentials::new("alice", "secret"));
    let _ = call(&client).await;
    let _ = call(&client).await;
    let bodies: Vec<_> = server
        .requests()
        .into_iter()
        .map(|request| String::from_utf8(request.body).unwrap())
        .collect();
    assert!(
        bodies
            .iter()
            .all(|body| body.contains("UsernameToken") && !body.contains("secret"))
    );
    assert_ne!(bodies[0], bodies[1]);
}

#[tokio::test]
async fn a_fault_is_told_by_its_content() {
    let fault = Fault {
        code: FaultCode::Server,
        reason: "busy".into(),
        detail: Some(parcel()),
    };
    let bytes = envelope(Version::V11, NAMESPACES, &[], &fault).unwrap();
    for status in [200, 400, 500, 503] {
        let body = String::from_utf8(bytes.clone()).unwrap();
        let reply = answered(status, "text/xml", body).await.unwrap();
        assert_eq!(reply, Reply::Fault(fault.clone()), "{status}");
    }
}

#[tokio::test]
async fn a_page_of_a_box_in_the_middle_is_unknown() {
    for status in [200, 404, 502, 503] {
        let error = answered(status, "text/html", "<h1>Bad Gateway</h1>".into())
            .await
            .unwrap_err();
        assert_eq!(error.class(), Class::Unknown, "{error}");
        let error = answered(status, "text/xml; charset=utf-16", wrap("", PARCEL))
            .await
            .unwrap_err();
        assert_eq!(error.class(), Class::Unknown, "{error}");
    }
}

#[tokio::test]
async fn what_breaks_the_contract_breaks_the_protocol() {
    for (status, body) in [
        (200, wrap("", &PARCEL.replace("P-1", "&x;"))),
        (200, wrap("", "<t:Other/>")),
        (200, String::new()),
        (
            200,
            wrap(
                "<s:Header><o:X xmlns:o='urn:o' s:mustUnderstand='1'/></s:Header>",
                PARCEL,
            ),
        ),
        // It answers, and says at once that it failed.
        (500, wrap("", PARCEL)),
    ] {
        let error = answered(status, "text/xml", body).await.unwrap_err();
        assert_eq!(error.class(), Class::Protocol, "{error}");
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_not_sent() {
    let server = server(|_| vec![Act::Close]).await;
    let parcel = Parcel {
        id: "\u{1}".into(),
        ..parcel()
    };
    let client = client(&server, Version::V11);
    let reply: Read = client.call("urn:a", &[], &parcel, &patient()).await;
    assert_eq!(reply.unwrap_err().class(), Class::Rejected);
    let reply: Read = client
        .call("urn:a\r\n", &[], &Parcel::default(), &patient())
        .await;
    assert!(reply.unwrap_err().is_local());
    assert_eq!(server.connections(), 0);
}
