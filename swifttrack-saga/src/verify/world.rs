//! The partners, and the network in front of them.

use std::fmt::{self, Debug};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the partners do when a request arrives.
///
/// # Laws
///
/// 1. [`answer`](Self::answer) depends on the model and the request alone.
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

    /// The effects that stand, in words.
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
    inner: Arc<Mutex<Inner<M>>>,
}

pub(crate) struct Inner<M: Model> {
    first: M,
    pub(crate) model: M,
    /// Requests that are still on their way, and whose.
    pub(crate) late: Vec<(u16, M::Request)>,
    /// The node whose attempt runs.
    pub(crate) node: u16,
    pub(crate) crashed: bool,
    pub(crate) chooser: Chooser,
    pub(crate) story: Vec<String>,
}

/// The choices of a path: those given, then the harmless ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chooser {
    pub(crate) given: Vec<u8>,
    /// What was chosen, and the fault that each choice would have been.
    pub(crate) taken: Vec<(u8, Vec<bool>)>,
    pub(crate) faults: u32,
    /// A choice that was given was not there.
    pub(crate) diverged: bool,
}

impl Chooser {
    /// Chooses among options; true is a fault. The first is never one.
    pub(crate) fn choose(&mut self, options: Vec<bool>) -> usize {
        let place = self.taken.len();
        let mut choice = usize::from(self.given.get(place).copied().unwrap_or(0));
        if choice >= options.len() {
            self.diverged = true;
            choice = 0;
        }
        self.faults += u32::from(options[choice]);
        self.taken
            .push((u8::try_from(choice).unwrap_or(u8::MAX), options));
        choice
    }

    /// Whether everything that was given has been chosen.
    pub(crate) fn beyond(&self) -> bool {
        self.taken.len() >= self.given.len()
    }
}

impl<M: Model> World<M> {
    /// A world that begins like this.
    pub fn new(model: M) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Inner {
                first: model.clone(),
                model,
                late: Vec::new(),
                node: 0,
                crashed: false,
                chooser: Chooser::default(),
                story: Vec::new(),
            })),
        }
    }

    /// Asks the partners. What becomes of the request is the explorer's choice.
    ///
    /// # Errors
    ///
    /// [`Lost`].
    pub async fn call(&self, request: M::Request) -> Result<M::Answer, Lost> {
        let told = self.lock().send(&request);
        match told {
            Some(answer) => answer,
            // The process is gone, and this never returns.
            None => std::future::pending().await,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner<M>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, given: &[u8]) {
        let mut inner = self.lock();
        inner.model = inner.first.clone();
        inner.late.clear();
        inner.crashed = false;
        inner.story.clear();
        inner.chooser = Chooser {
            given: given.to_vec(),
            ..Chooser::default()
        };
    }
}

impl<M: Model> Inner<M> {
    fn send(&mut self, request: &M::Request) -> Option<Result<M::Answer, Lost>> {
        let refusal = self.model.refusal(request);
        let mut options = vec![false, true, true, true, true, true, true];
        if refusal.is_some() {
            options.push(true);
        }
        let choice = self.chooser.choose(options);
        let what = format!("{request:?}");
        let (note, answer) = match choice {
            0 => {
                let answer = self.model.answer(request);
                (format!("is answered {answer:?}"), Some(Ok(answer)))
            }
            1 => ("is not sent".to_owned(), Some(Err(Lost::NotSent))),
            2 => ("is lost on its way".to_owned(), Some(Err(Lost::Unknown))),
            3 => {
                let answer = self.model.answer(request);
                let note = format!("arrives, and the answer {answer:?} is lost");
                (note, Some(Err(Lost::Unknown)))
            }
            4 => {
                self.late.push((self.node, request.clone()));
                let note = "is on its way for longer than anybody waits".to_owned();
                (note, Some(Err(Lost::Unknown)))
            }
            5 => {
                self.crashed = true;
                ("is not sent: the process dies".to_owned(), None)
            }
            6 => {
                self.model.answer(request);
                self.crashed = true;
                ("arrives, and the process dies".to_owned(), None)
            }
            _ => {
                let answer = refusal?;
                (format!("is refused: {answer:?}"), Some(Ok(answer)))
            }
        };
        self.story.push(format!("    {what} {note}"));
        answer
    }

    /// A request that was late arrives.
    pub(crate) fn arrive(&mut self, which: usize) {
        let (_, request) = self.late.remove(which);
        let answer = self.model.answer(&request);
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
