//! How an order's row looks from outside.

use chrono::Utc;
use serde_json::{Value, json};

use crate::app::App;
use crate::db::OrderRecord;
use crate::event::{moment, rfc3339};
use crate::projection::{StepView, status};
use crate::step::Step;

/// The status that clients see: the flag hides what is beneath it.
pub(super) fn visible_status(status: &str, attention: bool) -> &str {
    if attention {
        status::NEEDS_ATTENTION
    } else {
        status
    }
}

fn views(record: &OrderRecord) -> [StepView; 3] {
    Step::ALL.map(|step| {
        let view = serde_json::from_str(&record.steps[step.index()]);
        view.unwrap_or_else(|_| StepView::new("PENDING"))
    })
}

/// What a partner gave, as long as it stands.
fn standing(record: &OrderRecord, views: &[StepView; 3], step: Step) -> Option<Value> {
    if views[step.index()].status == "COMPENSATED" {
        return None;
    }
    let given = record.partners[step.index()].as_deref()?;
    serde_json::from_str(given).ok()
}

/// The body of `GET /api/orders/{id}/status`.
pub(super) fn status_body(app: &App, record: &OrderRecord) -> Value {
    let views = views(record);
    let total = Step::ALL.len();
    let completed = Step::ALL
        .iter()
        .filter(|step| standing(record, &views, **step).is_some())
        .count();
    let steps: Vec<Value> = Step::ALL
        .iter()
        .zip(&views)
        .map(|(step, view)| {
            let attention =
                record.attention && (view.next_retry_at.is_some() || view.status == "COMPENSATING");
            let mut json = json!({
                "step": step.name(),
                "name": step.title(),
                "status": if attention { status::NEEDS_ATTENTION } else { &view.status },
                "timestamp": view.timestamp,
            });
            let details = [
                ("attempt", json!(view.attempt)),
                ("nextRetryAt", json!(view.next_retry_at)),
                ("error", json!(view.error)),
            ];
            for (name, value) in details {
                if !value.is_null() {
                    json[name] = value;
                }
            }
            json
        })
        .collect();
    let mut body = json!({
        "orderId": record.id,
        "status": visible_status(&record.status, record.attention),
        "processing": {
            "currentStage": record.stage,
            "progress": {
                "completed": completed,
                "total": total,
                "percentage": completed * 100 / total,
            },
            "estimatedCompletion": estimate(app, record, &views),
        },
        "steps": steps,
    });
    let failed = matches!(
        record.status.as_str(),
        status::FAILED | status::COMPENSATING
    );
    if let Some(failure) = record.failure.as_deref().filter(|_| failed) {
        body["failure"] = serde_json::from_str(failure).unwrap_or_default();
    }
    body
}

/// When the order is ready, as far as we know; none once it is or cannot be.
fn estimate(app: &App, record: &OrderRecord, views: &[StepView; 3]) -> Option<String> {
    if record.status != status::PROCESSING || record.attention {
        return None;
    }
    let open: Vec<Step> = Step::ALL
        .into_iter()
        .filter(|step| views[step.index()].status != "COMPLETED")
        .collect();
    let now = Utc::now();
    let completion = app.estimate.completion(now, &open, |step| {
        let planned = views[step.index()].next_retry_at.as_deref();
        let retry = planned
            .and_then(|at| chrono::DateTime::parse_from_rfc3339(at).ok())
            .and_then(|at| (at.to_utc() - now).to_std().ok())
            .unwrap_or_default();
        app.partners.wait(step).max(retry)
    });
    completion.map(rfc3339)
}

/// The body of `GET /api/orders/{id}`.
pub(super) fn order_body(record: &OrderRecord, submitted: &crate::order::NewOrder) -> Value {
    let views = views(record);
    let partner = |step: Step| standing(record, &views, step);
    let mut body = serde_json::to_value(submitted).unwrap_or_default();
    body["status"] = json!(visible_status(&record.status, record.attention));
    body["createdAt"] = json!(rfc3339(moment(record.created_us)));
    body["updatedAt"] = json!(rfc3339(moment(record.updated_us)));
    body["partners"] = json!({
        "cms": partner(Step::Cms),
        "wms": partner(Step::Wms),
        "ros": partner(Step::Ros),
    });
    body
}
