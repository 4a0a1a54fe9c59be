//! Reading orders, and cancelling one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use swifttrack_saga::By;
use swifttrack_saga::store::Sighting;

use super::extract::{OrderId, Parameters, invalid_query};
use super::problem::Problem;
use super::view::{order_body, status_body, visible_status};
use crate::app::App;
use crate::db::{Filter, OrderRecord};
use crate::event::{moment, rfc3339};
use crate::order::{IDENTIFIER_RULE, Violation, is_identifier};
use crate::projection::status;

/// A page without `limit`.
const PAGE_DEFAULT: i64 = 50;
/// The largest page.
const PAGE_MAX: i64 = 200;
/// The most events of one order: more than its steps, retries and undos can make.
const EVENTS_MAX: i64 = 10_000;

pub(super) async fn find(app: &App, id: &str) -> Result<OrderRecord, Problem> {
    let record = app.db.order(id).await?;
    record.ok_or_else(|| Problem::not_found("there is no such order"))
}

pub(super) async fn one(
    State(app): State<Arc<App>>,
    OrderId(id): OrderId,
) -> Result<Json<Value>, Problem> {
    let record = find(&app, &id).await?;
    let submitted = app.db.submitted(&record).await?;
    Ok(Json(order_body(&record, &submitted)))
}

pub(super) async fn status(
    State(app): State<Arc<App>>,
    OrderId(id): OrderId,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let record = find(&app, &id).await?;
    let tag = format!("W/\"{}\"", record.version);
    let mut response = if matches(&headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Json(status_body(&app, &record)).into_response()
    };
    let tag = HeaderValue::from_str(&tag).map_err(|_| Problem::internal("a bad ETag"))?;
    response.headers_mut().insert(header::ETAG, tag);
    let cache = HeaderValue::from_static("private, no-cache");
    response.headers_mut().insert(header::CACHE_CONTROL, cache);
    Ok(response)
}

/// Weak comparison, as `If-None-Match` asks for.
fn matches(headers: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|candidate| candidate.trim() == "*" || opaque(candidate) == opaque(tag))
}

pub(super) async fn events(
    State(app): State<Arc<App>>,
    OrderId(id): OrderId,
) -> Result<Response, Problem> {
    find(&app, &id).await?;
    let events = app.db.events(&id, 0, EVENTS_MAX).await?;
    let envelopes: Vec<String> = events.into_iter().map(|(_, envelope)| envelope).collect();
    // Byte for byte what was published, so it is not parsed again.
    let body = format!("{{\"events\":[{}]}}", envelopes.join(","));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let filter = filter(&parameters)?;
    let page = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let mut orders = app
        .db
        .list(&Filter {
            limit: filter.limit + 1,
            ..filter
        })
        .await?;
    let more = orders.len() > page;
    orders.truncate(page);
    let next = orders
        .last()
        .filter(|_| more)
        .map(|last| format!("{}.{}", last.created_us, last.id));
    let orders: Vec<Value> = orders
        .iter()
        .map(|order| {
            json!({
                "id": order.id,
                "clientId": order.client_id,
                "priority": order.priority,
                "status": visible_status(&order.status, order.attention),
                "createdAt": rfc3339(moment(order.created_us)),
                "updatedAt": rfc3339(moment(order.updated_us)),
            })
        })
        .collect();
    Ok(Json(json!({"orders": orders, "nextCursor": next})))
}

fn filter(Parameters(query): &Parameters) -> Result<Filter, Problem> {
    let mut errors = Vec::new();
    let mut fail = |name: &str, detail: &str| {
        errors.push(Violation {
            pointer: format!("?{name}"),
            detail: detail.to_owned(),
        });
    };
    let mut filter = Filter {
        limit: PAGE_DEFAULT,
        ..Filter::default()
    };
    for (name, value) in query {
        match name.as_str() {
            "limit" => match value.parse() {
                Ok(limit) if (1..=PAGE_MAX).contains(&limit) => filter.limit = limit,
                _ => fail(name, "must be a whole number from 1 to 200"),
            },
            "cursor" => match value.split_once('.').map(|(at, id)| (at.parse(), id)) {
                Some((Ok(at), id)) if is_identifier(id) => {
                    filter.before = Some((at, id.to_owned()))
                }
                _ => fail(name, "must be a nextCursor of an earlier page"),
            },
            "status" if status::ALL.contains(&value.as_str()) => {
                filter.status = Some(value.clone());
            }
            "status" => fail(name, &format!("must be one of {}", status::ALL.join(", "))),
            "clientId" if is_identifier(value) => filter.client_id = Some(value.clone()),
            "clientId" => fail(name, IDENTIFIER_RULE),
            "since" => match chrono::DateTime::parse_from_rfc3339(value) {
                Ok(at) => filter.since_us = Some(at.timestamp_micros()),
                Err(_) => fail(name, "must be an RFC 3339 time"),
            },
            _ => fail(
                name,
                "is not known; use limit, cursor, status, clientId, since",
            ),
        }
    }
    if errors.is_empty() {
        Ok(filter)
    } else {
        Err(invalid_query(errors))
    }
}

pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    OrderId(id): OrderId,
) -> Result<Response, Problem> {
    let by = By::new("local", "cancelled through the API");
    let met = app
        .engine
        .cancel(app.saga.definition().name(), &id, by)
        .await
        .map_err(|error| {
            tracing::warn!(order = %id, %error, "a cancel did not reach the store");
            Problem::unavailable("the order cannot be cancelled now").retry_after(2)
        })?;
    let at = format!("/api/orders/{id}");
    match met {
        Sighting::Accepted { .. } => Ok((
            StatusCode::ACCEPTED,
            [(header::LOCATION, format!("{at}/status"))],
            Json(json!({
                "status": "accepted",
                "orderId": id,
                "message": "The order will be cancelled and what was done for it undone",
            })),
        )
            .into_response()),
        Sighting::NotFound => Err(Problem::not_found("there is no such order").at(at)),
        Sighting::PastPivot => {
            Err(Problem::conflict("the order is past the point of no return").at(at))
        }
        Sighting::Ended => Err(Problem::conflict("the order is finished").at(at)),
        Sighting::Moved { .. } => Err(Problem::conflict("the order has moved on").at(at)),
    }
}
