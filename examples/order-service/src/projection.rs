//! What a transition of the saga means for the order: a patch of its row and its events.
//!
//! Pure: [`project`] reads no clock and no database, so that what is written is
//! the same on every store, and its tests need none.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use swifttrack_saga::hook::{End, Failure, Transition, What};

use crate::event::{Draft, moment, rfc3339};
use crate::step::Step;

/// How an order stands. `NEEDS_ATTENTION` is a flag beside it.
pub mod status {
    /// On its way.
    pub const PROCESSING: &str = "PROCESSING";
    /// All three partners agreed.
    pub const READY: &str = "READY_FOR_DELIVERY";
    /// On its way back.
    pub const COMPENSATING: &str = "COMPENSATING";
    /// Undone, since a partner refused.
    pub const FAILED: &str = "FAILED";
    /// Undone, since somebody asked.
    pub const CANCELLED: &str = "CANCELLED";
    /// Shown in place of the others when a person must look.
    pub const NEEDS_ATTENTION: &str = "NEEDS_ATTENTION";

    /// All that a list can be filtered by.
    pub const ALL: [&str; 6] = [
        PROCESSING,
        READY,
        COMPENSATING,
        FAILED,
        CANCELLED,
        NEEDS_ATTENTION,
    ];
}

/// One step as the status shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// `PENDING`, `IN_PROGRESS`, `RETRYING`, …
    pub status: String,
    /// When it got there, for those that have ended.
    #[serde(default)]
    pub timestamp: Option<String>,
    /// The attempt that failed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// When the next one is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_retry_at: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl StepView {
    /// A step in this state.
    #[must_use]
    pub fn new(status: &str) -> Self {
        Self {
            status: status.to_owned(),
            ..Self::default()
        }
    }

    fn at(status: &str, timestamp: &str) -> Self {
        Self {
            timestamp: Some(timestamp.to_owned()),
            ..Self::new(status)
        }
    }
}

/// What changes in an order's row. Absolute values: what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    /// One of [`status`].
    pub status: Option<&'static str>,
    /// The stage beside it.
    pub stage: Option<&'static str>,
    /// Whether a person must look.
    pub attention: Option<bool>,
    /// The steps' views, by [`Step::index`].
    pub steps: [Option<StepView>; 3],
    /// What the partners gave, by [`Step::index`].
    pub partners: [Option<Value>; 3],
    /// Why it failed.
    pub failure: Option<Value>,
}

impl Patch {
    /// The later patch wins where both say something.
    pub fn merge(&mut self, later: Self) {
        fn take<T>(into: &mut Option<T>, later: Option<T>) {
            if later.is_some() {
                *into = later;
            }
        }
        take(&mut self.status, later.status);
        take(&mut self.stage, later.stage);
        take(&mut self.attention, later.attention);
        for (into, step) in self.steps.iter_mut().zip(later.steps) {
            take(into, step);
        }
        for (into, partner) in self.partners.iter_mut().zip(later.partners) {
            take(into, partner);
        }
        take(&mut self.failure, later.failure);
    }
}

/// A transition as the order's tables and topics see it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Projected {
    /// The change of the row.
    pub patch: Patch,
    /// Events of the order, in order.
    pub events: Vec<Draft>,
    /// An event for `retry-events`.
    pub retry: Option<Draft>,
}

/// What the transition means.
#[must_use]
pub fn project(transition: &Transition) -> Projected {
    let mut out = Projected::default();
    let at = rfc3339(moment(transition.at.0));
    let turned_back = happened(&mut out, transition, &at);
    for step in transition
        .starts
        .iter()
        .filter_map(|name| Step::from_name(name))
    {
        out.patch.steps[step.index()] = Some(StepView::new("IN_PROGRESS"));
        out.patch.stage = Some(step.stage());
        out.events.push(Draft::new(
            format!("{}_STARTED", step.name()),
            json!({"step": step.name(), "stage": step.stage()}),
        ));
    }
    for step in transition
        .undoes
        .iter()
        .filter_map(|name| Step::from_name(name))
    {
        out.patch.steps[step.index()] = Some(StepView::new("COMPENSATING"));
    }
    if !transition.undoes.is_empty() || turned_back {
        out.patch.status = Some(status::COMPENSATING);
        out.patch.stage = Some("COMPENSATING");
    }
    if let Some(end) = &transition.end {
        ended(&mut out, end);
    }
    out
}

/// Writes down what happened; true if the saga turns back with it.
fn happened(out: &mut Projected, transition: &Transition, at: &str) -> bool {
    let undoing = !transition.undoes.is_empty();
    match &transition.what {
        What::Started { input } => started(out, input),
        What::StepDone { step, output, .. } => {
            if let Some(step) = Step::from_name(step) {
                done(out, step, output, at);
            }
        }
        What::StepRetry {
            step,
            attempt,
            unknown,
            error,
            due,
            ..
        } => {
            if let Some(step) = Step::from_name(step) {
                let due = rfc3339(moment(due.0));
                out.patch.steps[step.index()] = Some(StepView {
                    attempt: Some(*attempt),
                    next_retry_at: Some(due.clone()),
                    error: Some(error.message.to_string()),
                    ..StepView::new("RETRYING")
                });
                let kind = if *unknown { "UNKNOWN" } else { "NOT_APPLIED" };
                out.retry = Some(retry(step, *attempt, &due, kind, error, false));
            }
        }
        What::StepFailed {
            step,
            attempt,
            unknown,
            error,
        } => {
            if let Some(step) = Step::from_name(step) {
                out.patch.steps[step.index()] = Some(StepView {
                    error: Some(error.message.to_string()),
                    ..StepView::at("FAILED", at)
                });
                out.patch.failure = Some(failure(step, error));
                out.events.push(Draft::new(
                    format!("{}_FAILED", step.prefix()),
                    json!({"step": step.name(), "attempt": attempt, "code": &*error.code,
                           "error": &*error.message, "outcomeUnknown": unknown}),
                ));
            }
            return true;
        }
        What::UndoDone { step, .. } => {
            if let Some(step) = Step::from_name(step) {
                out.patch.steps[step.index()] = Some(StepView::at("COMPENSATED", at));
                out.events.push(Draft::new(
                    format!("{}_COMPENSATION_EXECUTED", step.prefix()),
                    json!({"step": step.name()}),
                ));
            }
        }
        What::UndoRetry {
            step,
            attempt,
            error,
            due,
        } => {
            if let Some(step) = Step::from_name(step) {
                let due = rfc3339(moment(due.0));
                out.patch.steps[step.index()] = Some(StepView {
                    attempt: Some(*attempt),
                    next_retry_at: Some(due.clone()),
                    error: Some(error.message.to_string()),
                    ..StepView::new("COMPENSATING")
                });
                out.retry = Some(retry(step, *attempt, &due, "COMPENSATION", error, true));
            }
        }
        What::CancelRequested { who, reason } => {
            out.events.push(Draft::new(
                "ORDER_CANCEL_REQUESTED",
                json!({"who": &**who, "reason": &**reason}),
            ));
            return true;
        }
        What::Operator {
            verb, who, reason, ..
        } => out.events.push(Draft::new(
            "ORDER_OPERATOR_ACTION",
            json!({"verb": &**verb, "who": &**who, "reason": &**reason}),
        )),
        What::Attention { reason } | What::Parked { reason } => {
            out.patch.attention = Some(true);
            out.events.push(Draft::new(
                "ORDER_NEEDS_ATTENTION",
                json!({"reason": &**reason}),
            ));
        }
        What::AttentionCleared => out.patch.attention = Some(false),
        What::Other {
            kind: "attempt",
            step: Some(step),
        } if !undoing => {
            if let Some(step) = Step::from_name(step) {
                out.patch.steps[step.index()] = Some(StepView::new("IN_PROGRESS"));
            }
        }
        _ => {}
    }
    false
}

fn started(out: &mut Projected, input: &[u8]) {
    out.patch.status = Some(status::PROCESSING);
    out.patch.stage = Some("QUEUED");
    for step in &mut out.patch.steps {
        *step = Some(StepView::new("PENDING"));
    }
    let order: Value = serde_json::from_slice(input).unwrap_or_default();
    let count = |name: &str| order[name].as_array().map_or(0, Vec::len);
    out.events.push(Draft::new(
        "ORDER_ACCEPTED",
        json!({"clientId": order["clientId"], "priority": order["priority"],
               "packages": count("packages"), "deliveryAddresses": count("deliveryAddresses")}),
    ));
    out.events.push(Draft::new(
        "DISTRIBUTED_TRANSACTION_START",
        json!({"steps": Step::ALL.map(Step::name)}),
    ));
}

fn done(out: &mut Projected, step: Step, output: &[u8], at: &str) {
    let given: Value = serde_json::from_slice(output).unwrap_or_default();
    let completed = step.index() + 1;
    let mut data = given.as_object().cloned().unwrap_or_else(Map::new);
    data.insert(
        "progress".to_owned(),
        json!({"completed": completed, "total": Step::ALL.len()}),
    );
    out.patch.steps[step.index()] = Some(StepView::at("COMPLETED", at));
    out.patch.partners[step.index()] = Some(given);
    out.events
        .push(Draft::new(step.done_event(), Value::Object(data)));
}

fn ended(out: &mut Projected, end: &End) {
    // Whatever worried people on the way is over.
    out.patch.attention = Some(false);
    match end {
        End::Completed { .. } => {
            out.patch.status = Some(status::READY);
            out.patch.stage = Some("PROCESSING_COMPLETE");
            let total = Step::ALL.len();
            out.events.push(Draft::new(
                "ORDER_READY_FOR_DELIVERY",
                json!({"progress": {"completed": total, "total": total}}),
            ));
        }
        End::Compensated {
            undone,
            cancelled,
            failed,
            error,
            ..
        } => {
            let reason = match error {
                Some(error) if !*cancelled => error.message.to_string(),
                _ => "cancelled".to_owned(),
            };
            let undone: Vec<&str> = undone.iter().map(|name| &**name).collect();
            out.patch.stage = Some("COMPENSATED");
            out.events.push(Draft::new(
                "ORDER_SAGA_COMPENSATED",
                json!({"compensatedSteps": undone, "reason": reason}),
            ));
            if *cancelled {
                out.patch.status = Some(status::CANCELLED);
                out.events
                    .push(Draft::new("ORDER_CANCELLED", json!({"reason": reason})));
            } else {
                out.patch.status = Some(status::FAILED);
                let code = error.as_ref().map_or("", |error| &error.code);
                out.events.push(Draft::new(
                    "ORDER_FAILED",
                    json!({"step": failed.as_deref(), "code": code, "error": reason}),
                ));
            }
        }
    }
}

fn retry(
    step: Step,
    attempt: u32,
    due: &str,
    kind: &str,
    error: &Failure,
    compensation: bool,
) -> Draft {
    Draft::new(
        format!("{}_RETRY_SCHEDULED", step.prefix()),
        json!({"serviceName": step.service(), "retryCount": attempt, "nextRetryAt": due,
               "errorType": if error.code.is_empty() { kind } else { &error.code },
               "error": &*error.message, "compensation": compensation}),
    )
}

fn failure(step: Step, error: &Failure) -> Value {
    let code = if error.code.is_empty() {
        "PARTNER_UNAVAILABLE"
    } else {
        &*error.code
    };
    json!({"step": step.name(), "code": code, "message": &*error.message,
           "suggestedAction": suggested_action(code)})
}

/// What a client can do about a failed order. An order is tried again under a new id.
fn suggested_action(code: &str) -> &'static str {
    match code {
        "CREDIT_LIMIT_EXCEEDED" => "Settle open invoices or order less, then submit a new order.",
        "CLIENT_SUSPENDED" | "CONTRACT_EXPIRED" => "Contact the contract desk.",
        "INVALID_CLIENT_ID" => "Check clientId and submit a new order.",
        "INVALID_SKU" => "Check the SKUs and submit a new order.",
        "INVENTORY_SHORTAGE" | "CAPACITY_EXCEEDED" => {
            "Order less, or submit a new order when stock is back."
        }
        "UNKNOWN_ZONE" | "MISSING_DELIVERY_ADDRESSES" => {
            "Correct the delivery addresses and submit a new order."
        }
        "NO_AVAILABLE_VEHICLES" => "Submit a new order later.",
        "KEY_REUSED" | "CANCELLED" => "Submit the order under a new id.",
        _ => "Submit a new order later; if it fails again, contact support.",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use swifttrack_saga::store::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn transition(what: What, starts: &[&str], undoes: &[&str], end: Option<End>) -> Transition {
        let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
        Transition {
            saga: Uuid::nil(),
            definition: "order-processing".into(),
            version: 1,
            id: "ORD-1".into(),
            seq: 1,
            at: Timestamp(0),
            what,
            starts: names(starts),
            undoes: names(undoes),
            end,
            attachment: None,
        }
    }

    fn kinds(projected: &Projected) -> Vec<&str> {
        projected.events.iter().map(|e| e.kind.as_str()).collect()
    }

    fn done(step: &str) -> What {
        What::StepDone {
            step: step.into(),
            attempt: 1,
            output: Arc::from(&b"{}"[..]),
        }
    }

    #[test]
    fn the_happy_path_is_nine_events() {
        let completed = Some(End::Completed {
            result: Arc::from(&b"null"[..]),
        });
        let started = What::Started {
            input: Arc::from(&b"{}"[..]),
        };
        let path = [
            transition(started, &["CMS_VERIFICATION"], &[], None),
            transition(done("CMS_VERIFICATION"), &["WMS_REGISTRATION"], &[], None),
            transition(done("WMS_REGISTRATION"), &["ROS_OPTIMIZATION"], &[], None),
            transition(done("ROS_OPTIMIZATION"), &[], &[], completed),
        ];
        let projected: Vec<_> = path.iter().map(project).collect();
        assert_eq!(
            projected.iter().flat_map(kinds).collect::<Vec<_>>(),
            [
                "ORDER_ACCEPTED",
                "DISTRIBUTED_TRANSACTION_START",
                "CMS_VERIFICATION_STARTED",
                "CMS_VERIFIED",
                "WMS_REGISTRATION_STARTED",
                "WMS_REGISTERED",
                "ROS_OPTIMIZATION_STARTED",
                "ROS_OPTIMIZED",
                "ORDER_READY_FOR_DELIVERY"
            ]
        );
        assert_eq!(projected[3].patch.status, Some(status::READY));
    }

    #[test]
    fn a_rejection_is_followed_by_the_undoing_last_first() {
        let error = Failure {
            code: "UNKNOWN_ZONE".into(),
            message: "no such zone".into(),
        };
        let failed = What::StepFailed {
            step: "ROS_OPTIMIZATION".into(),
            attempt: 1,
            unknown: false,
            error: error.clone(),
        };
        let undone = |step: &str| What::UndoDone {
            step: step.into(),
            attempt: 1,
        };
        let end = End::Compensated {
            undone: vec!["WMS_REGISTRATION".into(), "CMS_VERIFICATION".into()],
            irrevocable: vec![],
            cancelled: false,
            failed: Some("ROS_OPTIMIZATION".into()),
            error: Some(error),
        };
        let path = [
            transition(failed, &[], &["WMS_REGISTRATION"], None),
            transition(undone("WMS_REGISTRATION"), &[], &["CMS_VERIFICATION"], None),
            transition(undone("CMS_VERIFICATION"), &[], &[], Some(end)),
        ];
        let mut order = Patch::default();
        let mut events = Vec::new();
        for transition in &path {
            let projected = project(transition);
            events.extend(kinds(&projected).into_iter().map(str::to_owned));
            order.merge(projected.patch);
        }
        assert_eq!(
            events,
            [
                "ROS_FAILED",
                "WMS_COMPENSATION_EXECUTED",
                "CMS_COMPENSATION_EXECUTED",
                "ORDER_SAGA_COMPENSATED",
                "ORDER_FAILED"
            ]
        );
        assert_eq!(order.status, Some(status::FAILED));
        assert_eq!(order.stage, Some("COMPENSATED"));
        assert_eq!(order.failure.expect("it failed")["code"], "UNKNOWN_ZONE");
        let steps = order.steps.map(|step| step.expect("it was touched").status);
        assert_eq!(steps, ["COMPENSATED", "COMPENSATED", "FAILED"]);
    }
    #[test]
    fn a_cancel_that_came_too_late_moves_nothing() {
        let late = What::Operator {
            verb: "cancel".into(),
            who: "local".into(),
            reason: "cancelled through the API".into(),
            applied: false,
        };
        let projected = project(&transition(late, &[], &[], None));
        assert_eq!(kinds(&projected), ["ORDER_OPERATOR_ACTION"]);
        assert_eq!(
            (projected.patch.status, projected.patch.stage),
            (None, None)
        );
    }
}
