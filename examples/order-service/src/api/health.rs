//! Probes: one for people, three for orchestrators.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::step::Step;

/// An older backlog than this is worth a word.
const BACKLOG_AGE_MAX_S: f64 = 30.0;

/// Down only without the database; degraded is still 200, since orders are still accepted.
pub(super) async fn health(State(app): State<Arc<App>>) -> Response {
    let mut degraded = false;
    let (database, backlog) = tokio::join!(app.db.ping(), app.outbox.backlog());
    let database = database.is_ok();
    let mut checks = Map::new();
    checks.insert("database".into(), json!({"status": word(database)}));

    let broker = app.outbox.broker_answers();
    degraded |= !broker;
    checks.insert("broker".into(), json!({"status": word(broker)}));
    checks.insert(
        "outbox".into(),
        match backlog {
            Some((rows, oldest_s)) => {
                let late = oldest_s > BACKLOG_AGE_MAX_S;
                degraded |= late;
                json!({"status": if late { "degraded" } else { "ok" },
                       "backlog": rows, "oldestSeconds": oldest_s})
            }
            None => json!({"status": "down"}),
        },
    );
    let mut partners = Map::new();
    for step in Step::ALL {
        let available = app.partners.available(step);
        degraded |= !available;
        partners.insert(
            step.service().into(),
            json!({"status": if available { "ok" } else { "degraded" }}),
        );
    }
    checks.insert("partners".into(), Value::Object(partners));
    let (code, status) = match (database, degraded) {
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "down"),
        (true, true) => (StatusCode::OK, "degraded"),
        (true, false) => (StatusCode::OK, "ok"),
    };
    (code, Json(json!({"status": status, "checks": checks}))).into_response()
}

const fn word(ok: bool) -> &'static str {
    if ok { "ok" } else { "down" }
}

/// The process runs.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Requests are welcome: the database answers and nobody asked us to stop. Partners and
/// broker do not matter here, since a restart would not cure them.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let stopping = app.stopping.load(Ordering::Relaxed);
    if !stopping && app.db.ping().await.is_ok() {
        return Json(json!({"status": "ok"})).into_response();
    }
    let why = if stopping { "stopping" } else { "database" };
    let body = Json(json!({"status": "unavailable", "reason": why}));
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

/// The tables are there and the engine runs, or this would not be answered.
pub(super) async fn started() -> Json<Value> {
    live().await
}
