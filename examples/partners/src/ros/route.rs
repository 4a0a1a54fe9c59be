//! The route itself: every address has a place on a map of its own, and the nearest comes next.

use crate::ros::message::Stop;

/// The map's side.
const SIDE_M: u32 = 30_000;
/// Half a kilometre a minute, in a city.
const METRES_PER_MINUTE: f64 = 500.0;
/// What a stop takes.
const STOP_MINUTES: f64 = 4.0;

/// The stops as they are driven, and how long it takes.
pub(crate) struct Plan {
    pub(crate) stops: Vec<Stop>,
    pub(crate) minutes: u32,
    pub(crate) km: f64,
    pub(crate) score: f64,
}

/// Plans from the depot in the middle of the map. The same addresses give the same plan.
pub(crate) fn plan(addresses: &[String]) -> Plan {
    let places: Vec<Place> = addresses.iter().map(|address| place(address)).collect();
    let mut left: Vec<usize> = (0..places.len()).collect();
    let (mut here, mut metres) = (DEPOT, 0.0);
    let mut stops = Vec::with_capacity(places.len());
    while let Some((position, distance)) = left
        .iter()
        .enumerate()
        .map(|(position, next)| (position, here.to(places[*next])))
        .min_by(|a, b| a.1.total_cmp(&b.1))
    {
        let next = left.remove(position);
        here = places[next];
        metres += distance;
        let driven = metres / METRES_PER_MINUTE + STOP_MINUTES * stops.len() as f64;
        stops.push(Stop {
            sequence: stops.len() as u32 + 1,
            address: addresses[next].clone(),
            eta_minutes: driven.ceil() as u32,
        });
    }
    let mut naive = 0.0;
    let mut from = DEPOT;
    for to in places {
        naive += from.to(to);
        from = to;
    }
    Plan {
        minutes: stops.last().map_or(0, |stop| stop.eta_minutes).max(1),
        stops,
        km: (metres / 100.0).round() / 10.0,
        score: if metres < naive {
            (metres / naive * 1000.0).round() / 1000.0
        } else {
            1.0
        },
    }
}

#[derive(Clone, Copy)]
struct Place {
    x: f64,
    y: f64,
}

const DEPOT: Place = Place {
    x: SIDE_M as f64 / 2.0,
    y: SIDE_M as f64 / 2.0,
};

impl Place {
    fn to(self, other: Self) -> f64 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

fn place(address: &str) -> Place {
    let crc = crc32c::crc32c(address.as_bytes());
    Place {
        x: f64::from((crc >> 16) % SIDE_M),
        y: f64::from((crc & 0xffff) % SIDE_M),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_visited_once_in_rising_time() {
        let addresses: Vec<String> = (0..50).map(|i| format!("{i} Galle Road")).collect();
        let plan = plan(&addresses);
        let mut visited: Vec<_> = plan.stops.iter().map(|stop| &stop.address).collect();
        visited.sort();
        let mut all: Vec<_> = addresses.iter().collect();
        all.sort();
        assert_eq!(visited, all);
        assert!(plan.stops.is_sorted_by_key(|stop| stop.eta_minutes));
        assert!(plan.score < 1.0, "{}", plan.score);
        assert_eq!(plan.minutes, plan.stops[49].eta_minutes);
    }
}
