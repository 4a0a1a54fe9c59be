//! Server-sent events, fed from the tables, so that any replica serves any order.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::extract::OrderId;
use super::orders::find;
use super::problem::Problem;
use super::view::status_body;
use crate::app::App;
use crate::db::Cursor;
use crate::feed::PAGE;

/// How often a comment keeps the connection alive.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often an order's row is looked at for changes that are no events, such as a planned retry.
const STATUS_POLL: Duration = Duration::from_secs(1);
/// Events that wait for a slow client; beyond it the stream waits, and holds up nobody else.
const WAITING_MAX: usize = 64;

struct Client {
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
}

impl Client {
    /// False once the client is gone or the service stops.
    async fn send(&self, event: Event) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            sent = self.events.send(event) => sent.is_ok(),
        }
    }
}

fn open(app: &App) -> (Client, Response) {
    let (events, mut waiting) = mpsc::channel(WAITING_MAX);
    let client = Client {
        events,
        stop: app.closing.clone(),
    };
    let stream = futures_util::stream::poll_fn(move |cx| {
        waiting
            .poll_recv(cx)
            .map(|event| event.map(Ok::<_, Infallible>))
    });
    (client, respond(stream))
}

fn respond(stream: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    let keep_alive = KeepAlive::new().interval(HEARTBEAT).text("heartbeat");
    let mut response = Sse::new(stream).keep_alive(keep_alive).into_response();
    // A proxy that collects the stream before it passes it on would defeat it.
    let buffering = HeaderName::from_static("x-accel-buffering");
    response
        .headers_mut()
        .insert(buffering, HeaderValue::from_static("no"));
    response
}

fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("last-event-id")?.to_str().ok()
}

/// One order: its events from the start or after `Last-Event-ID`, and its status whenever it changes.
pub(super) async fn order(
    State(app): State<Arc<App>>,
    OrderId(id): OrderId,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    find(&app, &id).await?;
    let after = match last_event_id(&headers) {
        None | Some("") => 0,
        Some(id) => id
            .parse()
            .map_err(|_| Problem::malformed("Last-Event-ID must be an event's sequence"))?,
    };
    let (client, response) = open(&app);
    tokio::spawn(async move {
        if let Err(error) = follow_order(&app, &id, after, &client).await {
            tracing::debug!(order = %id, %error, "an order's stream ended");
        }
    });
    Ok(response)
}

async fn follow_order(
    app: &App,
    id: &str,
    mut after: i64,
    client: &Client,
) -> Result<(), sqlx::Error> {
    // Listening begins before the first read, so that nothing falls between.
    let mut feed = app.feed.listen();
    let mut version = None;
    loop {
        // Read before the events and told after them: no status runs ahead of its events.
        let Some(record) = app.db.order(id).await? else {
            return Ok(());
        };
        for (sequence, envelope) in app.db.events(id, after, PAGE).await? {
            after = sequence;
            let event = Event::default().event("order").data(envelope);
            if !client.send(event.id(sequence.to_string())).await {
                return Ok(());
            }
        }
        if version != Some(record.version) {
            version = Some(record.version);
            let body = status_body(app, &record).to_string();
            if !client
                .send(Event::default().event("status").data(body))
                .await
            {
                return Ok(());
            }
        }
        let moved = async {
            loop {
                match feed.recv().await {
                    Ok(page)
                        if page.is_empty() || page.iter().any(|event| event.order_id == id) =>
                    {
                        return true;
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return true,
                    Err(RecvError::Closed) => return false,
                }
            }
        };
        tokio::select! {
            () = client.stop.cancelled() => return Ok(()),
            () = client.events.closed() => return Ok(()),
            open = moved => if !open { return Ok(()) },
            () = tokio::time::sleep(STATUS_POLL) => {}
        }
    }
}

/// All orders, from now on or after `Last-Event-ID`.
pub(super) async fn all(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last = last_event_id(&headers).filter(|id| !id.is_empty());
    let known = last.and_then(decode);
    let end = app.db.feed_end().await?;
    // A cursor from beyond the end belongs to another database: its events are gone.
    let expired = last.is_some() && known.is_none_or(|cursor| cursor > end);
    let cursor = if expired { end } else { known.unwrap_or(end) };
    let (client, response) = open(&app);
    tokio::spawn(async move {
        let reset = Event::default().event("reset").data("{}");
        if expired && !client.send(reset).await {
            return;
        }
        // A place without an event, so that a client whose connection ends before the first
        // event resumes from here.
        if !client.send(Event::default().id(encode(cursor))).await {
            return;
        }
        if let Err(error) = follow_all(&app, cursor, &client).await {
            tracing::debug!(%error, "a stream of all orders ended");
        }
    });
    Ok(response)
}

async fn follow_all(app: &App, mut cursor: Cursor, client: &Client) -> Result<(), sqlx::Error> {
    let mut feed = app.feed.listen();
    loop {
        loop {
            let page = app.db.feed(cursor, PAGE).await?;
            let Some(last) = page.last() else { break };
            cursor = last.cursor;
            for event in page {
                let id = encode(event.cursor);
                let event = Event::default().event("order").data(event.envelope).id(id);
                if !client.send(event).await {
                    return Ok(());
                }
            }
        }
        tokio::select! {
            () = client.stop.cancelled() => return Ok(()),
            () = client.events.closed() => return Ok(()),
            moved = feed.recv() => if matches!(moved, Err(RecvError::Closed)) { return Ok(()) },
        }
    }
}

fn encode(cursor: Cursor) -> String {
    format!("{:x}-{:x}", cursor.xid, cursor.position)
}

fn decode(id: &str) -> Option<Cursor> {
    let (xid, position) = id.split_once('-')?;
    Some(Cursor {
        xid: i64::from_str_radix(xid, 16).ok()?,
        position: i64::from_str_radix(position, 16).ok()?,
    })
}
