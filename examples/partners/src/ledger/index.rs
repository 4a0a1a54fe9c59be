//! How a request is decided: a function of what happened before, and of nothing else.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::row::{Effect, Fingerprint};

/// Where in the file a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
}

/// What to do with a forward request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    KeyReused,
    Cancelled,
    /// Under a key that was not seen before, a partner that goes by keys alone would have done it twice.
    Replay {
        span: Span,
        new_key: bool,
    },
    Do,
}

/// What to do with a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancel {
    KeyReused,
    /// The first answer of this key again.
    Replay(Effect),
    Do(Effect),
}

/// What is known about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Nothing,
    Live(Span),
    /// The span is that of the effect, if there ever was one.
    Cancelled(Option<Span>),
}

/// Everything that happened, in some 150 bytes an order: a load test of a million fits.
pub(crate) struct Index<H> {
    names: Names,
    orders: HashMap<u128, Order<H>>,
    forward_keys: HashMap<u128, Used>,
    cancel_keys: HashMap<u128, (Used, Effect)>,
}

struct Order<H> {
    body: Fingerprint,
    applied: Option<Span>,
    hold: Option<H>,
    cancelled: bool,
}

/// What a key was used for.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Used {
    order: u128,
    body: Fingerprint,
}

/// A request, with its names made small.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    order: u128,
    key: u128,
    body: Fingerprint,
}

impl<H> Index<H> {
    pub(crate) fn new() -> Self {
        Self {
            names: Names::default(),
            orders: HashMap::new(),
            forward_keys: HashMap::new(),
            cancel_keys: HashMap::new(),
        }
    }

    pub(crate) fn ask(&self, order_id: &str, key: &str, body: Fingerprint) -> Ask {
        Ask {
            order: self.names.of(order_id),
            key: self.names.of(key),
            body,
        }
    }

    /// The order of the questions is fixed from outside: the key, the tombstone, the effect.
    pub(crate) fn forward(&self, ask: Ask) -> Forward {
        let used = self.forward_keys.get(&ask.key);
        if used.is_some_and(|used| *used != ask.used()) {
            return Forward::KeyReused;
        }
        match self.orders.get(&ask.order) {
            None => Forward::Do,
            Some(order) if order.cancelled => Forward::Cancelled,
            Some(order) if order.body != ask.body => Forward::KeyReused,
            Some(Order {
                applied: Some(span),
                ..
            }) => Forward::Replay {
                span: *span,
                new_key: used.is_none(),
            },
            Some(_) => Forward::Do,
        }
    }

    pub(crate) fn cancel(&self, ask: Ask) -> Cancel {
        if let Some((used, first)) = self.cancel_keys.get(&ask.key) {
            return if *used == ask.used() {
                Cancel::Replay(*first)
            } else {
                Cancel::KeyReused
            };
        }
        Cancel::Do(match self.orders.get(&ask.order) {
            None => Effect::Tombstoned,
            Some(order) if order.cancelled => Effect::Already,
            Some(_) => Effect::Cancelled,
        })
    }

    pub(crate) fn look(&self, order_id: &str) -> Known {
        match self.orders.get(&self.names.of(order_id)) {
            None => Known::Nothing,
            Some(order) if order.cancelled => Known::Cancelled(order.applied),
            Some(order) => order.applied.map_or(Known::Nothing, Known::Live),
        }
    }

    /// Takes in an effect; `false` if it contradicts what is known.
    pub(crate) fn applied(&mut self, ask: Ask, span: Span, hold: H) -> bool {
        if self.forward(ask) != Forward::Do {
            return false;
        }
        self.forward_keys.insert(ask.key, ask.used());
        self.orders.insert(
            ask.order,
            Order {
                body: ask.body,
                applied: Some(span),
                hold: Some(hold),
                cancelled: false,
            },
        );
        true
    }

    /// Takes in a cancel; gives back what the order held. `None` if it contradicts what is known.
    pub(crate) fn cancelled(&mut self, ask: Ask, effect: Effect) -> Option<Option<H>> {
        if self.cancel(ask) != Cancel::Do(effect) {
            return None;
        }
        self.cancel_keys.insert(ask.key, (ask.used(), effect));
        let order = self.orders.entry(ask.order).or_insert(Order {
            body: ask.body,
            applied: None,
            hold: None,
            cancelled: true,
        });
        order.cancelled = true;
        Some(order.hold.take())
    }
}

impl Ask {
    const fn used(self) -> Used {
        Used {
            order: self.order,
            body: self.body,
        }
    }
}

/// 128 keyed bits stand for a name: with a million orders two fall together
/// once in 10^26 ledgers, and nobody can aim for it.
#[derive(Default)]
struct Names(RandomState, RandomState);

impl Names {
    fn of(&self, name: &str) -> u128 {
        u128::from(self.0.hash_one(name)) << 64 | u128::from(self.1.hash_one(name))
    }
}

#[cfg(test)]
mod tests;
