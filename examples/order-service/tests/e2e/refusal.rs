//! An order that a partner refuses is undone where it was done, last first.

use serde_json::Value;

use crate::support::order::REFUSALS;
use crate::support::service::kinds;
use crate::support::{Backend, Partners, Service, on_both_backends};

on_both_backends!(a_refused_order_is_undone_everywhere);

async fn a_refused_order_is_undone_everywhere(backend: Backend) {
    let partners = Partners::start().await;
    let service = Service::start(backend, &partners).await;
    for refusal in &REFUSALS {
        let order = service
            .submit(&refusal.order(&format!("ORD-{}", refusal.code)))
            .await;
        let status = service.end_of(&order).await;

        assert_eq!(status["status"], "FAILED", "{status:#}");
        assert_eq!(
            status["processing"]["currentStage"], "COMPENSATED",
            "{status:#}"
        );
        assert_eq!(
            status["processing"]["progress"]["completed"], 0,
            "{status:#}"
        );
        assert_eq!(status["failure"]["code"], refusal.code, "{status:#}");
        assert_eq!(status["failure"]["step"], refusal.step, "{status:#}");
        assert!(
            status["failure"]["suggestedAction"].is_string(),
            "{status:#}"
        );

        for (partner, effects) in ["CMS", "WMS", "ROS"]
            .iter()
            .zip(partners.effects(&order).await)
        {
            let done = usize::from(refusal.undone.contains(partner));
            assert_eq!(effects.applied, done, "{order} at {partner}");
            assert_eq!(effects.live(), 0, "{order} at {partner}");
        }
        assert_undone_last_first(&service.events(&order).await, refusal.undone);
    }
}

fn assert_undone_last_first(events: &[Value], undone: &[&str]) {
    let kinds = kinds(events);
    let failed = kinds
        .iter()
        .position(|kind| kind.ends_with("_FAILED"))
        .unwrap();
    let mut wanted: Vec<String> = undone
        .iter()
        .rev()
        .map(|partner| format!("{partner}_COMPENSATION_EXECUTED"))
        .collect();
    wanted.extend([
        "ORDER_SAGA_COMPENSATED".to_owned(),
        "ORDER_FAILED".to_owned(),
    ]);
    assert_eq!(kinds[failed + 1..], wanted, "{kinds:?}");
}
