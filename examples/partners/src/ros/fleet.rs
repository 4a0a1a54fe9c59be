//! The vehicles: each serves one order at a time, until it is delivered or cancelled.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::message::Route;
use crate::ledger::Books;

/// A vehicle on the road.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trip {
    pub(crate) vehicle: u32,
    /// Unix milliseconds; from then on it is free.
    pub(crate) until: i64,
}

#[derive(Debug)]
pub(crate) struct Fleet {
    size: u32,
    /// Vehicles from this number on were never used. They count from 1.
    fresh: u32,
    returned: BTreeSet<u32>,
    /// By the time at which they are free.
    on_the_road: BTreeSet<(i64, u32)>,
}

impl Fleet {
    pub(crate) const fn new(size: u32) -> Self {
        Self {
            size,
            fresh: 1,
            returned: BTreeSet::new(),
            on_the_road: BTreeSet::new(),
        }
    }

    /// A vehicle that is free at `now`.
    pub(crate) fn free(&self, now: DateTime<Utc>) -> Option<u32> {
        if let Some(vehicle) = self.returned.first() {
            return Some(*vehicle);
        }
        if self.fresh <= self.size {
            return Some(self.fresh);
        }
        let (until, vehicle) = self.on_the_road.first()?;
        (*until <= now.timestamp_millis()).then_some(*vehicle)
    }

    pub(crate) const fn size(&self) -> u32 {
        self.size
    }

    /// Who is on the road at `now`, first home first.
    pub(crate) fn away(&self, now: DateTime<Utc>) -> impl Iterator<Item = Trip> {
        let from = (now.timestamp_millis() + 1, 0);
        let trips = self.on_the_road.range(from..);
        trips.map(|&(until, vehicle)| Trip { vehicle, until })
    }
}

impl Books for Fleet {
    type Hold = Trip;
    type Answer = Route;

    fn take(&mut self, trip: &Trip) {
        if trip.vehicle == self.fresh {
            self.fresh += 1;
        } else if !self.returned.remove(&trip.vehicle) {
            // Neither fresh nor returned: it is the first of those that are home by now.
            let first = self.on_the_road.pop_first();
            debug_assert_eq!(first.map(|(_, vehicle)| vehicle), Some(trip.vehicle));
        }
        self.on_the_road.insert((trip.until, trip.vehicle));
    }

    fn give_back(&mut self, trip: Trip) {
        // One that finished and drives for another order by now is not this order's any more.
        if self.on_the_road.remove(&(trip.until, trip.vehicle)) {
            self.returned.insert(trip.vehicle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(ms).unwrap()
    }

    fn send(fleet: &mut Fleet, now: i64, until: i64) -> Option<Trip> {
        let vehicle = fleet.free(at(now))?;
        let trip = Trip { vehicle, until };
        fleet.take(&trip);
        Some(trip)
    }

    #[test]
    fn a_vehicle_is_free_once_it_delivered_or_was_cancelled() {
        let mut fleet = Fleet::new(2);
        let first = send(&mut fleet, 0, 100).unwrap();
        let second = send(&mut fleet, 0, 200).unwrap();
        assert_ne!(first.vehicle, second.vehicle);
        assert_eq!(send(&mut fleet, 99, 300), None);
        assert_eq!(fleet.away(at(99)).count(), 2);

        fleet.give_back(second);
        let third = send(&mut fleet, 99, 300).unwrap();
        assert_eq!(third.vehicle, second.vehicle);
        let fourth = send(&mut fleet, 100, 400).unwrap();
        assert_eq!(fourth.vehicle, first.vehicle);

        // The first is cancelled late: its vehicle drives for the fourth.
        fleet.give_back(first);
        assert_eq!(send(&mut fleet, 101, 500), None);
    }
}
