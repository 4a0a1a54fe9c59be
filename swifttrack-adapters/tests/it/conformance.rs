//! The kit for authors: an honest adapter passes every law, and each law finds those who break it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use swifttrack_adapters::conformance::{Misbehaviour, Rig, laws};
use swifttrack_adapters::{Adapter, CallContext, Cancelled, Error, Lookup, adapter_conformance};
use tokio::time::timeout_at;

/// What an author got wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// Waits for ever.
    NoDeadline,
    /// Sends what nobody waits for.
    SendsTooLate,
    /// Makes a key of its own for each attempt.
    OwnKeys,
    /// Asks, and does it on the way.
    DoesWhenAsked,
    /// Does not find what happened.
    NeverFinds,
    /// Tries again by itself.
    Retries,
    /// Takes silence for a refusal.
    SilenceIsRefusal,
    /// Takes "not now" for "perhaps".
    BusyIsUnknown,
    /// Takes "nobody there" for "perhaps".
    NobodyIsUnknown,
    /// A dropped call leaves its answer to the next.
    LeavesAnswers,
    /// Hands the second copy of an answer to the next call.
    TakesSecondAnswers,
    /// Says that it was cancelled, and leaves it.
    CancelsNothing,
    /// A cancel of what never happened changes nothing.
    NoTombstone,
}

/// A partner in memory, as honest as they come.
#[derive(Debug, Default)]
struct Partner {
    applied: HashMap<u32, Vec<String>>,
    cancelled: HashMap<u32, bool>,
    next: Option<Misbehaviour>,
    /// An answer that nobody has taken off the line.
    left: Option<u32>,
}

#[derive(Debug)]
struct Memory {
    partner: Arc<Mutex<Partner>>,
    mistake: Mistake,
    nobody: bool,
}

impl Memory {
    fn partner(&self) -> MutexGuard<'_, Partner> {
        self.partner.lock().unwrap()
    }

    /// Whether it is this author's mistake.
    fn errs(&self, mistake: Mistake) -> bool {
        self.mistake == mistake
    }

    fn dark(&self) -> Error {
        match self.errs(Mistake::SilenceIsRefusal) {
            true => Error::not_applied("no answer"),
            false => Error::unknown("no answer"),
        }
    }

    fn apply(&self, n: u32, key: &str) -> Result<u32, Error> {
        let mut partner = self.partner();
        let fenced = partner.cancelled.contains_key(&n);
        if fenced {
            return Err(Error::rejected("it was cancelled").with_code("CANCELLED"));
        }
        let keys = partner.applied.entry(n).or_default();
        let mut key = key.to_owned();
        if self.mistake == Mistake::OwnKeys {
            key += &format!("#{}", keys.len());
        }
        if !keys.contains(&key) {
            keys.push(key);
        }
        Ok(n)
    }

    async fn exchange(&self, n: u32, key: &str) -> Result<u32, Error> {
        if self.nobody {
            let error = "nobody listens";
            return Err(match self.errs(Mistake::NobodyIsUnknown) {
                true => Error::unknown(error),
                false => Error::not_applied(error),
            });
        }
        if let Some(other) = self.partner().left.take() {
            return Ok(other);
        }
        let how = self.partner().next.take();
        match how {
            None => self.apply(n, key),
            Some(Misbehaviour::Busy) => Err(match self.errs(Mistake::BusyIsUnknown) {
                true => Error::unknown("busy"),
                false => Error::not_applied("busy").with_code("BUSY"),
            }),
            Some(Misbehaviour::ResetBefore) => Err(self.dark()),
            Some(Misbehaviour::Hang) => {
                self.apply(n, key)?;
                if self.errs(Mistake::LeavesAnswers) {
                    self.partner().left = Some(n);
                }
                std::future::pending().await
            }
            Some(Misbehaviour::DuplicateReply) => {
                let answer = self.apply(n, key)?;
                if self.errs(Mistake::TakesSecondAnswers) {
                    self.partner().left = Some(n);
                }
                Ok(answer)
            }
            Some(Misbehaviour::Late) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                self.apply(n, key)
            }
            Some(_) => {
                self.apply(n, key)?;
                Err(self.dark())
            }
        }
    }
}

#[async_trait]
impl Adapter for Memory {
    type Request = u32;
    type Response = u32;
    type Subject = u32;

    fn name(&self) -> &'static str {
        "memory"
    }

    async fn call(&self, n: &u32, cx: &CallContext) -> Result<u32, Error> {
        if cx.remaining().is_none() && !self.errs(Mistake::SendsTooLate) {
            return Err(Error::local("the deadline was spent"));
        }
        if self.errs(Mistake::NoDeadline) {
            return self.exchange(*n, &cx.idempotency_key).await;
        }
        let exchange = self.exchange(*n, &cx.idempotency_key);
        let first = match timeout_at(cx.deadline, exchange).await {
            Ok(told) => told,
            Err(_) => Err(self.dark()),
        };
        match first {
            Err(error) if self.errs(Mistake::Retries) && !error.is_rejected() => {
                self.exchange(*n, &cx.idempotency_key).await
            }
            first => first,
        }
    }

    async fn query(&self, n: &u32, cx: &CallContext) -> Result<Lookup<u32>, Error> {
        if self.errs(Mistake::DoesWhenAsked) {
            self.apply(*n, &cx.idempotency_key)?;
        }
        let partner = self.partner();
        Ok(match () {
            () if self.mistake == Mistake::NeverFinds => Lookup::NotYet,
            () if partner.cancelled.contains_key(n) => Lookup::Never,
            () if partner.applied.contains_key(n) => Lookup::Done(*n),
            () => Lookup::NotYet,
        })
    }

    async fn cancel(&self, n: &u32, _: &CallContext) -> Result<Cancelled, Error> {
        let mut partner = self.partner();
        let known = partner.applied.contains_key(n);
        if self.mistake == Mistake::CancelsNothing && known {
            return Ok(Cancelled::Cancelled);
        }
        if self.mistake == Mistake::NoTombstone && !known {
            return Ok(Cancelled::Tombstoned);
        }
        Ok(match partner.cancelled.insert(*n, known) {
            Some(_) => Cancelled::Already,
            None if known => Cancelled::Cancelled,
            None => Cancelled::Tombstoned,
        })
    }

    async fn probe(&self, _: &CallContext) -> Result<(), Error> {
        match self.nobody {
            true => Err(Error::not_applied("nobody listens")),
            false => Ok(()),
        }
    }
}

struct Room(Memory);

impl Room {
    fn with(mistake: Mistake) -> Self {
        Self(Memory {
            partner: Arc::default(),
            mistake,
            nobody: false,
        })
    }
}

#[async_trait]
impl Rig for Room {
    type Adapter = Memory;

    fn adapter(&self) -> &Memory {
        &self.0
    }

    fn adapter_of_nobody(&self) -> Memory {
        Memory {
            partner: Arc::default(),
            mistake: self.0.mistake,
            nobody: true,
        }
    }

    fn request(&self, n: u32) -> u32 {
        n
    }

    fn subject(&self, n: u32) -> u32 {
        n
    }

    fn answers(&self, answer: &u32, n: u32) -> bool {
        *answer == n
    }

    async fn misbehave(&self, how: Misbehaviour) {
        self.0.partner().next = Some(how);
    }

    async fn live(&self, n: u32) -> usize {
        let partner = self.0.partner();
        match partner.cancelled.get(&n) {
            Some(true) => 0,
            _ => partner.applied.get(&n).map_or(0, Vec::len),
        }
    }
}

mod honest {
    use super::*;

    adapter_conformance!(Room::with(Mistake::None));
}

/// Each test panics, as the law does that it names.
macro_rules! found {
    ($($mistake:ident by $law:ident: $said:literal)+) => {
        mod found {
            use super::*;
            $(
                #[tokio::test(start_paused = true)]
                #[should_panic(expected = $said)]
                #[allow(non_snake_case)]
                async fn $mistake() {
                    laws::$law(&Room::with(Mistake::$mistake)).await;
                }
            )+
        }
    };
}

found! {
    NoDeadline by ends_by_the_deadline: "the call outlived its deadline"
    SendsTooLate by a_spent_deadline_is_refused_here: "a late call"
    OwnKeys by one_key_one_effect: "effects after an answer"
    DoesWhenAsked by a_query_changes_nothing: "of what has not happened"
    NeverFinds by a_lost_answer_is_found_again: "the query does not find what happened"
    Retries by nothing_is_sent_twice: "a call that failed once succeeded"
    SilenceIsRefusal by after_the_first_byte_nothing_is_known: "NotApplied"
    BusyIsUnknown by the_partners_word_is_believed: "busy"
    NobodyIsUnknown by what_was_not_sent_was_not_applied: "nobody listens"
    LeavesAnswers by a_dropped_call_disturbs_no_other: "the answer is another effect's"
    TakesSecondAnswers by a_second_answer_is_nobodys: "another call's answer"
    CancelsNothing by what_is_cancelled_is_gone: "effects after a cancel"
    NoTombstone by a_cancel_comes_first: "a call after its cancel succeeded"
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a call that came after its cancel succeeded")]
async fn a_missing_tombstone_is_found_by_a_late_call_too() {
    laws::a_call_that_comes_late_is_refused(&Room::with(Mistake::NoTombstone)).await;
}
