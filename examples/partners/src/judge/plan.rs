//! What will be done to the service: orders, faults and kills on one time line, from one seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// How hard, and how long.
///
/// # Defaults
///
/// Seed 1; 200 orders, one every 50 ms, and with every fourth a new fault rule;
/// 3 kills; delays of at most 5 s; a minute to come to rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub(crate) seed: u64,
    pub(crate) orders: u32,
    pub(crate) gap: Duration,
    pub(crate) kills: u32,
    pub(crate) delay_max: Duration,
    pub(crate) settle: Duration,
}

/// How many orders come from one new fault rule to the next.
const ORDERS_PER_RULE: u32 = 4;
/// The most orders: each is remembered until the end.
pub(crate) const ORDERS_MAX: u32 = 100_000;

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 1,
            orders: 200,
            gap: Duration::from_millis(50),
            kills: 3,
            delay_max: Duration::from_secs(5),
            settle: Duration::from_secs(60),
        }
    }
}

impl Plan {
    /// The seed: the same one gives the same orders, rules and kills at the same times.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many orders.
    ///
    /// # Panics
    ///
    /// With none, or more than 100,000.
    #[must_use]
    #[track_caller]
    pub const fn orders(mut self, orders: u32) -> Self {
        assert!(orders > 0 && orders <= ORDERS_MAX, "1 to 100,000 orders");
        self.orders = orders;
        self
    }

    /// The time from one order to the next.
    #[must_use]
    pub const fn gap(mut self, gap: Duration) -> Self {
        self.gap = gap;
        self
    }

    /// How often the service is killed. Some services park an order that was in flight each time
    /// that they died, since it may be what kills them: beyond their limit that is a finding.
    #[must_use]
    pub const fn kills(mut self, kills: u32) -> Self {
        self.kills = kills;
        self
    }

    /// The longest that a partner delays a call or an answer. For late calls to
    /// mean anything it must exceed the service's own attempt timeout.
    #[must_use]
    pub const fn delay_max(mut self, delay: Duration) -> Self {
        self.delay_max = delay;
        self
    }

    /// How long the service has, once all partners are well again, to end every order.
    #[must_use]
    pub const fn settle(mut self, settle: Duration) -> Self {
        self.settle = settle;
        self
    }

    /// The time line, in order. `parties` are the partners' operations, forward, cancel and query.
    pub(crate) fn events(&self, parties: &[[&'static str; 3]]) -> Vec<Event> {
        let mut rng = StdRng::seed_from_u64(self.seed);
        let end = self.gap * self.orders;
        let mut events = Vec::new();
        for number in 0..self.orders {
            let at = self.gap * number;
            let order = order(&mut rng, self.seed, number);
            // A client that had no answer sends again; one that changed its mind cancels.
            if rng.random_bool(0.1) {
                let again = rng.random_range(0..500);
                events.push(Event {
                    at: at + Duration::from_millis(again),
                    what: What::Submit(order.clone()),
                });
            }
            if rng.random_bool(0.1) {
                let after = rng.random_range(0..2000);
                events.push(Event {
                    at: at + Duration::from_millis(after),
                    what: What::Cancel(order.id.clone()),
                });
            }
            events.push(Event {
                at,
                what: What::Submit(order),
            });
        }
        for tick in 0..self.orders.div_ceil(ORDERS_PER_RULE) {
            let party = rng.random_range(0..parties.len());
            let rule = rule(&mut rng, &parties[party], self.delay_max);
            events.push(Event {
                at: self.gap * ORDERS_PER_RULE * tick,
                what: What::Break { party, rule },
            });
        }
        for _ in 0..self.kills {
            let at = rng.random_range(0..=end.as_millis() as u64);
            events.push(Event {
                at: Duration::from_millis(at),
                what: What::Kill,
            });
        }
        events.sort_by_key(|event| event.at);
        events
    }
}

/// One thing that is done, and when.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    Submit(Order),
    Cancel(String),
    Break { party: usize, rule: Value },
    Kill,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) body: Value,
}

/// Three of four can succeed; each of the others is refused by another partner, so that the undoing differs.
fn order(rng: &mut StdRng, seed: u64, number: u32) -> Order {
    let id = format!("J{seed}-{number:05}");
    let (mut client, mut sku, mut address) = ("TEST-CLIENT", "TEST", "1 Main Street, Colombo");
    match rng.random_range(0..12) {
        0 => client = "CLIENT-POOR",
        1 => sku = "NO-SUCH-SKU",
        2 => address = "1 RESTRICTED Road",
        _ => {}
    }
    let priority = *["STANDARD", "HIGH", "URGENT"]
        .choose(rng)
        .unwrap_or(&"HIGH");
    let body = json!({
        "id": id,
        "clientId": client,
        "priority": priority,
        "packages": [{"sku": sku, "description": "judged", "quantity": rng.random_range(1..4), "priority": "STANDARD"}],
        "deliveryAddresses": [address],
    });
    Order { id, body }
}

fn rule(rng: &mut StdRng, ops: &[&'static str; 3], delay_max: Duration) -> Value {
    let op = match rng.random_range(0..10) {
        0..6 => ops[0],
        6..9 => ops[1],
        _ => ops[2],
    };
    let modes = [
        "latency",
        "latency",
        "hang",
        "error",
        "reset_before",
        "reset_after_commit",
        "garbage",
        "half_reply",
        "duplicate_reply",
    ];
    let mode = *modes.choose(rng).unwrap_or(&"error");
    let delay_max = (delay_max.as_millis() as u64).max(1);
    json!({
        "op": op,
        "mode": mode,
        "probability": *[0.5, 1.0].choose(rng).unwrap_or(&1.0),
        "count": rng.random_range(1..=3),
        "ms": rng.random_range(delay_max / 20..=delay_max),
        "seed": rng.random::<u32>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTIES: [[&str; 3]; 2] = [["verify", "cancel", "get"], ["put", "delete", "get"]];

    #[test]
    fn a_seed_is_a_time_line() {
        let of = |seed| Plan::default().seed(seed).events(&PARTIES);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn all_that_was_asked_for_is_on_it_in_order() {
        let events = Plan::default().orders(40).kills(3).events(&PARTIES);
        assert!(events.is_sorted_by_key(|event| event.at));
        let count = |fits: fn(&What) -> bool| events.iter().filter(|e| fits(&e.what)).count();
        assert!(count(|what| matches!(what, What::Submit(_))) >= 40);
        assert_eq!(count(|what| matches!(what, What::Kill)), 3);
        assert_eq!(count(|what| matches!(what, What::Break { .. })), 10);
    }

    #[test]
    fn partners_take_every_rule() {
        let faults =
            crate::fault::Faults::new(&["verify", "cancel", "get", "put", "delete"], &[], 0);
        let events = Plan::default().orders(5000).events(&PARTIES);
        for event in events {
            if let What::Break { rule, .. } = event.what {
                assert!(faults.parse(&rule).is_ok(), "{rule}");
            }
        }
    }
}
