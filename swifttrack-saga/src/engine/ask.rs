//! What may be asked of a running saga, from any process.

use std::sync::Arc;

use crate::core::Body;
use crate::engine::Engine;
use crate::engine::error::Error;
use crate::engine::shared::Event;
use crate::engine::start::{check_id, check_length};
use crate::error::clip;
use crate::signal::Signal;
use crate::step::Payload;
use crate::store::{Command, Request, Sighting, SignalOutcome, StoredSignal};

/// No name of who asked and no reason is longer; what is more is cut off.
const WORDS_BYTES_MAX: usize = 500;
/// No key against duplicates is longer.
const DEDUPE_BYTES_MAX: usize = 200;

/// Who asks, why, and in view of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    who: String,
    reason: String,
    if_seq: Option<u32>,
}

impl By {
    /// Who, and why: both stand in the journal.
    pub fn new(who: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            who: who.into(),
            reason: reason.into(),
            if_seq: None,
        }
    }

    /// Only if the saga still stands where it was looked at.
    #[must_use]
    pub fn if_seq(mut self, seq: u32) -> Self {
        self.if_seq = Some(seq);
        self
    }
}

/// What an operator found out about a step of unknown outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It took effect, with this output as JSON (for an undo: anything).
    Done(String),
    /// It did not, and will not.
    NotDone,
}

/// What became of an [erasure](Engine::erase).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// The saga carries nothing any more.
    Done,
    /// It has not ended, and needs what it carries.
    Running,
    /// There is no such saga.
    NotFound,
}

impl Engine {
    /// Asks a saga to turn back. Accepted is a promise: it will, unless it ends first. One that
    /// has turned back goes on with its undos; its journal says that this changed nothing.
    ///
    /// # Errors
    ///
    /// When the store cannot be used.
    pub async fn cancel(&self, definition: &str, id: &str, by: By) -> Result<Sighting, Error> {
        self.ask("cancel", definition, id, None, by).await
    }

    /// Lets nothing new start in it until [`resume`](Self::resume).
    ///
    /// # Errors
    ///
    /// When the store cannot be used.
    pub async fn pause(&self, definition: &str, id: &str, by: By) -> Result<Sighting, Error> {
        self.ask("pause", definition, id, None, by).await
    }

    /// Ends a pause.
    ///
    /// # Errors
    ///
    /// When the store cannot be used.
    pub async fn resume(&self, definition: &str, id: &str, by: By) -> Result<Sighting, Error> {
        self.ask("resume", definition, id, None, by).await
    }

    /// Tries again now what waits or is parked: the step (or its undo), or what is stuck.
    ///
    /// # Errors
    ///
    /// When the store cannot be used.
    pub async fn retry(
        &self,
        definition: &str,
        id: &str,
        step: Option<&str>,
        by: By,
    ) -> Result<Sighting, Error> {
        let body = Body {
            step: step.map(str::to_owned),
            ..Body::default()
        };
        self.ask("retry", definition, id, Some(body), by).await
    }

    /// Goes on without an undo (whose effect then stands), or without a step whose output
    /// nobody uses.
    ///
    /// # Errors
    ///
    /// When the store cannot be used.
    pub async fn skip(
        &self,
        definition: &str,
        id: &str,
        step: &str,
        by: By,
    ) -> Result<Sighting, Error> {
        let body = Body {
            step: Some(step.to_owned()),
            ..Body::default()
        };
        self.ask("skip", definition, id, Some(body), by).await
    }

    /// Says what became of a step (or its undo) of unknown outcome.
    ///
    /// # Errors
    ///
    /// When the store cannot be used, or the output is too large.
    pub async fn resolve(
        &self,
        definition: &str,
        id: &str,
        step: &str,
        answer: Answer,
        by: By,
    ) -> Result<Sighting, Error> {
        let mut body = Body {
            step: Some(step.to_owned()),
            ..Body::default()
        };
        if let Answer::Done(output) = answer {
            check_length("the output", output.len())?;
            if self.shared.with.codec.is_none() {
                body.output = Some(output);
            } else {
                let plain = output.into_bytes().into();
                let Some(sealed) = self.sealed(definition, id, plain).await? else {
                    return Ok(Sighting::NotFound);
                };
                body.sealed = Some(sealed.to_vec());
            }
        }
        self.ask("resolve", definition, id, Some(body), by).await
    }

    /// Says something to a saga. The same `dedupe` key twice is one signal; a signal that
    /// comes before the saga waits for it is kept, the first of its name.
    ///
    /// # Errors
    ///
    /// When the store cannot be used, the words or the key are too large, or nothing in the
    /// versions that are registered here waits for such a signal.
    pub async fn signal<T: Payload>(
        &self,
        definition: &str,
        id: &str,
        signal: &Signal<T>,
        dedupe: &str,
        words: &T,
    ) -> Result<SignalOutcome, Error> {
        check_id(id)?;
        let payload = serde_json::to_vec(words)
            .map_err(|error| Error::invalid(format!("the words cannot be encoded: {error}")))?;
        check_length("what the signal says", payload.len())?;
        if dedupe.len() > DEDUPE_BYTES_MAX {
            let length = dedupe.len();
            return Err(Error::invalid(format!(
                "the key against duplicates has {length} bytes; the most is {DEDUPE_BYTES_MAX}"
            )));
        }
        if !self.shared.registry.may_hear(definition, signal.name()) {
            let name = signal.name();
            return Err(Error::invalid(format!(
                "no version of {definition:?} that is registered here waits for {name:?}"
            )));
        }
        let Some(payload) = self.sealed(definition, id, payload.into()).await? else {
            return Ok(SignalOutcome::NotFound);
        };
        let stored = StoredSignal {
            n: 0,
            definition: definition.to_owned(),
            id: id.to_owned(),
            name: signal.name().to_owned(),
            dedupe: dedupe.to_owned(),
            payload,
        };
        let outcome = self.shared.store.signal(stored).await?;
        if let SignalOutcome::Accepted { saga } = outcome {
            self.look(saga);
        }
        Ok(outcome)
    }

    /// A payload for a saga as it is stored; none if there is no such saga to seal it for.
    async fn sealed(
        &self,
        definition: &str,
        id: &str,
        plain: Arc<[u8]>,
    ) -> Result<Option<Arc<[u8]>>, Error> {
        let Some(codec) = &self.shared.with.codec else {
            return Ok(Some(plain));
        };
        check_id(id)?;
        let found = self.shared.store.find(definition, id).await?;
        Ok(found.map(|found| codec.seal(found.saga, &plain).into()))
    }

    async fn ask(
        &self,
        verb: &str,
        definition: &str,
        id: &str,
        body: Option<Body>,
        by: By,
    ) -> Result<Sighting, Error> {
        check_id(id)?;
        let body = body.map(|body| serde_json::to_string(&body));
        let body = body
            .transpose()
            .map_err(|error| Error::invalid(error.to_string()))?;
        let request = Request {
            definition: definition.to_owned(),
            id: id.to_owned(),
            if_seq: by.if_seq,
            before_pivot: verb == "cancel",
            command: Command {
                n: 0,
                verb: verb.to_owned(),
                who: clip(&by.who, WORDS_BYTES_MAX).to_owned(),
                reason: clip(&by.reason, WORDS_BYTES_MAX).to_owned(),
                body,
            },
        };
        let sighting = self.shared.store.request(request).await?;
        if let Sighting::Accepted { saga, .. } = sighting {
            self.look(saga);
        }
        Ok(sighting)
    }

    /// Blanks what a saga that has ended carried: its input, its outputs, what signals said.
    /// What happened, when, and by whose word stays, codes and messages of errors too, and so
    /// does the id, with a digest of the input that it was started with.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, it may or may not be done. Doing it again is harmless.
    ///
    /// # Errors
    ///
    /// When the store cannot be used.
    pub async fn erase(&self, definition: &str, id: &str) -> Result<Erasure, Error> {
        let Some(found) = self.shared.store.find(definition, id).await? else {
            return Ok(Erasure::NotFound);
        };
        Ok(match self.shared.store.erase(found.saga).await? {
            true => Erasure::Done,
            false => Erasure::Running,
        })
    }

    /// If the saga is here, its lane looks at once; if it is evicted, a sweep does.
    fn look(&self, saga: uuid::Uuid) {
        self.shared.send_all(|| Event::Look(saga));
        self.hint();
    }
}
