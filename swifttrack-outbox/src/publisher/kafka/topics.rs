//! What a producer knows of its topics, and where a record goes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::slot::partition_of;

/// As often as librdkafka asks for them by itself: a topic may get more partitions.
const KNOWN_FOR: Duration = Duration::from_secs(300);

/// A broker forgets a producer after a day (`producer.id.expiration.ms`), and may be set to
/// less.
const TAKEN_FOR: Duration = Duration::from_secs(600);

/// Topics by name.
///
/// A partition that has not acknowledged anything of this producer gets one record, alone, and
/// nothing more before that was acknowledged. A broker that knows no sequence of a producer
/// takes any: were the first of two requests on their way refused, it would take the second,
/// and the keys of the first would be overtaken.
#[derive(Debug, Default)]
pub(super) struct Topics {
    known: HashMap<Arc<str>, Known>,
}

#[derive(Debug)]
enum Known {
    There {
        partitions: Vec<Partition>,
        since: Instant,
    },
    Away(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Partition {
    Fresh,
    /// Its first record is on its way.
    Asked,
    /// It acknowledged a record; the last one was sent then.
    Taken(Instant),
}

/// Where the next record goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Partition(i32),
    /// The same, and its acknowledgement has to be told by [`Topics::taken`].
    First(i32),
    /// Not before that acknowledgement.
    Wait,
    Away(String),
    /// The topic has to be looked up.
    Unknown,
}

impl Topics {
    pub(super) fn found(&mut self, topic: Arc<str>, partitions: usize, now: Instant) {
        // What is on its way to a partition stays so.
        let mut before = match self.known.remove(&topic) {
            Some(Known::There { partitions, .. }) => partitions,
            Some(Known::Away(_)) | None => Vec::new(),
        };
        before.resize(partitions, Partition::Fresh);
        let there = Known::There {
            partitions: before,
            since: now,
        };
        self.known.insert(topic, there);
    }

    pub(super) fn missed(&mut self, topic: Arc<str>, reason: String) {
        self.known.insert(topic, Known::Away(reason));
    }

    pub(super) fn place(&mut self, topic: &str, key: &str, now: Instant) -> Place {
        let (partitions, since) = match self.known.get_mut(topic) {
            Some(Known::There { partitions, since }) => (partitions, *since),
            Some(Known::Away(reason)) => return Place::Away(reason.clone()),
            None => return Place::Unknown,
        };
        if now.saturating_duration_since(since) > KNOWN_FOR {
            return Place::Unknown;
        }
        let number = partition_of(key, partitions.len());
        let partition = &mut partitions[number];
        match *partition {
            Partition::Taken(at) if now.saturating_duration_since(at) <= TAKEN_FOR => {
                *partition = Partition::Taken(now);
                Place::Partition(number as i32)
            }
            Partition::Asked => Place::Wait,
            Partition::Fresh | Partition::Taken(_) => {
                *partition = Partition::Asked;
                Place::First(number as i32)
            }
        }
    }

    /// The first record was not sent after all.
    pub(super) fn unasked(&mut self, topic: &str, partition: i32) {
        self.set(topic, partition, Partition::Fresh);
    }

    pub(super) fn taken(&mut self, topic: &str, partition: i32, now: Instant) {
        self.set(topic, partition, Partition::Taken(now));
    }

    fn set(&mut self, topic: &str, partition: i32, to: Partition) {
        if let Some(Known::There { partitions, .. }) = self.known.get_mut(topic)
            && let Some(partition) = partitions.get_mut(partition as usize)
        {
            *partition = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(partitions: usize, now: Instant) -> Topics {
        let mut topics = Topics::default();
        assert_eq!(topics.place("t", "k", now), Place::Unknown);
        topics.found("t".into(), partitions, now);
        topics
    }

    #[test]
    fn a_fresh_partition_gets_one_record_until_it_acknowledged_it() {
        let now = Instant::now();
        let mut topics = topics(1, now);
        assert_eq!(topics.place("t", "a", now), Place::First(0));
        assert_eq!(topics.place("t", "b", now), Place::Wait);
        topics.taken("t", 0, now);
        assert_eq!(topics.place("t", "b", now), Place::Partition(0));
    }

    #[test]
    fn a_full_queue_leaves_the_partition_fresh() {
        let now = Instant::now();
        let mut topics = topics(1, now);
        topics.place("t", "a", now);
        topics.unasked("t", 0);
        assert_eq!(topics.place("t", "a", now), Place::First(0));
    }

    #[test]
    fn a_partition_that_was_long_idle_is_fresh_again() {
        let now = Instant::now();
        let mut topics = topics(1, now);
        topics.place("t", "a", now);
        topics.taken("t", 0, now);
        let later = now + TAKEN_FOR + Duration::from_secs(1);
        topics.found("t".into(), 1, later);
        assert_eq!(topics.place("t", "a", later), Place::First(0));
    }

    #[test]
    fn a_topic_is_looked_up_again_and_may_have_grown() {
        let now = Instant::now();
        let mut topics = topics(1, now);
        topics.place("t", "a", now);
        topics.taken("t", 0, now);
        let later = now + KNOWN_FOR + Duration::from_secs(1);
        assert_eq!(topics.place("t", "a", later), Place::Unknown);
        topics.found("t".into(), 2, later);
        let places: Vec<Place> = (0..20)
            .map(|key| topics.place("t", &key.to_string(), later))
            .collect();
        assert!(places.contains(&Place::Partition(0)) && places.contains(&Place::First(1)));
    }

    #[test]
    fn a_topic_that_is_away_says_why() {
        let mut topics = Topics::default();
        topics.missed("t".into(), "unknown".to_owned());
        let away = Place::Away("unknown".to_owned());
        assert_eq!(topics.place("t", "a", Instant::now()), away);
    }
}
