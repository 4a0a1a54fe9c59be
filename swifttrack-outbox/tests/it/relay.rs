//! What every relay owes, on every database and broker.

use swifttrack_outbox::Event;

use crate::support::{Broker, Db, PATIENCE, Tune, check_order, laws, numbered};

laws!(
    what_was_committed_is_published_in_order_and_deleted,
    what_comes_while_it_runs_is_published,
    a_record_has_its_headers,
    binary_and_empty_payloads_arrive_as_they_were,
    a_second_relay_takes_its_share_and_gives_it_back,
);

async fn what_was_committed_is_published_in_order_and_deleted(db: Db, broker: Broker) {
    let topic = broker.topic().await;
    db.append(&numbered(&topic, 20, 1, 5_000)).await.unwrap();
    let relay = broker.relay(&db, Tune::default()).await;
    db.until_empty().await;
    relay.shutdown(PATIENCE).await.unwrap();
    assert_eq!(check_order(&broker.read(&topic).await, 20, 250), 0);
}

async fn what_comes_while_it_runs_is_published(db: Db, broker: Broker) {
    let topic = broker.topic().await;
    let relay = broker.relay(&db, Tune::default()).await;
    relay.ready().await;
    let waker = relay.waker();
    for round in 0..50 {
        db.append(&numbered(&topic, 5, 1 + 2 * round, 10))
            .await
            .unwrap();
        waker.wake();
    }
    db.until_empty().await;
    relay.shutdown(PATIENCE).await.unwrap();
    assert_eq!(check_order(&broker.read(&topic).await, 5, 100), 0);
}

async fn a_record_has_its_headers(db: Db, broker: Broker) {
    let topic = broker.topic().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let event = Event::new(topic.clone(), "k", "ORDER_ACCEPTED", b"1".to_vec())
        .header("tenant", "lk")
        .traceparent(trace);
    let id = event.id().to_string();
    db.append(&[event]).await.unwrap();
    let relay = broker.relay(&db, Tune::default()).await;
    db.until_empty().await;
    relay.shutdown(PATIENCE).await.unwrap();
    let read = broker.read(&topic).await;
    let mut headers = read[0].headers.clone();
    headers.sort();
    let expected = [
        ("ce_id", id.as_str()),
        ("ce_source", "/test"),
        ("ce_specversion", "1.0"),
        ("ce_type", "ORDER_ACCEPTED"),
        ("content-type", "application/json"),
        ("id", &id),
        ("tenant", "lk"),
        ("traceparent", trace),
        ("type", "ORDER_ACCEPTED"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(headers, expected);
}

async fn binary_and_empty_payloads_arrive_as_they_were(db: Db, broker: Broker) {
    let topic = broker.topic().await;
    let payloads = [
        vec![0, 159, 146, 150, 0],
        b"a\0b".to_vec(),
        Vec::new(),
        "å∂".into(),
    ];
    let events: Vec<Event> = payloads
        .iter()
        .map(|payload| Event::new(topic.clone(), "k", "T", payload.clone()))
        .collect();
    db.append(&events).await.unwrap();
    let relay = broker.relay(&db, Tune::default()).await;
    db.until_empty().await;
    relay.shutdown(PATIENCE).await.unwrap();
    let read: Vec<_> = broker
        .read(&topic)
        .await
        .into_iter()
        .map(|r| r.payload)
        .collect();
    assert_eq!(read, payloads);
}

async fn a_second_relay_takes_its_share_and_gives_it_back(db: Db, broker: Broker) {
    let topic = broker.topic().await;
    let first = broker.relay(&db, Tune::default()).await;
    testkit::wait_until("one has all", PATIENCE, async || first.status().slots == 64).await;
    let second = broker.relay(&db, Tune::default()).await;
    testkit::wait_until("both have half", PATIENCE, async || {
        first.status().slots == 32 && second.status().slots == 32
    })
    .await;
    db.append(&numbered(&topic, 100, 1, 2_000)).await.unwrap();
    db.until_empty().await;
    first.shutdown(PATIENCE).await.unwrap();
    testkit::wait_until("the other has all", PATIENCE, async || {
        second.status().slots == 64
    })
    .await;
    db.append(&numbered(&topic, 100, 21, 1_000)).await.unwrap();
    db.until_empty().await;
    second.shutdown(PATIENCE).await.unwrap();
    assert_eq!(check_order(&broker.read(&topic).await, 100, 30), 0);
}
