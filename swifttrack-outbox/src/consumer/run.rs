//! A consumer that runs: a batch, one transaction; a failing event, by itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::message::{Message as _, OwnedMessage};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::watch;

use super::{ANSWER, Assigned, BACKOFF_MAX, BACKOFF_MIN, Handler, Received, Store, blocking};
use crate::error::{Error, Kind};
use crate::inbox::{Inbox, Progress};

/// What a running consumer has at hand.
pub(super) struct Run<S, H> {
    pub(super) consumer: Arc<StreamConsumer<Assigned>>,
    pub(super) store: S,
    pub(super) handler: H,
    pub(super) inbox: Inbox,
    pub(super) cluster: String,
    pub(super) lanes: usize,
    pub(super) tries: u32,
    /// The partitions that are ours, each with its next offset where the database has one:
    /// what comes below was handled.
    pub(super) positions: HashMap<(String, i32), Option<i64>>,
}

impl<S: Store, H: Handler<S>> Run<S, H> {
    /// Goes to where the database says the group stands, if it was told of partitions. True: it was.
    /// A database or broker that does not answer is asked again; only what a person has to decide is
    /// an error.
    pub(super) async fn follow(&mut self, stop: &mut watch::Receiver<bool>) -> Result<bool, Error> {
        let Some(partitions) = self.consumer.context().take() else {
            return Ok(false);
        };
        let mut delay = BACKOFF_MIN;
        loop {
            match self.seek(&partitions).await {
                Ok(()) => return Ok(true),
                Err(error) if error.is_offset() => return Err(error),
                Err(error) => tracing::warn!(%error, "going to the stored offsets failed"),
            }
            // Nothing is handled from where it does not stand.
            self.positions.clear();
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                _ = stop.changed() => return Ok(true),
            }
            delay = (delay * 2).min(BACKOFF_MAX);
        }
    }

    async fn seek(&mut self, partitions: &[(String, i32)]) -> Result<(), Error> {
        self.positions.clear();
        for (topic, partition) in partitions.iter().cloned() {
            let stored = self.store.progress(&self.inbox, &topic).await?;
            let Some(found) = stored.into_iter().find(|p| p.partition == partition) else {
                self.positions.insert((topic, partition), None);
                continue;
            };
            if found.cluster != self.cluster {
                return Err(Kind::Offset(format!(
                    "the offset of {topic}/{partition} is of cluster {}, this is {}",
                    found.cluster, self.cluster
                ))
                .into());
            }
            let (consumer, name) = (Arc::clone(&self.consumer), topic.clone());
            let (_, high) =
                blocking(move || consumer.fetch_watermarks(&name, partition, ANSWER)).await?;
            if found.next > high {
                return Err(Kind::Offset(format!(
                    "the offset {} of {topic}/{partition} lies past the log's end, {high}",
                    found.next
                ))
                .into());
            }
            let (consumer, name) = (Arc::clone(&self.consumer), topic.clone());
            blocking(move || consumer.seek(&name, partition, Offset::Offset(found.next), ANSWER))
                .await?;
            self.positions.insert((topic, partition), Some(found.next));
        }
        Ok(())
    }

    pub(super) fn has_offset(&self, message: &OwnedMessage) -> bool {
        let place = (message.topic().to_owned(), message.partition());
        self.positions.get(&place).is_some_and(Option::is_some)
    }

    pub(super) async fn handle(
        &mut self,
        messages: &[OwnedMessage],
        stop: &mut watch::Receiver<bool>,
    ) {
        let events: Vec<Received> = messages
            .iter()
            .filter(|m| {
                let place = (m.topic().to_owned(), m.partition());
                // A partition that is not ours any more is another member's.
                self.positions
                    .get(&place)
                    .is_some_and(|next| next.is_none_or(|next| m.offset() >= next))
            })
            .map(Received::new)
            .collect();
        if events.is_empty() {
            return;
        }
        let oldest = messages
            .iter()
            .filter_map(|m| m.timestamp().to_millis())
            .min();
        self.tell_lag(age(oldest));
        let after = self.after(&events);
        if self.lanes > 1 {
            if self.handle_in_lanes(events, &after, stop).await.is_none() {
                return;
            }
        } else if let Err(error) = self.once(&events, &after).await {
            tracing::warn!(%error, events = events.len(), "a batch failed; its events are handled one by one");
            for event in &events {
                let after = self.after(std::slice::from_ref(event));
                if self.stubborn(event, &after, stop).await.is_none() {
                    return; // told to stop: the rest is read again
                }
                self.tell_lag(age(oldest));
            }
        }
        self.tell(after);
    }

    pub(super) fn tell_lag(&self, lag: Duration) {
        let consumer = self.inbox.consumer().to_owned();
        metrics::gauge!("inbox_lag_seconds", "consumer" => consumer).set(lag.as_secs_f64());
    }

    /// One event, until it is handled or put aside. None: told to stop.
    pub(super) async fn stubborn(
        &self,
        event: &Received,
        after: &[Progress],
        stop: &mut watch::Receiver<bool>,
    ) -> Option<()> {
        let mut delay = BACKOFF_MIN;
        let mut tries = 0;
        loop {
            let Err(error) = self.once(std::slice::from_ref(event), after).await else {
                return Some(());
            };
            // The database's own failures are not the event's fault.
            tries += u32::from(error.is_handler());
            if tries >= self.tries {
                let reason =
                    std::error::Error::source(&error).map_or_else(String::new, ToString::to_string);
                match self
                    .store
                    .put_aside(&self.inbox, event, &reason, after)
                    .await
                {
                    Ok(()) => {
                        tracing::error!(
                            topic = event.topic,
                            partition = event.partition,
                            offset = event.offset,
                            reason,
                            "event put aside"
                        );
                        let consumer = self.inbox.consumer().to_owned();
                        metrics::counter!("inbox_dead_total", "consumer" => consumer).increment(1);
                        return Some(());
                    }
                    Err(error) => tracing::warn!(%error, "putting an event aside failed"),
                }
            }
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                _ = stop.changed() => return None,
            }
            delay = (delay * 2).min(BACKOFF_MAX);
        }
    }

    pub(super) async fn once(
        &self,
        events: &[Received],
        after: &[Progress],
    ) -> Result<usize, Error> {
        self.store
            .transact(&self.inbox, events, after, &self.handler)
            .await
    }

    /// Where the group stands when these are handled.
    fn after(&self, events: &[Received]) -> Vec<Progress> {
        let mut next: BTreeMap<(&str, i32), i64> = BTreeMap::new();
        for event in events {
            let place = next.entry((&event.topic, event.partition)).or_default();
            *place = (*place).max(event.offset + 1);
        }
        next.into_iter()
            .map(|((topic, partition), next)| Progress {
                cluster: self.cluster.clone(),
                topic: topic.to_owned(),
                partition,
                next,
            })
            .collect()
    }

    /// Kafka's own offsets, for lag tools; nothing depends on them.
    fn tell(&mut self, after: Vec<Progress>) {
        let mut list = TopicPartitionList::new();
        for place in after {
            let offset = Offset::Offset(place.next);
            if list
                .add_partition_offset(&place.topic, place.partition, offset)
                .is_ok()
            {
                self.positions
                    .insert((place.topic, place.partition), Some(place.next));
            }
        }
        if let Err(error) = self
            .consumer
            .commit(&list, rdkafka::consumer::CommitMode::Async)
        {
            tracing::debug!(%error, "telling Kafka the offsets failed");
        }
    }
}

/// How long ago that was, in milliseconds since 1970 by the broker's or the producer's clock.
fn age(ms: Option<i64>) -> Duration {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    ms.map_or(Duration::ZERO, |ms| {
        now.saturating_sub(Duration::from_millis(ms.max(0) as u64))
    })
}
