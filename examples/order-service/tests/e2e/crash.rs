//! The service is killed, again and again, in the middle of its work, and now and then a partner
//! with it. Nothing that it accepted is lost, doubled or left half-done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::support::http::Client;
use crate::support::order::{REFUSALS, good};
use crate::support::random::Random;
use crate::support::service::kinds;
use crate::support::{Backend, Partners, Service, topic};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_lose_double_and_leak_nothing_on_sqlite() {
    killed_and_checked(Backend::sqlite(), 50).await;
}

/// Five services side by side: after each kill on Postgres the next process waits for the lease
/// of the one that died, and five can wait together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and any Kafka broker: cargo xtask test"]
async fn fifty_kills_lose_double_and_leak_nothing_on_postgres_and_kafka() {
    let services = (0..5).map(async |_| {
        killed_and_checked(Backend::postgres_and_kafka().await, 10).await;
    });
    futures_util::future::join_all(services).await;
}

/// Orders submitted between two kills.
const BATCH: usize = 12;
/// One in this many orders is refused by some partner.
const REFUSED_EVERY: usize = 4;
/// How long after the batch has begun the process dies: before the first commit, or after the
/// last order is ready, or anywhere between.
const LIFE_MS: std::ops::Range<u64> = 0..400;
/// Work that is not done in an instant has a middle to be killed in.
const PARTNER_MS: u64 = 15;
/// One in this many times a partner dies, too, just before the service does.
const PARTNER_KILLED_EVERY: usize = 5;
/// A partner that is away for a moment costs a moment, and no order its retries.
const PATIENT: [(&str, &str); 3] = [
    ("RETRY_DELAY_MS", "50"),
    ("MAX_RETRY_ATTEMPTS", "1000"),
    ("CIRCUIT_BREAKER_TIMEOUT", "100"),
];
/// How long a submission may take while the service dies under it.
const SUBMIT_LIMIT: Duration = Duration::from_secs(300);

/// The pause of a client before it tries again.
const AGAIN: Duration = Duration::from_millis(20);

/// An order and how it must end: with the code of a refusal, or ready.
#[derive(Clone, Debug)]
struct Expected {
    order: Value,
    refused: Option<&'static str>,
}

async fn killed_and_checked(backend: Backend, kills: usize) {
    let mut random = Random::seeded();
    let mut partners = Partners::start_processes();
    partners.take(PARTNER_MS).await;
    let mut service = Service::start_with(backend, &partners, &PATIENT).await;

    let mut expected = BTreeMap::new();
    let mut submissions = Vec::new();
    for kill in 0..kills {
        for number in 0..BATCH {
            let (id, order) = order(kill, number);
            submissions.push(tokio::spawn(submit(service.client, order.order.clone())));
            expected.insert(id, order);
        }
        // There is nothing to wait for: the moment is to be any.
        tokio::time::sleep(Duration::from_millis(random.within(LIFE_MS))).await;
        if kill % PARTNER_KILLED_EVERY == 0 {
            let partner = match random.within(0..3) {
                0 => &mut partners.cms,
                1 => &mut partners.wms,
                _ => &mut partners.ros,
            };
            partner.kill_and_restart();
            partner.takes(PARTNER_MS).await;
        }
        service.kill();
        service.restart().await;
        // Nobody is hit more than twice: at the third time the engine would take the order for
        // the one that kills its process, and park it.
        if let Some(older) = kill.checked_sub(1) {
            for submission in submissions.drain(..BATCH) {
                submission.await.unwrap();
            }
            for number in 0..BATCH {
                service.end_of(&order(older, number).0).await;
            }
        }
    }
    for submission in submissions {
        submission.await.unwrap();
    }

    let mut events = BTreeMap::new();
    for (id, expected) in &expected {
        let status = service.end_of(id).await;
        let story = service.events(id).await;
        let last = kinds(&story).last().copied().unwrap_or_default().to_owned();
        match expected.refused {
            Some(code) => {
                assert_eq!(status["status"], "FAILED", "{status:#}");
                assert_eq!(status["failure"]["code"], code, "{status:#}");
                assert_eq!(last, "ORDER_FAILED", "{story:#?}");
            }
            None => {
                assert_eq!(status["status"], "READY_FOR_DELIVERY", "{status:#}");
                assert_eq!(last, "ORDER_READY_FOR_DELIVERY", "{story:#?}");
            }
        }
        events.insert(id.clone(), story);
    }
    assert_ledgers(&partners, &expected).await;
    if let Backend::PostgresAndKafka {
        brokers, topics, ..
    } = &*service.backend
    {
        assert_on_topic(brokers, &topics.order, events).await;
    }
}

fn order(kill: usize, number: usize) -> (String, Expected) {
    let id = format!("ORD-{kill}-{number}");
    let serial = kill * BATCH + number;
    let expected = if serial.is_multiple_of(REFUSED_EVERY) {
        let refusal = REFUSALS[serial / REFUSED_EVERY % REFUSALS.len()];
        Expected {
            order: refusal.order(&id),
            refused: Some(refusal.code),
        }
    } else {
        Expected {
            order: good(&id),
            refused: None,
        }
    };
    (id, expected)
}

/// Submits until the answer is 202, as a client does that must not lose the order: an answer
/// that did not come may have been a yes.
async fn submit(client: Client, order: Value) {
    let accepted = async {
        loop {
            match client.post("/api/orders", &order).await {
                Ok(answer) if answer.status == 202 => return,
                Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
                // It is down; it may have accepted the order all the same.
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    let within = tokio::time::timeout(SUBMIT_LIMIT, accepted).await;
    assert!(
        within.is_ok(),
        "{order} was not accepted in {SUBMIT_LIMIT:?}"
    );
}

/// Exactly one live effect at each partner for an order that is ready, none for one that
/// failed, none for one that nobody submitted.
async fn assert_ledgers(partners: &Partners, expected: &BTreeMap<String, Expected>) {
    for (partner, ledger) in partners.ledgers().await {
        for (id, expected) in expected {
            let effects = ledger.get(id).copied().unwrap_or_default();
            let wanted = usize::from(expected.refused.is_none());
            assert_eq!(effects.live(), wanted, "{id} at {partner}: {effects:?}");
            assert!(
                effects.applied <= 1,
                "{id} at {partner} is doubled: {effects:?}"
            );
        }
        let strangers: Vec<_> = ledger
            .keys()
            .filter(|id| !expected.contains_key(*id))
            .collect();
        assert!(strangers.is_empty(), "{partner} worked for {strangers:?}");
    }
}

/// A consumer that keeps the last sequence of each order sees each event once, without gaps, and
/// just the events that the service tells of.
async fn assert_on_topic(brokers: &str, topic: &str, events: BTreeMap<String, Vec<Value>>) {
    let wanted: BTreeSet<String> = ids(events.values().flatten());
    let records = topic::read(brokers, topic, {
        let wanted = wanted.clone();
        move |records| {
            wanted.len() <= records.len()
                && wanted.is_subset(&ids(records.iter().map(|record| &record.value)))
        }
    })
    .await;
    let mut seen: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for record in records {
        let story = seen.entry(record.key.clone()).or_default();
        let sequence = usize::try_from(record.value["sequence"].as_u64().unwrap()).unwrap();
        assert!(
            sequence <= story.len() + 1,
            "{} skips to {sequence}: {story:#?}",
            record.key
        );
        if sequence == story.len() + 1 {
            story.push(record.value);
        }
    }
    assert_eq!(seen, events);
}

fn ids<'e>(events: impl Iterator<Item = &'e Value>) -> BTreeSet<String> {
    events
        .map(|event| event["eventId"].as_str().unwrap().to_owned())
        .collect()
}
