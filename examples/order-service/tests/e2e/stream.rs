//! An order is watched as it runs.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Incoming;
use serde_json::Value;

use crate::support::order::{HAPPY_PATH, good};
use crate::support::{Backend, LIMIT, Partners, Service, on_both_backends};

on_both_backends!(
    a_stream_tells_the_whole_story_and_resumes,
    one_stream_tells_of_all_orders,
);

async fn a_stream_tells_the_whole_story_and_resumes(backend: Backend) {
    let partners = Partners::start().await;
    let service = Service::start(backend, &partners).await;
    let order = service.submit(&good("ORD-001")).await;

    let path = format!("/api/orders/{order}/stream");
    let mut stream = Stream::open(&service, &path, None).await;
    let last = HAPPY_PATH.len();
    let mut ids = Vec::new();
    while ids.len() < last {
        let event = stream.next("order").await;
        let sequence = event.data["sequence"].as_u64().unwrap();
        assert_eq!(event.id, sequence.to_string());
        assert_eq!(event.data["eventType"], HAPPY_PATH[ids.len()]);
        ids.push(sequence);
    }
    assert_eq!(
        stream.next("status").await.data["status"],
        "READY_FOR_DELIVERY"
    );

    let mut resumed = Stream::open(&service, &path, Some("7")).await;
    assert_eq!(resumed.next("order").await.id, "8");
}

async fn one_stream_tells_of_all_orders(backend: Backend) {
    let partners = Partners::start().await;
    let service = Service::start(backend, &partners).await;
    let mut stream = Stream::open(&service, "/api/events/stream", None).await;
    for number in 1..=3 {
        service.submit(&good(&format!("ORD-{number}"))).await;
    }
    let mut ready = Vec::new();
    while ready.len() < 3 {
        let event = stream.next("order").await;
        if event.data["eventType"] == "ORDER_READY_FOR_DELIVERY" {
            ready.push(event.data["orderId"].as_str().unwrap().to_owned());
        }
    }
    ready.sort_unstable();
    assert_eq!(ready, ["ORD-1", "ORD-2", "ORD-3"]);
}

/// `text/event-stream`, as far as the service uses it.
struct Stream {
    body: Incoming,
    text: String,
}

#[derive(Debug, Default)]
struct Event {
    kind: String,
    id: String,
    data: Value,
}

impl Stream {
    async fn open(service: &Service, path: &str, last_event_id: Option<&str>) -> Self {
        let mut request = Request::get(path);
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = service
            .client
            .open(request.body(Bytes::new()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            body: response.into_body(),
            text: String::new(),
        }
    }

    /// The next event of this kind.
    async fn next(&mut self, kind: &str) -> Event {
        let found = tokio::time::timeout(LIMIT, async {
            loop {
                let event = self.any().await;
                if event.kind == kind {
                    return event;
                }
            }
        });
        found
            .await
            .unwrap_or_else(|_| panic!("no {kind} event came"))
    }

    async fn any(&mut self) -> Event {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let event = parse(block);
                self.text = rest.to_owned();
                return event;
            }
            let frame = self
                .body
                .frame()
                .await
                .expect("the stream goes on")
                .unwrap();
            if let Ok(bytes) = frame.into_data() {
                self.text.push_str(std::str::from_utf8(&bytes).unwrap());
            }
        }
    }
}

fn parse(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        match line
            .split_once(':')
            .map(|(name, value)| (name, value.trim_start()))
        {
            Some(("event", kind)) => event.kind = kind.to_owned(),
            Some(("id", id)) => event.id = id.to_owned(),
            Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
            // A comment keeps the connection alive.
            _ => {}
        }
    }
    event
}
