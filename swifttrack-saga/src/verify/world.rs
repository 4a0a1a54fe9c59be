//! The partners, and the network in front of them.

use std::fmt::{self, Debug};
use std::future::poll_fn;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use super::choice::{Chooser, Plan};

/// What the partners do when a request arrives.
///
/// # Laws
///
/// 1. [`answer`](Self::answer) depends on the model and the request alone.
/// 2. Equal models behave alike, whatever comes: states that look the same are looked at once.
pub trait Model: Clone + Debug + Eq + Hash + Send + 'static {
    /// What they are asked.
    type Request: Clone + Debug + Eq + Hash + Send + Sync + 'static;
    /// What they say.
    type Answer: Clone + Debug + Send + 'static;

    /// A request arrives.
    fn answer(&mut self, request: &Self::Request) -> Self::Answer;

    /// How a partner may refuse this request although nothing is wrong with it: no stock, no
    /// credit. It then has no effect.
    fn refusal(&self, _request: &Self::Request) -> Option<Self::Answer> {
        None
    }

    /// The effects that stand, in words: none twice.
    fn effects(&self) -> Vec<String>;

    /// What a completed saga must have brought about.
    ///
    /// # Errors
    ///
    /// What is wrong, in words.
    fn completed(&self) -> Result<(), String> {
        Ok(())
    }

    /// What must never be, such as an effect that is there twice.
    fn broken(&self) -> Option<String> {
        None
    }
}

/// Why a call gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Nothing was sent.
    #[error("nothing was sent")]
    NotSent,
    /// It was sent, and there was no answer.
    #[error("no answer came")]
    Unknown,
}

/// The port of a step under verification. Clones are the same world.
pub struct World<M: Model> {
    // A std mutex, since nothing is awaited while it is held.
    inner: Arc<Mutex<Inner<M>>>,
}

pub(crate) struct Inner<M: Model> {
    first: M,
    pub(crate) model: M,
    /// Requests that are on their way and that nobody waits for.
    pub(crate) late: Vec<(Sender, M::Request)>,
    /// What the attempt that runs asks.
    asked: Option<M::Request>,
    /// What it is told.
    told: Option<Result<M::Answer, Lost>>,
    /// It asked twice at a time.
    pub(crate) hasty: bool,
    /// Whose effects stand, if that matters.
    pub(crate) makers: Option<Vec<(String, u16)>>,
    pub(crate) chooser: Chooser,
    pub(crate) story: Vec<String>,
}

/// Which attempt a request is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sender {
    pub(crate) node: u16,
    pub(crate) undo: bool,
}

impl<M: Model> World<M> {
    /// A world that begins like this.
    pub fn new(model: M) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Inner {
                first: model.clone(),
                model,
                late: Vec::new(),
                asked: None,
                told: None,
                hasty: false,
                makers: None,
                chooser: Chooser::new(Plan::Given(Vec::new(), None)),
                story: Vec::new(),
            })),
        }
    }

    /// Asks the partners. What becomes of the request is the explorer's choice.
    ///
    /// A step makes one call at a time.
    ///
    /// # Errors
    ///
    /// [`Lost`].
    pub async fn call(&self, request: M::Request) -> Result<M::Answer, Lost> {
        {
            let mut inner = self.lock();
            inner.hasty |= inner.asked.is_some();
            inner.asked = Some(request);
        }
        poll_fn(|_| match self.lock().told.take() {
            Some(told) => Poll::Ready(told),
            None => Poll::Pending,
        })
        .await
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner<M>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins anew; `makers` says whether it matters whose effects stand.
    pub(crate) fn begin(&self, plan: Plan, makers: bool) {
        let mut inner = self.lock();
        inner.model = inner.first.clone();
        inner.late.clear();
        inner.asked = None;
        inner.told = None;
        inner.hasty = false;
        inner.makers = makers.then(Vec::new);
        inner.chooser = Chooser::new(plan);
        inner.story.clear();
    }
}

impl<M: Model> Inner<M> {
    /// Whether the attempt that runs waits for an answer.
    pub(crate) fn asks(&self) -> bool {
        self.asked.is_some()
    }

    pub(crate) fn take_asked(&mut self) -> Option<M::Request> {
        self.asked.take()
    }

    pub(crate) fn tell(&mut self, told: Result<M::Answer, Lost>) {
        self.told = Some(told);
    }

    /// A request arrives.
    pub(crate) fn deliver(&mut self, sender: Sender, request: &M::Request) -> M::Answer {
        let answer = self.model.answer(request);
        if let Some(makers) = &mut self.makers {
            let mut effects = self.model.effects();
            makers.retain(
                |(effect, _)| match effects.iter().position(|e| e == effect) {
                    Some(place) => {
                        effects.swap_remove(place);
                        true
                    }
                    None => false,
                },
            );
            makers.extend(effects.into_iter().map(|effect| (effect, sender.node)));
            makers.sort_unstable();
        }
        answer
    }

    /// A request that was late arrives.
    pub(crate) fn arrive(&mut self, which: usize) {
        let (sender, request) = self.late.remove(which);
        let answer = self.deliver(sender, &request);
        let note = format!("late, {request:?} arrives: {answer:?}");
        self.story.push(note);
    }
}

impl<M: Model> Clone for World<M> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<M: Model> fmt::Debug for World<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("model", &self.lock().model)
            .finish_non_exhaustive()
    }
}
