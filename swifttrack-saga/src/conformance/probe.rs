//! A hook that says what it saw, and does what it is told.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::hook::{HookError, OnTransition, Transition};

/// A hook that remembers each batch, fails when one of its sagas is to fail, and refuses the
/// starts that it is to refuse. It writes nothing, so it fits every database.
#[derive(Debug, Default)]
pub struct Probe {
    // Std, since nothing is awaited while it is held.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    batches: Vec<Vec<(Uuid, u32)>>,
    fail: HashSet<Uuid>,
    refuse: HashSet<Uuid>,
}

impl Probe {
    /// The batches that it was called with, each as saga and seq in order.
    #[must_use]
    pub fn batches(&self) -> Vec<Vec<(Uuid, u32)>> {
        self.state().batches.clone()
    }

    /// Fails every batch that has a transition of `saga` from now on.
    pub fn fail(&self, saga: Uuid) {
        self.state().fail.insert(saga);
    }

    /// Refuses `saga` from now on, saying its id as a `String`.
    pub fn refuse(&self, saga: Uuid) {
        self.state().refuse.insert(saga);
    }

    /// Forgets what it saw and what it was told.
    pub fn reset(&self) {
        *self.state() = State::default();
    }

    fn see(&self, batch: &[&Transition]) -> Result<(), HookError> {
        let mut state = self.state();
        state
            .batches
            .push(batch.iter().map(|t| (t.saga, t.seq)).collect());
        if batch.iter().any(|t| state.fail.contains(&t.saga)) {
            return Err(ToldToFail.into());
        }
        let refused: Vec<_> = batch
            .iter()
            .filter(|t| state.refuse.contains(&t.saga))
            .map(|t| (t.saga, Arc::new(t.id.to_string()) as Arc<_>))
            .collect();
        if refused.is_empty() {
            Ok(())
        } else {
            Err(HookError::Refuse(refused))
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl<DB: sqlx::Database> OnTransition<DB> for Probe {
    async fn on_transitions(
        &self,
        _conn: &mut DB::Connection,
        batch: &[&Transition],
    ) -> Result<(), HookError> {
        self.see(batch)
    }
}

#[derive(Debug)]
struct ToldToFail;

impl fmt::Display for ToldToFail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the hook was told to fail")
    }
}

impl std::error::Error for ToldToFail {}
