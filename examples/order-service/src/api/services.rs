//! The partners as this replica sees them, and the way to call one well again.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::Utc;
use serde_json::{Map, Value, json};

use super::extract::Segment;
use super::problem::Problem;
use crate::app::App;
use crate::step::Step;

pub(super) async fn health(State(app): State<Arc<App>>) -> Json<Value> {
    let services: Map<String, Value> = Step::ALL
        .into_iter()
        .map(|step| (step.service().to_owned(), app.partners.view(step)))
        .collect();
    Json(json!({"instance": app.instance, "services": services}))
}

/// Tells every replica, and this one at once.
pub(super) async fn recover(
    State(app): State<Arc<App>>,
    Segment(service): Segment,
) -> Result<Json<Value>, Problem> {
    let Some(step) = Step::from_service(&service) else {
        return Err(Problem::not_found("the services are cms, wms and ros"));
    };
    let now = Utc::now().timestamp_micros();
    app.db
        .tell(step.service(), crate::control::RECOVER, now)
        .await?;
    let before = app.partners.view(step);
    crate::control::recover(&app, step);
    crate::control::announce(&app, step, &before).await;
    let mut body = app.partners.view(step);
    body["service"] = json!(step.service());
    body["status"] = json!("recovered");
    Ok(Json(body))
}
