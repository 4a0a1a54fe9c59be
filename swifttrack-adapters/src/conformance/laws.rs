//! The laws of [`Adapter`](crate::Adapter), each as a test against a [`Rig`].
//!
//! # Panics
//!
//! Each panics where the adapter breaks its law, and says how.

// Said once, above: panicking is what they are for.
#![allow(clippy::missing_panics_doc)]

use std::time::Duration;

use super::{Misbehaviour, Rig};
use crate::{Adapter as _, CallContext, Cancelled, Error, Lookup};

/// Long enough for any machine. A test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// For calls that are meant to reach it.
const SOON: Duration = Duration::from_millis(300);

/// What went wrong after the request was sent, and leaves the effect in the dark.
const DARK: [Misbehaviour; 4] = [
    Misbehaviour::ResetBefore,
    Misbehaviour::ResetAfter,
    Misbehaviour::Garbage,
    Misbehaviour::HalfReply,
];

type Answer<R> = <<R as Rig>::Adapter as crate::Adapter>::Response;

fn forward(n: u32) -> CallContext {
    CallContext::new(format!("effect-{n}:do"), PATIENCE)
}

fn back(n: u32) -> CallContext {
    CallContext::new(format!("effect-{n}:undo"), PATIENCE)
}

fn soon(n: u32) -> CallContext {
    CallContext::new(format!("effect-{n}:do"), SOON)
}

/// Makes the `n`-th call, and waits where the adapter itself asks for it: a
/// pause after a lost connection is no word of the partner's.
async fn call<R: Rig>(rig: &R, n: u32) -> Result<Answer<R>, Error> {
    const PAUSES_MAX: usize = 50;
    for _ in 0..PAUSES_MAX {
        match rig.adapter().call(&rig.request(n), &forward(n)).await {
            Err(error) if error.is_local() && error.retry_after().is_some() => {
                tokio::time::sleep(error.retry_after().unwrap_or_default()).await;
            }
            result => return result,
        }
    }
    panic!("the adapter asks for a pause without end");
}

async fn done<R: Rig>(rig: &R, n: u32) {
    let answer = call(rig, n).await;
    let answer = expect(answer, "a call of a partner in good health");
    assert!(rig.answers(&answer, n), "the answer is another effect's");
    assert_eq!(rig.live(n).await, 1, "effects after an answer");
}

#[track_caller]
fn expect<T>(result: Result<T, Error>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what} failed: {error:?}"),
    }
}

#[track_caller]
fn failure<T>(result: Result<T, Error>, what: &str) -> Error {
    match result {
        Ok(_) => panic!("{what} succeeded"),
        Err(error) => error,
    }
}

/// Law 1. A call whose partner says nothing ends by its deadline, and nobody knows what it did.
pub async fn ends_by_the_deadline<R: Rig>(rig: &R) {
    rig.misbehave(Misbehaviour::Hang).await;
    let (request, cx) = (rig.request(1), soon(1));
    let call = rig.adapter().call(&request, &cx);
    let Ok(result) = tokio::time::timeout(PATIENCE, call).await else {
        panic!("the call outlived its deadline");
    };
    let error = failure(result, "a call without an answer");
    assert!(error.is_unknown(), "{error:?}");
    done(rig, 1).await;
}

/// Law 1. A call whose deadline has passed is refused here, and counts against nobody.
pub async fn a_spent_deadline_is_refused_here<R: Rig>(rig: &R) {
    let spent = CallContext::new("effect-1:do", Duration::ZERO);
    let error = failure(
        rig.adapter().call(&rig.request(1), &spent).await,
        "a late call",
    );
    assert!(error.is_local() && error.is_not_applied(), "{error:?}");
    assert!(!error.counts_against_partner(), "{error:?}");
    assert_eq!(rig.live(1).await, 0, "effects of a call that was not made");
}

/// Law 2. Under one key the effect happens once, however often it is asked for.
pub async fn one_key_one_effect<R: Rig>(rig: &R) {
    for _ in 0..3 {
        done(rig, 1).await;
    }
    done(rig, 2).await;
    assert_eq!(rig.live(1).await, 1);
}

/// Law 2. A lost answer is fetched by asking, or by sending the same key again.
pub async fn a_lost_answer_is_found_again<R: Rig>(rig: &R) {
    rig.misbehave(Misbehaviour::ResetAfter).await;
    let lost = call(rig, 1).await;
    let error = failure(lost, "a call whose answer was lost");
    assert!(error.is_unknown(), "{error:?}");
    assert_eq!(rig.live(1).await, 1);
    match expect(
        rig.adapter().query(&rig.subject(1), &forward(1)).await,
        "a query",
    ) {
        Lookup::Happened => {}
        Lookup::Done(answer) => assert!(rig.answers(&answer, 1), "another effect's answer"),
        Lookup::Never | Lookup::NotYet => panic!("the query does not find what happened"),
    }
    done(rig, 1).await;
}

/// Law 3. An adapter does not try again: what the partner did not do stays undone.
pub async fn nothing_is_sent_twice<R: Rig>(rig: &R) {
    for how in [Misbehaviour::ResetBefore, Misbehaviour::Busy] {
        rig.misbehave(how).await;
        failure(call(rig, 1).await, "a call that failed once");
        assert_eq!(
            rig.live(1).await,
            0,
            "the adapter tried again after {how:?}"
        );
    }
}

/// Law 4. What went wrong after the first byte is unknown.
pub async fn after_the_first_byte_nothing_is_known<R: Rig>(rig: &R) {
    for (n, how) in (1..).zip(DARK) {
        rig.misbehave(how).await;
        let result = call(rig, n).await;
        let error = failure(result, "a call without an answer");
        assert!(error.is_unknown(), "{how:?}: {error:?}");
        assert!(error.counts_against_partner(), "{how:?}: {error:?}");
    }
}

/// Law 4. The partner's own word that it did nothing is believed.
pub async fn the_partners_word_is_believed<R: Rig>(rig: &R) {
    rig.misbehave(Misbehaviour::Busy).await;
    let result = call(rig, 1).await;
    let error = failure(result, "a call of a busy partner");
    assert!(error.is_not_applied() && !error.is_local(), "{error:?}");
    assert!(error.code().is_some(), "{error:?}");
    done(rig, 1).await;
}

/// Law 4. What was never sent was not applied, and counts against the partner.
pub async fn what_was_not_sent_was_not_applied<R: Rig>(rig: &R) {
    let adapter = rig.adapter_of_nobody();
    let error = failure(
        adapter.call(&rig.request(1), &soon(1)).await,
        "a call of nobody",
    );
    assert!(error.is_not_applied(), "{error:?}");
    assert!(error.counts_against_partner(), "{error:?}");
    failure(adapter.probe(&soon(1)).await, "a probe of nobody");
}

/// Law 5. A dropped call disturbs no other.
pub async fn a_dropped_call_disturbs_no_other<R: Rig>(rig: &R) {
    for n in 1..=3 {
        rig.misbehave(Misbehaviour::Hang).await;
        let request = rig.request(n);
        let cx = forward(n);
        let call = rig.adapter().call(&request, &cx);
        let dropped = tokio::time::timeout(SOON, call).await;
        assert!(dropped.is_err(), "a call that hangs has ended");
        done(rig, n + 10).await;
    }
    for n in 1..=3 {
        done(rig, n).await;
    }
}

/// Law 5. An answer that comes twice is never taken for another call's.
pub async fn a_second_answer_is_nobodys<R: Rig>(rig: &R) {
    for n in 1..=3 {
        rig.misbehave(Misbehaviour::DuplicateReply).await;
        // That call may succeed or be in doubt; what matters is the next one.
        let _ = call(rig, n).await;
        let other = rig
            .adapter()
            .query(&rig.subject(n + 10), &forward(n + 10))
            .await;
        match other {
            Ok(Lookup::NotYet) => {}
            Ok(_) => panic!("another call's answer was taken for a query's"),
            Err(error) => assert!(error.is_unknown(), "{error:?}"),
        }
        let next = call(rig, n + 20).await;
        match next {
            Ok(answer) => assert!(rig.answers(&answer, n + 20), "another call's answer"),
            Err(error) => assert!(error.is_unknown(), "{error:?}"),
        }
    }
}

/// A query tells what is, and changes nothing.
pub async fn a_query_changes_nothing<R: Rig>(rig: &R) {
    let before = expect(
        rig.adapter().query(&rig.subject(1), &forward(1)).await,
        "a query",
    );
    assert!(matches!(before, Lookup::NotYet), "of what has not happened");
    assert_eq!(rig.live(1).await, 0);
    done(rig, 1).await;
    let after = expect(
        rig.adapter().query(&rig.subject(1), &forward(1)).await,
        "a query",
    );
    assert!(
        matches!(after, Lookup::Happened | Lookup::Done(_)),
        "of what has happened"
    );
    assert_eq!(rig.live(1).await, 1);
}

/// What is cancelled is gone, also if it is cancelled again.
pub async fn what_is_cancelled_is_gone<R: Rig>(rig: &R) {
    done(rig, 1).await;
    for _ in 0..3 {
        expect(
            rig.adapter().cancel(&rig.subject(1), &back(1)).await,
            "a cancel",
        );
        assert_eq!(rig.live(1).await, 0, "effects after a cancel");
    }
    let found = expect(
        rig.adapter().query(&rig.subject(1), &forward(1)).await,
        "a query",
    );
    assert!(matches!(found, Lookup::Never), "of what was cancelled");
}

/// What was cancelled before it happened cannot happen any more.
pub async fn a_cancel_comes_first<R: Rig>(rig: &R) {
    let cancelled = rig.adapter().cancel(&rig.subject(1), &back(1)).await;
    let cancelled = expect(cancelled, "a cancel of what never happened");
    assert_ne!(
        cancelled,
        Cancelled::Already,
        "nothing was cancelled before"
    );
    let result = call(rig, 1).await;
    let error = failure(result, "a call after its cancel");
    assert!(error.is_rejected(), "{error:?}");
    assert!(!error.counts_against_partner(), "{error:?}");
    assert_eq!(rig.live(1).await, 0);
    let found = expect(
        rig.adapter().query(&rig.subject(1), &forward(1)).await,
        "a query",
    );
    assert!(matches!(found, Lookup::Never), "of what cannot happen");
}

/// What was on its way while it was cancelled cannot happen any more either.
pub async fn a_call_that_comes_late_is_refused<R: Rig>(rig: &R) {
    rig.misbehave(Misbehaviour::Late).await;
    let (request, forward_cx) = (rig.request(1), forward(1));
    let (subject, back_cx) = (rig.subject(1), back(1));
    let (late, cancelled) = tokio::join!(
        rig.adapter().call(&request, &forward_cx),
        rig.adapter().cancel(&subject, &back_cx),
    );
    expect(cancelled, "a cancel of what is still on its way");
    let error = failure(late, "a call that came after its cancel");
    assert!(error.is_rejected(), "{error:?}");
    assert_eq!(rig.live(1).await, 0, "effects after a cancel");
    let found = rig.adapter().query(&rig.subject(1), &forward(1)).await;
    let found = expect(found, "a query");
    assert!(matches!(found, Lookup::Never), "of what cannot happen");
}

/// A partner in good health answers a probe.
pub async fn a_probe_is_answered<R: Rig>(rig: &R) {
    expect(rig.adapter().probe(&forward(1)).await, "a probe");
}

/// Makes a test of every law: `adapter_conformance!(MyRig::start().await);`
///
/// The expression is evaluated anew for each, inside an async function. The
/// tests run on tokio.
#[macro_export]
macro_rules! adapter_conformance {
    ($rig:expr) => {
        $crate::adapter_conformance! { @laws $rig;
            ends_by_the_deadline
            a_spent_deadline_is_refused_here
            one_key_one_effect
            a_lost_answer_is_found_again
            nothing_is_sent_twice
            after_the_first_byte_nothing_is_known
            the_partners_word_is_believed
            what_was_not_sent_was_not_applied
            a_dropped_call_disturbs_no_other
            a_second_answer_is_nobodys
            a_query_changes_nothing
            what_is_cancelled_is_gone
            a_cancel_comes_first
            a_call_that_comes_late_is_refused
            a_probe_is_answered
        }
    };
    (@laws $rig:expr; $($law:ident)+) => {
        $(
            #[tokio::test]
            async fn $law() {
                let rig = $rig;
                $crate::conformance::laws::$law(&rig).await;
            }
        )+
    };
}
