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
mod tests {
    use super::*;

    const SPAN: Span = Span {
        offset: 7,
        bytes: 9,
    };

    const fn replay(new_key: bool) -> Forward {
        Forward::Replay {
            span: SPAN,
            new_key,
        }
    }

    fn print(body: &str) -> Fingerprint {
        Fingerprint::of_bytes(body.as_bytes())
    }

    /// What happened before: the order, the key, the body.
    fn after(forward: &[[&str; 3]], cancel: &[[&str; 3]]) -> Index<u8> {
        let mut index = Index::new();
        for [order, key, body] in forward {
            let ask = index.ask(order, key, print(body));
            assert!(index.applied(ask, SPAN, 1));
        }
        for [order, key, body] in cancel {
            let ask = index.ask(order, key, print(body));
            let Cancel::Do(effect) = index.cancel(ask) else {
                panic!("{order} {key}")
            };
            assert!(index.cancelled(ask, effect).is_some());
        }
        index
    }

    #[test]
    fn a_forward_request_is_decided_in_the_order_that_is_fixed() {
        let done: &[[&str; 3]] = &[["A", "k", "x"]];
        let undone: &[[&str; 3]] = &[["A", "u", "c"]];
        for (name, forward, cancel, [order, key, body], want) in [
            (
                "nothing known",
                &[][..],
                &[][..],
                ["A", "k", "x"],
                Forward::Do,
            ),
            (
                "same key, same body",
                done,
                &[],
                ["A", "k", "x"],
                replay(false),
            ),
            (
                "another key, same body",
                done,
                &[],
                ["A", "l", "x"],
                replay(true),
            ),
            (
                "same key, another body",
                done,
                &[],
                ["A", "k", "y"],
                Forward::KeyReused,
            ),
            (
                "another key, another body",
                done,
                &[],
                ["A", "l", "y"],
                Forward::KeyReused,
            ),
            (
                "same key, another order",
                done,
                &[],
                ["B", "k", "x"],
                Forward::KeyReused,
            ),
            (
                "cancelled, same key",
                done,
                undone,
                ["A", "k", "x"],
                Forward::Cancelled,
            ),
            (
                "cancelled, another body",
                done,
                undone,
                ["A", "l", "y"],
                Forward::Cancelled,
            ),
            (
                "cancelled, key of another body",
                done,
                undone,
                ["A", "k", "y"],
                Forward::KeyReused,
            ),
            (
                "tombstoned",
                &[],
                undone,
                ["A", "k", "x"],
                Forward::Cancelled,
            ),
            (
                "a cancel's key is another operation's",
                &[],
                undone,
                ["B", "u", "x"],
                Forward::Do,
            ),
            (
                "tombstoned, key of another order",
                &[["B", "k", "x"]],
                undone,
                ["A", "k", "x"],
                Forward::KeyReused,
            ),
        ] {
            let index = after(forward, cancel);
            let ask = index.ask(order, key, print(body));
            assert_eq!(index.forward(ask), want, "{name}");
        }
    }

    #[test]
    fn a_cancel_is_decided_in_the_order_that_is_fixed() {
        let done: &[[&str; 3]] = &[["A", "k", "x"]];
        let undone: &[[&str; 3]] = &[["A", "u", "c"]];
        let twice: &[[&str; 3]] = &[["A", "u", "c"], ["A", "v", "c"]];
        for (name, forward, cancel, [order, key, body], want) in [
            (
                "nothing to undo",
                &[][..],
                &[][..],
                ["A", "u", "c"],
                Cancel::Do(Effect::Tombstoned),
            ),
            (
                "an effect",
                done,
                &[],
                ["A", "u", "c"],
                Cancel::Do(Effect::Cancelled),
            ),
            (
                "the forward's key",
                done,
                &[],
                ["A", "k", "c"],
                Cancel::Do(Effect::Cancelled),
            ),
            (
                "same key",
                done,
                undone,
                ["A", "u", "c"],
                Cancel::Replay(Effect::Cancelled),
            ),
            (
                "same key of a tombstone",
                &[],
                undone,
                ["A", "u", "c"],
                Cancel::Replay(Effect::Tombstoned),
            ),
            (
                "another key",
                done,
                undone,
                ["A", "v", "c"],
                Cancel::Do(Effect::Already),
            ),
            (
                "another key on a tombstone",
                &[],
                undone,
                ["A", "v", "d"],
                Cancel::Do(Effect::Already),
            ),
            (
                "the second key again",
                done,
                twice,
                ["A", "v", "c"],
                Cancel::Replay(Effect::Already),
            ),
            (
                "the second key, another order",
                done,
                twice,
                ["B", "v", "c"],
                Cancel::KeyReused,
            ),
            (
                "same key, another body",
                done,
                undone,
                ["A", "u", "d"],
                Cancel::KeyReused,
            ),
            (
                "same key, another order",
                done,
                undone,
                ["B", "u", "c"],
                Cancel::KeyReused,
            ),
        ] {
            let index = after(forward, cancel);
            let ask = index.ask(order, key, print(body));
            assert_eq!(index.cancel(ask), want, "{name}");
        }
    }

    #[test]
    fn a_cancel_gives_back_what_was_held_once() {
        let mut index = after(&[["A", "k", "x"]], &[]);
        let first = index.ask("A", "u", print("c"));
        let second = index.ask("A", "v", print("c"));
        assert_eq!(index.cancelled(first, Effect::Cancelled), Some(Some(1)));
        assert_eq!(index.cancelled(second, Effect::Already), Some(None));
        assert_eq!(index.look("A"), Known::Cancelled(Some(SPAN)));
        assert_eq!(index.look("B"), Known::Nothing);
    }
}
