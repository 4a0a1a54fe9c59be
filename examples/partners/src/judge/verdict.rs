//! What the ledgers say against what the service says: a function of both.

use std::collections::BTreeMap;
use std::fmt;

use crate::ledger::{Effect, SecondKey, Shown};

/// How an order ended, by the service's own word.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// READY_FOR_DELIVERY.
    Ready,
    /// FAILED or CANCELLED: everything undone.
    Undone,
    /// It was never accepted.
    Refused,
    /// It was accepted, and the service does not know it any more.
    Forgotten,
    /// It was accepted, and had not ended when time was up.
    Unfinished(String),
}

/// What a partner has to say.
#[derive(Clone, Debug)]
pub(crate) struct Testimony {
    pub(crate) partner: &'static str,
    pub(crate) effects: Vec<Shown>,
    pub(crate) second_keys: Vec<SecondKey>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Finding {
    /// An effect stands for an order that is undone, refused or forgotten.
    Leaked {
        /// The order.
        order: String,
        /// Where.
        partner: &'static str,
        /// What the service says about the order.
        said: String,
    },
    /// An effect was asked for under two keys, or is there twice.
    Doubled {
        /// The order.
        order: String,
        /// Where.
        partner: &'static str,
        /// The keys.
        keys: Vec<String>,
    },
    /// The order is ready, and an effect that it needs does not stand.
    Lost {
        /// The order.
        order: String,
        /// Where.
        partner: &'static str,
    },
    /// The order was accepted, and is not known any more.
    Forgotten {
        /// The order.
        order: String,
    },
    /// The order was accepted, and does not end.
    Unfinished {
        /// The order.
        order: String,
        /// The last that was said about it.
        said: String,
    },
}

impl Finding {
    /// Its kind, in one word: leaked, doubled, lost or unended.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Leaked { .. } => "leaked",
            Self::Doubled { .. } => "doubled",
            Self::Lost { .. } | Self::Forgotten { .. } => "lost",
            Self::Unfinished { .. } => "unended",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaked {
                order,
                partner,
                said,
            } => write!(
                f,
                "leaked   {order} at {partner}: its effect stands, the order is {said}"
            ),
            Self::Doubled {
                order,
                partner,
                keys,
            } => write!(
                f,
                "doubled  {order} at {partner}: asked for under {}",
                keys.join(" and ")
            ),
            Self::Lost { order, partner } => {
                write!(
                    f,
                    "lost     {order} at {partner}: the order is ready, its effect does not stand"
                )
            }
            Self::Forgotten { order } => {
                write!(f, "lost     {order}: accepted, and not known any more")
            }
            Self::Unfinished { order, said } => {
                write!(f, "unended  {order}: accepted, and {said} when time was up")
            }
        }
    }
}

/// Everything that is wrong, sorted.
pub(crate) fn verdict(ends: &BTreeMap<String, End>, partners: &[Testimony]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (order, end) in ends {
        let order = order.clone();
        match end {
            End::Forgotten => findings.push(Finding::Forgotten { order }),
            End::Unfinished(said) => findings.push(Finding::Unfinished {
                order,
                said: said.clone(),
            }),
            End::Ready | End::Undone | End::Refused => {}
        }
    }
    for testimony in partners {
        let mut live: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for effect in &testimony.effects {
            match effect.effect {
                Effect::Applied => live.entry(&effect.order_id).or_default().push(&effect.key),
                Effect::Cancelled => {
                    live.remove(effect.order_id.as_str());
                }
                Effect::Tombstoned | Effect::Already => {}
            }
        }
        let partner = testimony.partner;
        for (order, end) in ends {
            if *end == End::Ready && !live.contains_key(order.as_str()) {
                let order = order.clone();
                findings.push(Finding::Lost { order, partner });
            }
        }
        for (order, keys) in &live {
            let said = match ends.get(*order) {
                Some(End::Ready | End::Unfinished(_)) => None,
                Some(End::Undone) => Some("undone"),
                Some(End::Refused) => Some("refused"),
                Some(End::Forgotten) => Some("forgotten"),
                None => Some("nobody's"),
            };
            if let Some(said) = said {
                findings.push(Finding::Leaked {
                    order: (*order).to_owned(),
                    partner,
                    said: said.to_owned(),
                });
            }
            if keys.len() > 1 {
                findings.push(doubled(order, partner, keys));
            }
        }
        findings.extend(second_keys(testimony));
    }
    findings.sort();
    findings.dedup();
    findings
}

fn second_keys(testimony: &Testimony) -> Vec<Finding> {
    let mut keys: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for effect in &testimony.effects {
        if effect.effect == Effect::Applied {
            keys.entry(&effect.order_id).or_default().push(&effect.key);
        }
    }
    for second in &testimony.second_keys {
        keys.entry(&second.order_id).or_default().push(&second.key);
    }
    let asked_twice = keys.into_iter().filter_map(|(order, mut keys)| {
        keys.sort_unstable();
        keys.dedup();
        (keys.len() > 1).then(|| doubled(order, testimony.partner, &keys))
    });
    asked_twice.collect()
}

fn doubled(order: &str, partner: &'static str, keys: &[&str]) -> Finding {
    Finding::Doubled {
        order: order.to_owned(),
        partner,
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn testimony(effects: &[(&str, &str, Effect)], second: &[(&str, &str)]) -> Testimony {
        let effects = effects
            .iter()
            .zip(1..)
            .map(|(&(order, key, effect), n)| Shown {
                n,
                op: "put".into(),
                key: key.into(),
                order_id: order.into(),
                effect,
                at: chrono::DateTime::UNIX_EPOCH,
            });
        let second = second.iter().map(|&(order, key)| SecondKey {
            order_id: order.into(),
            key: key.into(),
        });
        Testimony {
            partner: "ros",
            effects: effects.collect(),
            second_keys: second.collect(),
        }
    }

    /// The findings about one order `A` that ended so, without their details.
    fn found(end: End, effects: &[(&str, &str, Effect)], second: &[(&str, &str)]) -> Vec<String> {
        let ends = BTreeMap::from([("A".to_owned(), end)]);
        let findings = verdict(&ends, &[testimony(effects, second)]);
        let lines = findings.iter().map(Finding::to_string);
        lines
            .map(|line| line.split_whitespace().next().unwrap_or("").to_owned())
            .collect()
    }

    #[test]
    fn what_is_right_is_no_finding() {
        use Effect::{Applied, Cancelled, Tombstoned};
        assert!(found(End::Ready, &[("A", "k", Applied)], &[]).is_empty());
        assert!(found(End::Undone, &[], &[]).is_empty());
        assert!(found(End::Undone, &[("A", "u", Tombstoned)], &[]).is_empty());
        assert!(
            found(
                End::Undone,
                &[("A", "k", Applied), ("A", "u", Cancelled)],
                &[]
            )
            .is_empty()
        );
        assert!(found(End::Refused, &[], &[]).is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        use Effect::{Applied, Cancelled};
        let stands = [("A", "k", Applied)];
        let undone = [("A", "k", Applied), ("A", "u", Cancelled)];
        for (end, effects, second, want) in [
            (End::Ready, &[][..], &[][..], &["lost"][..]),
            (End::Ready, &undone, &[], &["lost"]),
            (End::Undone, &stands, &[], &["leaked"]),
            (End::Refused, &stands, &[], &["leaked"]),
            (End::Forgotten, &[], &[], &["lost"]),
            (End::Forgotten, &stands, &[], &["leaked", "lost"]),
            (
                End::Unfinished("PROCESSING".into()),
                &stands,
                &[],
                &["unended"],
            ),
            (End::Ready, &stands, &[("A", "l")], &["doubled"]),
            (
                End::Ready,
                &[("A", "k", Applied), ("A", "l", Applied)],
                &[],
                &["doubled"],
            ),
            (
                End::Ready,
                &[("A", "k", Applied), ("B", "l", Applied)],
                &[],
                &["leaked"],
            ),
        ] {
            assert_eq!(
                found(end.clone(), effects, second),
                want,
                "{end:?} {effects:?} {second:?}"
            );
        }
    }
}
