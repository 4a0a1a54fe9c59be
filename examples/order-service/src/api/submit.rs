//! `POST /api/orders`: an order is accepted once, durably, before the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::problem::Problem;
use crate::app::App;
use crate::event::rfc3339;
use crate::idempotency::{Idempotency, KEY_BYTES_MAX, KeyTaken};
use crate::order::NewOrder;
use crate::step::Step;

/// The largest body.
pub(super) const BODY_BYTES_MAX: usize = 256 * 1024;
/// How much of a body that is larger is read all the same.
const DISCARD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// A key can be taken by another start between our look and our commit, once.
const KEY_TRIES_MAX: u32 = 3;

pub(super) async fn submit(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let json = read_json(&headers, body).await?;
    let order = NewOrder::parse(&json).map_err(|errors| {
        Problem::invalid("the order breaks the rules that are listed in errors").with_errors(errors)
    })?;
    let idempotency = key(&headers)?.map(|key| Idempotency::new(key, &order));
    for _ in 0..KEY_TRIES_MAX {
        if let Some(idempotency) = &idempotency
            && known(&app, &order, idempotency).await?
        {
            return Ok(accepted(&app, &order));
        }
        if start(&app, &order, idempotency.clone()).await? {
            return Ok(accepted(&app, &order));
        }
    }
    Err(Problem::unavailable("the idempotency key is being used by another request").retry_after(1))
}

/// Whether the key stands for this very order already.
async fn known(app: &App, order: &NewOrder, idempotency: &Idempotency) -> Result<bool, Problem> {
    let now = Utc::now().timestamp_micros();
    let used = app.db.key(&order.client_id, &idempotency.key, now).await?;
    match used {
        None => Ok(false),
        Some((fingerprint, _)) if fingerprint == idempotency.fingerprint => Ok(true),
        Some((_, other)) => Err(Problem::key_reused(format!(
            "this Idempotency-Key was used for order {other} with another body; send a new key"
        ))),
    }
}

/// Starts the saga; false if another start took the key meanwhile.
async fn start(
    app: &App,
    order: &NewOrder,
    idempotency: Option<Idempotency>,
) -> Result<bool, Problem> {
    let started = match idempotency.clone() {
        Some(attachment) => {
            app.engine
                .start_with(&app.saga, &order.id, order, Arc::new(attachment))
                .await
        }
        None => app.engine.start(&app.saga, &order.id, order).await,
    };
    match started {
        Ok(started) => {
            if started.existing
                && let Some(idempotency) = idempotency
            {
                let now = Utc::now().timestamp_micros();
                return Ok(app.db.remember_key(order, &idempotency, now).await?);
            }
            Ok(true)
        }
        Err(error) if error.refusal().is_some_and(|why| why.is::<KeyTaken>()) => Ok(false),
        Err(error) if error.is_conflict() => Err(Problem::conflict(format!(
            "order {} exists with another content; submit this one under a new id",
            order.id
        ))
        .at(format!("/api/orders/{}", order.id))),
        Err(error) if error.is_invalid() => Err(Problem::invalid(error.to_string())),
        Err(error) => {
            tracing::warn!(order = %order.id, error = %chain(&error), "an order was not accepted");
            Err(Problem::unavailable("the order was not accepted; send it again").retry_after(2))
        }
    }
}

/// An error and its causes, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn accepted(app: &App, order: &NewOrder) -> Response {
    let endpoint = format!("/api/orders/{}/status", order.id);
    let estimate = app
        .estimate
        .completion(Utc::now(), &Step::ALL, |step| app.partners.wait(step));
    let body = json!({
        "status": "accepted",
        "orderId": order.id,
        "message": "Order accepted and is being processed asynchronously",
        "processing": {
            "status": "PROCESSING",
            "mode": "ASYNCHRONOUS",
            "estimatedCompletion": estimate.map(rfc3339),
            "statusEndpoint": endpoint,
        }
    });
    (
        StatusCode::ACCEPTED,
        [
            (header::LOCATION, format!("/api/orders/{}", order.id)),
            (header::RETRY_AFTER, "1".to_owned()),
        ],
        axum::Json(body),
    )
        .into_response()
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().map(str::trim).unwrap_or_default();
    if text.is_empty() || text.len() > KEY_BYTES_MAX || values.next().is_some() {
        return Err(Problem::malformed(
            "Idempotency-Key must stand once, with 1 to 255 visible ASCII characters",
        ));
    }
    Ok(Some(text.to_owned()))
}

pub(super) async fn read_json(headers: &HeaderMap, body: Body) -> Result<Value, Problem> {
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let is_json = media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"));
    if !is_json {
        return Err(Problem::unsupported(
            "Content-Type must be application/json",
        ));
    }
    let too_large = || Problem::too_large("the body may have at most 262144 bytes");
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    // Who asks before it sends needs not send.
    if headers.contains_key(header::EXPECT) && announced.is_some_and(|n| n > BODY_BYTES_MAX) {
        return Err(too_large());
    }
    let bytes = tokio::time::timeout(BODY_TIMEOUT, collect(body))
        .await
        .map_err(|_| Problem::timeout("the body did not arrive within 10 seconds"))?
        .map_err(|_| Problem::malformed("the body was cut off"))?
        .ok_or_else(too_large)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::malformed(format!("the body is not JSON: {error}")))
}

/// The body, or nothing if it is too large. That is then read and thrown away, up to a limit: to
/// close a connection on which more arrives would cost the client the answer.
async fn collect(mut body: Body) -> Result<Option<Vec<u8>>, axum::Error> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        length += data.len();
        if length <= BODY_BYTES_MAX {
            bytes.extend_from_slice(&data);
        } else if length <= DISCARD_BYTES_MAX {
            bytes = Vec::new();
        } else {
            break;
        }
    }
    Ok((length <= BODY_BYTES_MAX).then_some(bytes))
}
