//! Events of different keys side by side, those of one key one after the other.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tokio::sync::watch;

use super::{Handler, Received, Run, Store};
use crate::inbox::Progress;

impl<S: Store, H: Handler<S>> Run<S, H> {
    /// Each lane in a transaction of its own, then the offsets of all. None: told to stop, and the
    /// offsets stay where they are; what was handled is known by its ids.
    pub(super) async fn handle_in_lanes(
        &self,
        events: Vec<Received>,
        after: &[Progress],
        stop: &watch::Receiver<bool>,
    ) -> Option<()> {
        let lanes = share_out(events, self.lanes);
        let running = lanes.iter().map(|events| self.lane(events, stop.clone()));
        let done = futures_util::future::join_all(running).await;
        done.into_iter().collect::<Option<()>>()?;
        // Where it fails the next batch stores more, and a restart before that repeats nothing.
        match self.once(&[], after).await {
            Ok(_) => Some(()),
            Err(error) => {
                tracing::warn!(%error, "storing offsets failed");
                None
            }
        }
    }

    async fn lane(&self, events: &[Received], mut stop: watch::Receiver<bool>) -> Option<()> {
        let Err(error) = self.once(events, &[]).await else {
            return Some(());
        };
        tracing::warn!(%error, events = events.len(), "a lane failed; its events are handled one by one");
        for event in events {
            self.stubborn(event, &[], &mut stop).await?;
        }
        Some(())
    }
}

/// At most so many lanes, none of them empty. A key's events are in one, in their order.
fn share_out(events: Vec<Received>, lanes: usize) -> Vec<Vec<Received>> {
    let mut shares: Vec<Vec<Received>> = (0..lanes).map(|_| Vec::new()).collect();
    for event in events {
        let mut hasher = DefaultHasher::new();
        event.topic.hash(&mut hasher);
        match &event.key {
            Some(key) => key.hash(&mut hasher),
            None => event.partition.hash(&mut hasher),
        }
        let lane = (hasher.finish() % lanes as u64) as usize;
        shares[lane].push(event);
    }
    shares.retain(|share| !share.is_empty());
    shares
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use uuid::Uuid;

    use super::*;

    fn event(offset: i64, key: Option<&str>) -> Received {
        Received {
            id: Uuid::from_u128(offset as u128),
            topic: "t".to_owned(),
            partition: 0,
            offset,
            key: key.map(|key| key.as_bytes().to_vec()),
            payload: None,
            headers: BTreeMap::new(),
        }
    }

    #[test]
    fn a_key_is_in_one_lane_in_its_order_and_nothing_is_left_out() {
        let keys = ["a", "b", "c", "d", "e"];
        let events: Vec<Received> = (0..100)
            .map(|n| event(n, keys.get((n % 6) as usize).copied()))
            .collect();
        let lanes = share_out(events, 4);
        assert!(lanes.len() > 1 && lanes.len() <= 4);
        assert_eq!(lanes.iter().map(Vec::len).sum::<usize>(), 100);
        let mut lane_of: HashMap<Option<Vec<u8>>, usize> = HashMap::new();
        for (lane, events) in lanes.iter().enumerate() {
            assert!(events.is_sorted_by_key(|event| event.offset));
            for event in events {
                assert_eq!(*lane_of.entry(event.key.clone()).or_insert(lane), lane);
            }
        }
    }
}
