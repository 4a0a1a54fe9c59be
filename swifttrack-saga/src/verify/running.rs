//! Attempts of the user's steps, stopped at each call.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::choice::hash;
use super::world::{Lost, Model, Sender, World};
use crate::engine::attempt::{Verdict, Work};

/// An attempt that waits for an answer.
///
/// Its future is a function of what it began with and of what it has been told, so a hash of
/// both stands for it where states are compared.
pub(super) struct Running<M: Model> {
    pub(super) sender: Sender,
    pub(super) attempt: u32,
    /// Its process was frozen, and another has taken over: nobody hears what it says.
    pub(super) stale: bool,
    /// What it asks.
    pub(super) call: M::Request,
    told: u64,
    run: Run,
}

type Run = Pin<Box<dyn Future<Output = (Verdict, Instant)>>>;

/// How far an attempt came.
pub(super) enum Step<M: Model> {
    Asks(Running<M>),
    Ended(Verdict),
}

impl<M: Model> Running<M> {
    /// Runs an attempt up to its first call. `from` stands for all that it can see.
    pub(super) fn begin(
        world: &World<M>,
        runtime: &Runtime,
        work: Work,
        (sender, attempt): (Sender, u32),
        from: u64,
    ) -> Step<M> {
        let mut run: Run = Box::pin(work.run());
        match poll(world, runtime, &mut run) {
            Ok(call) => Step::Asks(Self {
                sender,
                attempt,
                stale: false,
                call,
                told: from,
                run,
            }),
            Err(verdict) => Step::Ended(verdict),
        }
    }

    /// Tells it what became of its call, and runs it up to the next one.
    pub(super) fn tell(
        mut self,
        world: &World<M>,
        runtime: &Runtime,
        told: Result<M::Answer, Lost>,
    ) -> Step<M> {
        self.told = hash(&(self.told, &self.call, format!("{told:?}")));
        world.lock().tell(told);
        match poll(world, runtime, &mut self.run) {
            Ok(call) => Step::Asks(Self { call, ..self }),
            Err(verdict) => Step::Ended(verdict),
        }
    }

    /// What tells it from others.
    pub(super) fn identity(&self) -> u64 {
        let place = (self.sender, self.attempt, self.stale);
        hash(&(place, &self.call, self.told))
    }
}

/// Runs a future to its next call, or to its end. Where it waits for time, time passes.
fn poll<M: Model>(
    world: &World<M>,
    runtime: &Runtime,
    run: &mut Run,
) -> Result<M::Request, Verdict> {
    let ended = runtime.block_on(poll_fn(|cx| match run.as_mut().poll(cx) {
        Poll::Ready((verdict, _)) => Poll::Ready(Some(verdict)),
        Poll::Pending if world.lock().asks() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    }));
    let asked = world.lock().take_asked();
    match (ended, asked) {
        (Some(verdict), _) => Err(verdict),
        (None, Some(call)) => Ok(call),
        (None, None) => unreachable!("it stops at a call"),
    }
}

/// Virtual time on one thread.
pub(super) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing")
}
