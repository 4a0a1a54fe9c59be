//! Changes to one step at its place in one definition.

use std::marker::PhantomData;
use std::time::Duration;

use crate::definition::{Kind, Node, Undo};
use crate::policy::{Late, Policy, Retry};
use crate::step::{Compensate, ForwardStep, Step};

/// What a definition may say about a step that its author did not.
///
/// ```text
/// s.step(VerifyContract.retry(PATIENT).on("cms").tombstone(), order)
/// s.step(PostLetter.irrevocable("a posted letter cannot be recalled"), contract)
/// ```
pub trait Tune: Step + Sized {
    /// Another name, for a step that is used twice.
    fn named(self, name: &'static str) -> Tuned<Self> {
        Tuned::new(self).named(name)
    }

    /// Other pauses than the step's own.
    fn retry(self, retry: Retry) -> Tuned<Self> {
        Tuned::new(self).retry(retry)
    }

    /// Another timeout of one attempt.
    fn attempt_timeout(self, timeout: Duration) -> Tuned<Self> {
        Tuned::new(self).attempt_timeout(timeout)
    }

    /// One process runs no more than so many of it (undos included) at a time.
    fn concurrency(self, max: usize) -> Tuned<Self> {
        Tuned::new(self).concurrency(max)
    }

    /// What it calls: [`Engine::wake`](crate::Engine::wake) with this name also ends the
    /// pauses between its attempts.
    fn on(self, partner: &'static str) -> Tuned<Self> {
        Tuned::new(self).on(partner)
    }

    /// Other pauses between attempts to undo it.
    fn undo_retry(self, retry: Retry) -> Tuned<Self>
    where
        Self: Compensate,
    {
        Tuned::new(self).undo_retry(retry)
    }

    /// Another timeout of one attempt to undo it.
    fn undo_timeout(self, timeout: Duration) -> Tuned<Self>
    where
        Self: Compensate,
    {
        Tuned::new(self).undo_timeout(timeout)
    }

    /// The partner refuses a request that comes after its undo: see [`Late::Refused`].
    fn tombstone(self) -> Tuned<Self>
    where
        Self: Compensate,
    {
        Tuned::new(self).tombstone()
    }

    /// It does not, so an undo waits for what may still be on its way: see [`Late::Quiet`].
    fn quiet(self, pause: Duration) -> Tuned<Self>
    where
        Self: Compensate,
    {
        Tuned::new(self).quiet(pause)
    }

    /// Leaves it as it is when the saga turns back, for a reason that is kept and drawn.
    fn irrevocable(self, reason: &'static str) -> Tuned<Self, Irrevocable> {
        Tuned::new(self).irrevocable(reason)
    }

    /// It changes nothing, so there is nothing to undo.
    fn read_only(self) -> Tuned<Self, ReadOnly> {
        Tuned::new(self).read_only()
    }
}

impl<S: Step> Tune for S {}

/// [`Tune`] for a step after the pivot.
pub trait TuneForward: ForwardStep + Sized {
    /// Another name, for a step that is used twice.
    fn named(self, name: &'static str) -> Tuned<Self, Onward> {
        Tuned::onward(self).named(name)
    }

    /// Other pauses than the step's own. When they run out, the saga is parked.
    fn retry(self, retry: Retry) -> Tuned<Self, Onward> {
        Tuned::onward(self).retry(retry)
    }

    /// Another timeout of one attempt.
    fn attempt_timeout(self, timeout: Duration) -> Tuned<Self, Onward> {
        Tuned::onward(self).attempt_timeout(timeout)
    }

    /// See [`Tune::concurrency`].
    fn concurrency(self, max: usize) -> Tuned<Self, Onward> {
        Tuned::onward(self).concurrency(max)
    }

    /// See [`Tune::on`].
    fn on(self, partner: &'static str) -> Tuned<Self, Onward> {
        Tuned::onward(self).on(partner)
    }
}

impl<S: ForwardStep> TuneForward for S {}

/// A step with what the definition says about it. Made by [`Tune`] and [`TuneForward`].
#[derive(Debug)]
#[must_use = "a step does nothing until a definition takes it"]
pub struct Tuned<S, U = ByUndo> {
    pub(crate) step: S,
    name: &'static str,
    policy: Policy,
    undo_retry: Option<Retry>,
    undo_timeout: Option<Duration>,
    late: Option<Late>,
    on: Option<&'static str>,
    concurrency: Option<usize>,
    pub(crate) reason: &'static str,
    undo: PhantomData<U>,
}

/// It is undone by its [`Compensate`].
#[derive(Debug)]
pub enum ByUndo {}
/// It is not undone, and there is a reason.
#[derive(Debug)]
pub enum Irrevocable {}
/// It needs no undo.
#[derive(Debug)]
pub enum ReadOnly {}
/// It comes after the pivot.
#[derive(Debug)]
pub enum Onward {}

impl<S: Step> Tuned<S> {
    pub(crate) fn new(step: S) -> Self {
        Self::plain(S::NAME, step.policy(), step)
    }

    /// See [`Tune::irrevocable`].
    pub fn irrevocable(self, reason: &'static str) -> Tuned<S, Irrevocable> {
        Tuned {
            reason,
            ..self.settle()
        }
    }

    /// See [`Tune::read_only`].
    pub fn read_only(self) -> Tuned<S, ReadOnly> {
        self.settle()
    }
}

impl<S: ForwardStep> Tuned<S, Onward> {
    pub(crate) fn onward(step: S) -> Self {
        Self::plain(S::NAME, step.policy(), step)
    }
}

impl<S: Compensate> Tuned<S> {
    /// See [`Tune::undo_retry`].
    pub fn undo_retry(mut self, retry: Retry) -> Self {
        self.undo_retry = Some(retry);
        self
    }

    /// See [`Tune::undo_timeout`].
    pub fn undo_timeout(mut self, timeout: Duration) -> Self {
        self.undo_timeout = Some(timeout);
        self
    }

    /// See [`Tune::tombstone`].
    pub fn tombstone(mut self) -> Self {
        self.late = Some(Late::Refused);
        self
    }

    /// See [`Tune::quiet`].
    pub fn quiet(mut self, pause: Duration) -> Self {
        self.late = Some(Late::Quiet(pause));
        self
    }

    pub(crate) fn undo(&self) -> Undo {
        let mut policy = self.step.undo_policy();
        if let Some(retry) = self.undo_retry {
            policy = policy.retry(retry);
        }
        if let Some(timeout) = self.undo_timeout {
            policy = policy.attempt_timeout(timeout);
        }
        let late = self.late.unwrap_or_else(|| self.step.late());
        Undo::By { policy, late }
    }
}

impl<S, U> Tuned<S, U> {
    /// See [`Tune::named`].
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// See [`Tune::retry`].
    pub fn retry(mut self, retry: Retry) -> Self {
        self.policy = self.policy.retry(retry);
        self
    }

    /// See [`Tune::attempt_timeout`].
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.policy = self.policy.attempt_timeout(timeout);
        self
    }

    /// See [`Tune::concurrency`]. At least one.
    pub fn concurrency(mut self, max: usize) -> Self {
        self.concurrency = Some(max.max(1));
        self
    }

    /// See [`Tune::on`].
    pub fn on(mut self, partner: &'static str) -> Self {
        self.on = Some(partner);
        self
    }

    pub(crate) fn node(&self, kind: Kind, undo: Undo) -> Node {
        Node {
            undo,
            policy: Some(self.policy),
            on: self.on,
            concurrency: self.concurrency,
            ..Node::named(self.name, kind)
        }
    }

    fn plain(name: &'static str, policy: Policy, step: S) -> Self {
        Self {
            step,
            name,
            policy,
            undo_retry: None,
            undo_timeout: None,
            late: None,
            on: None,
            concurrency: None,
            reason: "",
            undo: PhantomData,
        }
    }

    fn settle<V>(self) -> Tuned<S, V> {
        Tuned {
            step: self.step,
            name: self.name,
            policy: self.policy,
            undo_retry: self.undo_retry,
            undo_timeout: self.undo_timeout,
            late: self.late,
            on: self.on,
            concurrency: self.concurrency,
            reason: self.reason,
            undo: PhantomData,
        }
    }
}
