//! Which request goes wrong, and how: rules that a test sets through the control port.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::problem::Fault as Wrong;

/// The longest delay that a rule may ask for.
const MS_MAX: u64 = 600_000;

/// How a request goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It arrives late, as over a slow network: nothing of it is looked at before, its
    /// deadline included, and it arrives also when its sender has gone meanwhile.
    Latency,
    /// It is decided, done if it is to be done, and then nothing is said.
    Hang,
    /// Nothing is done, and an error is answered.
    Error,
    /// Nothing is done, and the connection is reset.
    ResetBefore,
    /// It is decided, done if it is to be done, and the connection is reset.
    ResetAfterCommit,
    /// It is decided, and the answer is noise.
    Garbage,
    /// It is decided, half of the answer is sent, and the connection is closed.
    HalfReply,
    /// It is decided, and the answer is sent twice; the connection stays.
    DuplicateReply,
}

impl Mode {
    const ALL: [(&'static str, Self); 8] = [
        ("latency", Self::Latency),
        ("hang", Self::Hang),
        ("error", Self::Error),
        ("reset_before", Self::ResetBefore),
        ("reset_after_commit", Self::ResetAfterCommit),
        ("garbage", Self::Garbage),
        ("half_reply", Self::HalfReply),
        ("duplicate_reply", Self::DuplicateReply),
    ];
}

/// What is to go wrong with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// How.
    pub mode: Mode,
    /// How long, for [`Mode::Latency`] and [`Mode::Hang`]; a hang without it lasts until the peer closes.
    pub delay: Option<Duration>,
    /// The error to answer in [`Mode::Error`]; `None` is BUSY.
    pub code: Option<String>,
    /// Seeds the noise of [`Mode::Garbage`].
    pub noise: u64,
}

impl Fault {
    /// Waits as long as a hang is to last. The answer goes out after it, if it ever ends.
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the wait and does nothing else.
    pub async fn hang(&self) {
        match self.delay {
            Some(delay) => tokio::time::sleep(delay).await,
            None => std::future::pending().await,
        }
    }

    /// Noise that no partner's protocol can take for an answer: no byte of it is ASCII.
    #[must_use]
    pub fn garbage(&self) -> Vec<u8> {
        let mut rng = StdRng::seed_from_u64(self.noise);
        (0..96).map(|_| rng.random_range(0x80..=0xff)).collect()
    }
}

/// A rule, as it was posted.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    op: String,
    mode: Mode,
    probability: f64,
    count: u64,
    delay: Option<Duration>,
    seed: Option<u64>,
    code: Option<String>,
}

/// The rules of one partner.
#[derive(Debug)]
pub struct Faults {
    ops: &'static [&'static str],
    codes: &'static [&'static str],
    seed: u64,
    rules: Mutex<HashMap<String, Active>>,
    hits: AtomicU64,
}

#[derive(Debug)]
struct Active {
    rule: Rule,
    hits: u64,
    rng: StdRng,
}

impl Faults {
    /// No rules, for a partner with these operations and error codes.
    #[must_use]
    pub fn new(ops: &'static [&'static str], codes: &'static [&'static str], seed: u64) -> Self {
        Self {
            ops,
            codes,
            seed,
            rules: Mutex::default(),
            hits: AtomicU64::new(0),
        }
    }

    /// Puts `rule` in the place of its operation's former one.
    pub fn set(&self, rule: Rule) {
        let rng = StdRng::seed_from_u64(rule.seed.unwrap_or(self.seed));
        let active = Active { rule, hits: 0, rng };
        self.rules().insert(active.rule.op.clone(), active);
    }

    /// Forgets all rules.
    pub fn clear(&self) {
        self.rules().clear();
    }

    /// Decides for one request of `op`. An operation's own rule goes before that of `*`,
    /// and then decides alone.
    pub fn draw(&self, op: &str) -> Option<Fault> {
        let mut rules = self.rules();
        let name = if rules.contains_key(op) { op } else { "*" };
        let active = rules.get_mut(name)?;
        if !active.rng.random_bool(active.rule.probability) {
            return None;
        }
        let fault = Fault {
            mode: active.rule.mode,
            delay: active.rule.delay,
            code: active.rule.code.clone(),
            noise: active.rng.random(),
        };
        self.hits.fetch_add(1, Ordering::Relaxed);
        active.hits += 1;
        if active.hits == active.rule.count {
            rules.remove(name);
        }
        Some(fault)
    }

    /// How many requests went wrong since the start.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Reads a rule, or says everything that is wrong with it.
    pub(crate) fn parse(&self, body: &Value) -> Result<Rule, Vec<Wrong>> {
        let Value::Object(members) = body else {
            return Err(vec![wrong("", "a rule is a JSON object")]);
        };
        let mut errors = Vec::new();
        const KNOWN: [&str; 7] = ["op", "mode", "probability", "count", "ms", "seed", "code"];
        for name in members
            .keys()
            .filter(|name| !KNOWN.contains(&name.as_str()))
        {
            errors.push(wrong(name, "no such member"));
        }
        let mut take = |name: &str, what: &str, fits: &dyn Fn(&Value) -> bool| {
            let value = members.get(name).filter(|value| !value.is_null())?;
            if !fits(value) {
                errors.push(wrong(name, what));
                return None;
            }
            Some(value)
        };

        let ops = format!("one of *, {}", self.ops.join(", "));
        let is_op = |value: &Value| {
            value
                .as_str()
                .is_some_and(|op| op == "*" || self.ops.contains(&op))
        };
        let op = take("op", &ops, &is_op).and_then(Value::as_str);
        let modes = format!("one of {}", Mode::ALL.map(|(name, _)| name).join(", "));
        let mode_of = |value: &Value| {
            let found = Mode::ALL.iter().find(|(name, _)| value == name);
            found.map(|(_, mode)| *mode)
        };
        let mode = take("mode", &modes, &|value| mode_of(value).is_some()).and_then(mode_of);
        let probability = take("probability", "a number from 0 to 1", &|value| {
            value.as_f64().is_some_and(|p| (0.0..=1.0).contains(&p))
        })
        .and_then(Value::as_f64);
        let count = take("count", "a whole number, 0 or more", &Value::is_u64);
        let ms_fits = |value: &Value| value.as_u64().is_some_and(|ms| ms <= MS_MAX);
        let ms = take("ms", "a whole number from 0 to 600000", &ms_fits).and_then(Value::as_u64);
        let seed = take("seed", "a whole number, 0 or more", &Value::is_u64);
        let codes = format!("one of {}", self.codes.join(", "));
        let is_code = |value: &Value| value.as_str().is_some_and(|c| self.codes.contains(&c));
        let code = take("code", &codes, &is_code).and_then(Value::as_str);

        for name in ["op", "mode"] {
            if members.get(name).is_none_or(Value::is_null) {
                errors.push(wrong(name, "is missing"));
            }
        }
        if mode == Some(Mode::Latency) && members.get("ms").is_none_or(Value::is_null) {
            errors.push(wrong("ms", "latency needs it"));
        }
        match (op, mode) {
            (Some(op), Some(mode)) if errors.is_empty() => Ok(Rule {
                op: op.to_owned(),
                mode,
                probability: probability.unwrap_or(1.0),
                count: count.and_then(Value::as_u64).unwrap_or(0),
                delay: ms.map(Duration::from_millis),
                seed: seed.and_then(Value::as_u64),
                code: code.map(str::to_owned),
            }),
            _ => Err(errors),
        }
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, HashMap<String, Active>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wrong(name: &str, detail: &str) -> Wrong {
    let pointer = match name {
        "" => String::new(),
        name => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
    };
    Wrong {
        pointer,
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults() -> Faults {
        Faults::new(&["put", "get"], &["BUSY", "INTERNAL"], 1)
    }

    fn with(rules: &[Value]) -> Faults {
        let faults = faults();
        for rule in rules {
            faults.set(faults.parse(rule).unwrap());
        }
        faults
    }

    #[test]
    fn a_rule_is_gone_after_its_hits() {
        let faults = with(&[json!({"op": "put", "mode": "error", "count": 2, "code": "INTERNAL"})]);
        let hits: Vec<_> = (0..4).map(|_| faults.draw("put").is_some()).collect();
        assert_eq!(hits, [true, true, false, false]);
    }

    #[test]
    fn a_rule_without_a_count_stays() {
        for count in [json!(0), Value::Null] {
            let faults = with(&[json!({"op": "*", "mode": "hang", "count": count})]);
            assert!((0..1000).all(|_| faults.draw("get").is_some()));
        }
    }

    #[test]
    fn an_operations_own_rule_decides_alone() {
        let faults = with(&[
            json!({"op": "*", "mode": "garbage"}),
            json!({"op": "put", "mode": "error", "probability": 0}),
        ]);
        assert_eq!(faults.draw("put"), None);
        assert_eq!(faults.draw("get").unwrap().mode, Mode::Garbage);
        faults.clear();
        assert_eq!(faults.draw("get"), None);
    }

    #[test]
    fn the_same_seed_hits_the_same_requests() {
        let draw = |seed: u64| -> Vec<_> {
            let rule = json!({"op": "put", "mode": "garbage", "probability": 0.3, "seed": seed});
            let faults = with(&[rule]);
            (0..200).map(|_| faults.draw("put")).collect()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let hits = draw(7).iter().flatten().count();
        assert!((30..90).contains(&hits), "{hits}");
    }

    #[test]
    fn all_that_is_wrong_is_named_at_once() {
        let pointers = |rule: Value| -> Vec<String> {
            let errors = faults().parse(&rule).unwrap_err();
            errors.into_iter().map(|error| error.pointer).collect()
        };
        assert_eq!(pointers(json!([])), [""]);
        assert_eq!(pointers(json!({})), ["/op", "/mode"]);
        assert_eq!(pointers(json!({"op": "put", "mode": "latency"})), ["/ms"]);
        let bad = json!({"op": "verify", "mode": "slow", "probability": 1.1, "count": -1,
            "ms": 600_001, "seed": 0.5, "code": "NO", "a/b": 1});
        let all = [
            "/a~1b",
            "/op",
            "/mode",
            "/probability",
            "/count",
            "/ms",
            "/seed",
            "/code",
        ];
        assert_eq!(pointers(bad), all);
    }
}
