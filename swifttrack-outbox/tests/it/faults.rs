//! What goes wrong, and what stays true then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use swifttrack_outbox::{Event, Poison, blocked_keys, dead_events, drop_dead, replay, slot_owners};

use crate::support::{Broker, Db, PATIENCE, Tune, cell, check_order, numbered};

macro_rules! in_memory {
    ($($law:ident),+ $(,)?) => {
        cell!(sqlite_memory, sqlite, memory, [], $($law)+);
        cell!(postgres_memory, postgres, memory,
            [ignore = "needs Postgres: cargo xtask test"], $($law)+);
    };
}

in_memory!(
    a_refused_event_blocks_its_key_until_it_is_replayed,
    a_dropped_event_lets_its_key_go_on,
    a_block_outlives_its_relay,
    a_dead_letter_lets_its_key_go_on,
    a_halted_topic_moves_nothing,
    a_topic_that_is_away_holds_up_no_other,
    a_lost_acknowledgement_repeats_and_keeps_the_order,
    a_broker_out_of_reach_loses_nothing,
    a_dropped_relay_is_succeeded_when_its_lease_has_run_out,
    every_slot_has_an_owner_and_a_name,
);

/// The memory publisher refuses the payload "2" of `key-0`.
fn refuse_second(broker: &Broker) {
    let Broker::Memory(memory) = broker else {
        unreachable!()
    };
    memory.refuse(|record| {
        let poison = record.key == "key-0" && record.payload.as_deref() == Some(b"2");
        poison.then(|| "too large".to_owned())
    });
}

fn heal(broker: &Broker) {
    let Broker::Memory(memory) = broker else {
        unreachable!()
    };
    memory.refuse_nothing();
}

async fn until_dead(db: &Db, count: usize) {
    testkit::wait_until("the event is dead", PATIENCE, async || {
        dead_events(&db.database(), 0, 10).await.unwrap().len() == count
    })
    .await;
}

async fn until_rows(db: &Db, rows: u64) {
    testkit::wait_until("so many rows wait", PATIENCE, async || {
        db.rows().await == rows
    })
    .await;
}

async fn a_refused_event_blocks_its_key_until_it_is_replayed(db: Db, broker: Broker) {
    refuse_second(&broker);
    db.append(&numbered("t", 4, 1, 40)).await.unwrap();
    let relay = broker.relay(&db, Tune::default()).await;
    until_dead(&db, 1).await;
    until_rows(&db, 8).await; // 3 to 10 of key-0
    let dead = &dead_events(&db.database(), 0, 10).await.unwrap()[0];
    assert_eq!(
        (dead.key.as_str(), dead.reason.as_str(), dead.blocks),
        ("key-0", "too large", true)
    );
    let blocked = blocked_keys(&db.database(), 10).await.unwrap();
    assert_eq!((blocked[0].seq, blocked[0].waiting), (dead.seq, 8));
    // What comes later waits too.
    db.append(&numbered("t", 4, 11, 4)).await.unwrap();
    until_rows(&db, 9).await;
    heal(&broker);
    assert!(replay(&db.database(), dead.seq).await.unwrap());
    db.until_empty().await;
    until_dead(&db, 0).await;
    relay.shutdown(PATIENCE).await.unwrap();
    assert_eq!(check_order(&broker.read("t").await, 4, 11), 0);
}

async fn a_dropped_event_lets_its_key_go_on(db: Db, broker: Broker) {
    refuse_second(&broker);
    db.append(&numbered("t", 1, 1, 4)).await.unwrap();
    let relay = broker.relay(&db, Tune::default()).await;
    until_dead(&db, 1).await;
    let dead = &dead_events(&db.database(), 0, 10).await.unwrap()[0];
    assert!(drop_dead(&db.database(), dead.seq).await.unwrap());
    assert!(!drop_dead(&db.database(), dead.seq).await.unwrap());
    db.until_empty().await;
    relay.shutdown(PATIENCE).await.unwrap();
    let read: Vec<u64> = broker.read("t").await.iter().map(|r| r.number()).collect();
    assert_eq!(read, [1, 3, 4]);
}

async fn a_block_outlives_its_relay(db: Db, broker: Broker) {
    refuse_second(&broker);
    db.append(&numbered("t", 1, 1, 4)).await.unwrap();
    let first = broker.relay(&db, Tune::default()).await;
    until_dead(&db, 1).await;
    first.shutdown(PATIENCE).await.unwrap();
    heal(&broker);
    let second = broker.relay(&db, Tune::default()).await;
    second.ready().await;
    // Another key tells that the backlog was read.
    db.append(&[Event::new("t", "other", "T", b"1".to_vec())])
        .await
        .unwrap();
    until_rows(&db, 2).await;
    assert_eq!(
        broker
            .read("t")
            .await
            .iter()
            .filter(|r| r.key == "key-0")
            .count(),
        1
    );
    let dead = &dead_events(&db.database(), 0, 10).await.unwrap()[0];
    replay(&db.database(), dead.seq).await.unwrap();
    db.until_empty().await;
    second.shutdown(PATIENCE).await.unwrap();
    let read = broker.read("t").await;
    let numbers: Vec<u64> = read
        .iter()
        .filter(|r| r.key == "key-0")
        .map(|r| r.number())
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
}

async fn a_dead_letter_lets_its_key_go_on(db: Db, broker: Broker) {
    refuse_second(&broker);
    db.append(&numbered("t", 1, 1, 4)).await.unwrap();
    let tune = Tune {
        poison: Poison::DeadLetter,
        ..Tune::default()
    };
    let relay = broker.relay(&db, tune).await;
    db.until_empty().await;
    until_dead(&db, 1).await;
    relay.shutdown(PATIENCE).await.unwrap();
    let read: Vec<u64> = broker.read("t").await.iter().map(|r| r.number()).collect();
    assert_eq!(read, [1, 3, 4]);
}

async fn a_halted_topic_moves_nothing(db: Db, broker: Broker) {
    refuse_second(&broker);
    db.append(&numbered("t", 1, 1, 4)).await.unwrap();
    let tune = Tune {
        poison: Poison::Halt,
        ..Tune::default()
    };
    let relay = broker.relay(&db, tune).await;
    testkit::wait_until("it pauses", PATIENCE, async || {
        relay.status().paused_topics == 1
    })
    .await;
    until_rows(&db, 3).await;
    until_dead(&db, 0).await;
    relay.shutdown(PATIENCE).await.unwrap();
}

async fn a_topic_that_is_away_holds_up_no_other(db: Db, broker: Broker) {
    let Broker::Memory(memory) = &broker else {
        unreachable!()
    };
    memory.topic_away("away");
    db.append(&numbered("away", 3, 1, 30)).await.unwrap();
    db.append(&numbered("here", 3, 1, 30)).await.unwrap();
    let relay = broker.relay(&db, Tune::default()).await;
    until_rows(&db, 30).await;
    assert_eq!(check_order(&broker.read("here").await, 3, 10), 0);
    db.append(&numbered("away", 3, 11, 30)).await.unwrap();
    memory.topic_back("away");
    db.until_empty().await;
    relay.shutdown(PATIENCE).await.unwrap();
    assert_eq!(check_order(&broker.read("away").await, 3, 20), 0);
}

async fn a_lost_acknowledgement_repeats_and_keeps_the_order(db: Db, broker: Broker) {
    let Broker::Memory(memory) = &broker else {
        unreachable!()
    };
    memory.fail_once();
    db.append(&numbered("t", 5, 1, 3_000)).await.unwrap();
    let relay = broker.relay(&db, Tune::default()).await;
    db.until_empty().await;
    relay.shutdown(PATIENCE).await.unwrap();
    assert_eq!(check_order(&broker.read("t").await, 5, 600), 1_000);
}

async fn a_broker_out_of_reach_loses_nothing(db: Db, broker: Broker) {
    let Broker::Memory(memory) = &broker else {
        unreachable!()
    };
    let relay = broker.relay(&db, Tune::default()).await;
    relay.ready().await;
    memory.hold();
    for round in 0..20 {
        db.append(&numbered("t", 5, 1 + 10 * round, 50))
            .await
            .unwrap();
    }
    testkit::wait_until("rows hang", PATIENCE, async || relay.status().in_flight > 0).await;
    memory.let_go();
    db.until_empty().await;
    relay.shutdown(PATIENCE).await.unwrap();
    assert_eq!(check_order(&broker.read("t").await, 5, 200), 0);
}

async fn a_dropped_relay_is_succeeded_when_its_lease_has_run_out(db: Db, broker: Broker) {
    let tune = Tune {
        ttl: Duration::from_secs(1),
        ..Tune::default()
    };
    let first = broker.relay(&db, tune).await;
    first.ready().await;
    drop(first);
    db.append(&numbered("t", 5, 1, 50)).await.unwrap();
    let second = broker.relay(&db, tune).await;
    db.until_empty().await;
    second.shutdown(PATIENCE).await.unwrap();
    assert_eq!(check_order(&broker.read("t").await, 5, 10), 0);
}

async fn every_slot_has_an_owner_and_a_name(db: Db, broker: Broker) {
    let Broker::Memory(memory) = &broker else {
        unreachable!()
    };
    let relay = Tune::default()
        .on(&db, memory.clone())
        .name("here")
        .spawn()
        .await
        .unwrap();
    testkit::wait_until("it has all", PATIENCE, async || relay.status().slots == 64).await;
    let owners = slot_owners(&db.database()).await.unwrap();
    assert!(
        owners
            .iter()
            .all(|owner| owner.relay.as_deref() == Some("here"))
    );
    assert!(owners.iter().all(|owner| !owner.lease.is_zero()));
    relay.shutdown(PATIENCE).await.unwrap();
    let owners = slot_owners(&db.database()).await.unwrap();
    assert!(
        owners
            .iter()
            .all(|owner| owner.relay.is_none() && owner.epoch == 1)
    );
}

mod on_brokers {
    use super::*;

    cell!(sqlite_in_process, sqlite, in_process, [], a_broker_that_stops_loses_nothing
        four_relays_with_deaths_keep_the_order a_full_queue_keeps_the_order);
    cell!(postgres_in_process, postgres, in_process,
        [ignore = "needs Postgres: cargo xtask test"],
        a_broker_that_stops_loses_nothing four_relays_with_deaths_keep_the_order
        a_full_queue_keeps_the_order);
    cell!(postgres_kafka, postgres, kafka,
        [ignore = "needs Postgres and Kafka: cargo xtask test"],
        four_relays_with_deaths_keep_the_order
        four_relays_with_deaths_and_transactions_repeat_nothing
        a_record_that_the_broker_refuses_is_found_in_its_batch
        a_refused_record_is_found_in_a_transaction_too
        a_refused_record_holds_nothing_back_that_comes_before_it
        a_topic_for_small_requests_gets_small_requests
        a_full_queue_keeps_the_order
        a_topic_that_is_missing_at_first
        a_topic_that_is_deleted_and_made_again);

    async fn a_broker_that_stops_loses_nothing(db: Db, broker: Broker) {
        let Broker::InProcess(mock) = &broker else {
            unreachable!()
        };
        let topic = broker.topic().await;
        let relay = broker.relay(&db, Tune::default()).await;
        relay.ready().await;
        db.append(&numbered(&topic, 5, 1, 50)).await.unwrap();
        db.until_empty().await;
        mock.pause().unwrap();
        db.append(&numbered(&topic, 5, 11, 5_000)).await.unwrap();
        testkit::wait_until("rows hang", PATIENCE, async || relay.status().in_flight > 0).await;
        mock.resume().unwrap();
        db.until_empty().await;
        relay.shutdown(PATIENCE).await.unwrap();
        check_order(&broker.read(&topic).await, 5, 1_010);
    }

    /// Relays die without a word while writers append; the order of first occurrences stays.
    async fn four_relays_with_deaths_keep_the_order(db: Db, broker: Broker) {
        let tune = Tune {
            ttl: Duration::from_secs(1),
            batch: 50,
            ..Tune::default()
        };
        deaths(&db, &broker, tune).await;
    }

    async fn four_relays_with_deaths_and_transactions_repeat_nothing(db: Db, broker: Broker) {
        let fencing = swifttrack_outbox::Fencing::KafkaTransactions;
        let tune = Tune {
            ttl: Duration::from_secs(2),
            batch: 50,
            fencing,
            ..Tune::default()
        };
        assert_eq!(deaths(&db, &broker, tune).await, 0);
    }

    /// How many records a reader saw twice.
    async fn deaths(db: &Db, broker: &Broker, tune: Tune) -> usize {
        let topic = broker.topic().await;
        let done = AtomicBool::new(false);
        let write = async {
            for round in 0..60 {
                db.append(&numbered(&topic, 40, 1 + round * 5, 200))
                    .await
                    .unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            done.store(true, Ordering::Relaxed);
        };
        let run = async {
            let mut relays = Vec::new();
            for _ in 0..4 {
                relays.push(broker.relay(db, tune).await);
            }
            while !done.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(700)).await;
                drop(relays.remove(0));
                relays.push(broker.relay(db, tune).await);
            }
            relays
        };
        let ((), relays) = tokio::join!(write, run);
        db.until_empty().await;
        for relay in relays {
            relay.shutdown(PATIENCE).await.unwrap();
        }
        check_order(&broker.read(&topic).await, 40, 300)
    }

    /// A topic with a limit of its own for a request's records.
    async fn small_topic(broker: &Broker, partitions: i32, limit: &str) -> String {
        let topic = testkit::unique("small");
        let admin = crate::support::admin(&broker.address());
        let replication = rdkafka::admin::TopicReplication::Fixed(1);
        let new = rdkafka::admin::NewTopic::new(&topic, partitions, replication)
            .set("max.message.bytes", limit);
        let made = admin.create_topics([&new], &Default::default()).await;
        made.unwrap().remove(0).unwrap();
        topic
    }

    fn large(topic: &str, bytes: usize) -> Event {
        Event::new(topic.to_owned(), "large", "T", vec![b'x'; bytes])
    }

    async fn dead_keys(db: &Db) -> Vec<String> {
        let dead = dead_events(&db.database(), 0, 10).await.unwrap();
        dead.into_iter().map(|dead| dead.key).collect()
    }

    async fn a_record_that_the_broker_refuses_is_found_in_its_batch(db: Db, broker: Broker) {
        let topic = small_topic(&broker, 2, "100000").await;
        refused_in_the_middle(&db, &broker, &topic, Tune::default()).await;
    }

    async fn a_refused_record_is_found_in_a_transaction_too(db: Db, broker: Broker) {
        let topic = small_topic(&broker, 2, "100000").await;
        let fencing = swifttrack_outbox::Fencing::KafkaTransactions;
        let tune = Tune {
            fencing,
            ..Tune::default()
        };
        let repeats = refused_in_the_middle(&db, &broker, &topic, tune).await;
        assert_eq!(repeats, 0);
    }

    /// Its transaction takes back what it shares it with: that has to go again, and before it.
    async fn a_refused_record_holds_nothing_back_that_comes_before_it(db: Db, broker: Broker) {
        let topic = small_topic(&broker, 1, "100000").await;
        let tune = Tune {
            fencing: swifttrack_outbox::Fencing::KafkaTransactions,
            ..Tune::default()
        };
        let small = |number: &str| Event::new(topic.clone(), "large", "T", number.to_owned());
        let events = [small("1"), small("2"), large(&topic, 200_000), small("3")];
        db.append(&events).await.unwrap();
        let relay = broker.relay(&db, tune).await;
        until_dead(&db, 1).await;
        until_rows(&db, 1).await;
        let dead = &dead_events(&db.database(), 0, 10).await.unwrap()[0];
        assert!(drop_dead(&db.database(), dead.seq).await.unwrap());
        db.until_empty().await;
        relay.shutdown(PATIENCE).await.unwrap();
        assert_eq!(check_order(&broker.read(&topic).await, 1, 3), 0);
    }

    /// Two of them, so that the first is not the end of the search.
    async fn refused_in_the_middle(db: &Db, broker: &Broker, topic: &str, tune: Tune) -> usize {
        let tune = Tune {
            poison: Poison::DeadLetter,
            ..tune
        };
        let mut events = numbered(topic, 10, 1, 500);
        events.push(large(topic, 200_000));
        events.extend(numbered(topic, 10, 51, 300));
        events.push(large(topic, 300_000));
        events.extend(numbered(topic, 10, 81, 200));
        db.append(&events).await.unwrap();
        let relay = broker.relay(db, tune).await;
        db.until_empty().await;
        // The batch, twice a culprit alone, and the way back.
        let producers = relay.status().producers_closed;
        assert!(producers <= 8, "{producers} producers for two refused rows");
        relay.shutdown(PATIENCE).await.unwrap();
        assert_eq!(dead_keys(db).await, ["large", "large"]);
        check_order(&broker.read(topic).await, 10, 100)
    }

    /// `max.message.bytes` counts a request's records together, and no record is too large.
    async fn a_topic_for_small_requests_gets_small_requests(db: Db, broker: Broker) {
        let topic = small_topic(&broker, 2, "20000").await;
        db.append(&numbered(&topic, 10, 1, 10_000)).await.unwrap();
        let relay = broker.relay(&db, Tune::default()).await;
        db.until_empty().await;
        // From 1,000,000 bytes to less than 20,000 takes six halvings, each with its proof.
        let producers = relay.status().producers_closed;
        assert!(producers <= 12, "{producers} producers");
        relay.shutdown(PATIENCE).await.unwrap();
        assert!(dead_keys(&db).await.is_empty());
        check_order(&broker.read(&topic).await, 10, 1_000);
    }

    async fn a_topic_that_is_missing_at_first(db: Db, broker: Broker) {
        // A name that the broker cannot make by itself would be refused at append; here the
        // relay's look-up finds nothing, or has the broker make it where that is allowed.
        let topic = testkit::unique("late");
        db.append(&numbered(&topic, 5, 1, 50)).await.unwrap();
        let relay = broker.relay(&db, Tune::default()).await;
        relay.ready().await;
        let there = broker.topic().await;
        db.append(&numbered(&there, 5, 1, 50)).await.unwrap();
        testkit::wait_until("the other topic's rows went", PATIENCE, async || {
            db.rows().await <= 50
        })
        .await;
        let admin = crate::support::admin(&broker.address());
        let replication = rdkafka::admin::TopicReplication::Fixed(1);
        let new = rdkafka::admin::NewTopic::new(&topic, 2, replication);
        admin
            .create_topics([&new], &Default::default())
            .await
            .unwrap();
        db.until_empty().await;
        relay.shutdown(PATIENCE).await.unwrap();
        assert_eq!(check_order(&broker.read(&topic).await, 5, 10), 0);
    }

    async fn a_full_queue_keeps_the_order(db: Db, broker: Broker) {
        let topic = broker.topic().await;
        db.append(&numbered(&topic, 20, 1, 5_000)).await.unwrap();
        let publisher = swifttrack_outbox::KafkaPublisher::new(broker.address())
            .set("queue.buffering.max.messages", "50")
            .unwrap();
        let relay = Tune::default().on(&db, publisher).spawn().await.unwrap();
        db.until_empty().await;
        relay.shutdown(PATIENCE).await.unwrap();
        assert_eq!(check_order(&broker.read(&topic).await, 20, 250), 0);
    }

    /// What comes after the deletion waits for the topic, or goes to one that the broker makes
    /// by itself; it is all there at the end, in order.
    async fn a_topic_that_is_deleted_and_made_again(db: Db, broker: Broker) {
        let topic = broker.topic().await;
        let relay = broker.relay(&db, Tune::default()).await;
        db.append(&numbered(&topic, 5, 1, 50)).await.unwrap();
        db.until_empty().await;
        let admin = crate::support::admin(&broker.address());
        let gone = admin.delete_topics(&[&topic], &Default::default()).await;
        gone.unwrap().remove(0).unwrap();
        db.append(&numbered(&topic, 5, 11, 50)).await.unwrap();
        let there = broker.topic().await;
        db.append(&numbered(&there, 5, 1, 50)).await.unwrap();
        testkit::wait_until("the topic is made again", PATIENCE, async || {
            let replication = rdkafka::admin::TopicReplication::Fixed(1);
            let new = rdkafka::admin::NewTopic::new(&topic, 2, replication);
            let made = admin.create_topics([&new], &Default::default()).await;
            match made.unwrap().remove(0) {
                Ok(_) | Err((_, rdkafka::types::RDKafkaErrorCode::TopicAlreadyExists)) => true,
                Err(_) => false,
            }
        })
        .await;
        db.until_empty().await;
        relay.shutdown(PATIENCE).await.unwrap();
        check_order(&broker.read(&there).await, 5, 10);
        for key in 0..5 {
            let key = format!("key-{key}");
            let read = broker.read(&topic).await;
            let mut numbers: Vec<u64> = read
                .iter()
                .filter(|record| record.key == key)
                .map(|record| record.number())
                .collect();
            numbers.dedup();
            let expected: Vec<u64> = (11..=20).collect();
            assert!(numbers.ends_with(&expected), "{key}: {numbers:?}");
        }
    }
}
