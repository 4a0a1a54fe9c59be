//! Transitions, for whoever listens.

use std::sync::OnceLock;

use tokio::sync::broadcast::{self, error::RecvError};

use crate::state::Transition;

/// How many transitions a listener may fall behind before it misses the oldest.
pub const EVENTS_MAX: usize = 256;

/// One place to listen at. The channel is made for the first listener.
#[derive(Debug)]
pub(crate) struct Hub(OnceLock<broadcast::Sender<Transition>>);

impl Hub {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    pub(crate) fn send(&self, transition: &Transition) {
        if let Some(sender) = self.0.get() {
            // Nobody listening is not an error.
            let _ = sender.send(transition.clone());
        }
    }

    pub(crate) fn subscribe(&self) -> Transitions {
        let sender = self.0.get_or_init(|| broadcast::channel(EVENTS_MAX).0);
        Transitions(sender.subscribe())
    }
}

/// The transitions of one circuit, or of a registry, from the moment of subscribing.
///
/// Each comes once and in order (of its circuit, if there are several). A
/// listener never slows a circuit down: one that falls behind by more than
/// [`EVENTS_MAX`] is told how many it missed.
#[derive(Debug)]
pub struct Transitions(broadcast::Receiver<Transition>);

/// What a listener hears.
#[derive(Clone, Debug)]
pub enum Event {
    /// A circuit changed its state.
    Changed(Transition),
    /// So many transitions were missed: take a snapshot to know where things stand.
    Missed(u64),
}

impl Transitions {
    /// The next event; nothing once the circuit is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(transition) => Some(Event::Changed(transition)),
            Err(RecvError::Lagged(missed)) => Some(Event::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}
