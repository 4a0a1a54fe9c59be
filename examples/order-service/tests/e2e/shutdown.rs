//! A service that is asked to stop leaves nothing half-done.

use crate::support::order::{HAPPY_PATH, good};
use crate::support::service::kinds;
use crate::support::{Backend, Partners, Service, on_both_backends, topic};

on_both_backends!(a_stop_in_the_middle_of_work_ends_well_and_the_next_start_goes_on);

async fn a_stop_in_the_middle_of_work_ends_well_and_the_next_start_goes_on(backend: Backend) {
    let partners = Partners::start().await;
    let mut service = Service::start(backend, &partners).await;
    partners.take(100).await;
    let mut orders = Vec::new();
    for number in 0..20 {
        orders.push(service.submit(&good(&format!("ORD-{number}"))).await);
    }
    let code = service.stop().await;
    assert_eq!(code, Some(0));
    assert!(
        service.client.get("/readyz").await.is_err(),
        "nobody listens any more"
    );

    service.restart().await;
    for order in &orders {
        assert_eq!(service.end_of(order).await["status"], "READY_FOR_DELIVERY");
        assert_eq!(
            partners.effects(order).await.map(|effects| effects.applied),
            [1, 1, 1]
        );
        assert_eq!(kinds(&service.events(order).await), HAPPY_PATH);
    }
    // What was committed before the stop was published then, or is now.
    if let Backend::PostgresAndKafka {
        brokers, topics, ..
    } = &*service.backend
    {
        for order in &orders {
            let records = topic::of_order(brokers, &topics.order, order, HAPPY_PATH.len()).await;
            let told: Vec<_> = records
                .iter()
                .map(|r| r.value["eventType"].clone())
                .collect();
            assert_eq!(told, HAPPY_PATH);
        }
    }
}
