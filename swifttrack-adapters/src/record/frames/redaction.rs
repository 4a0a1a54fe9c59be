//! What does not go on record.

use std::fmt;
use std::sync::Arc;

use super::RecordedFrame;
use crate::framed::{Message, Protocol};

type Strike<M> = Arc<dyn Fn(&mut M) + Send + Sync>;

/// What is struck out of messages before they are kept or compared: secrets, and what differs from
/// run to run, such as a trace.
///
/// # Defaults
///
/// Nothing. The greeting, and so the token in it, is never kept.
pub struct FrameRedaction<P: Protocol> {
    request: Strike<P::Request>,
    answer: Strike<P::Answer>,
}

impl<P: Protocol> FrameRedaction<P> {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            request: Arc::new(|_| {}),
            answer: Arc::new(|_| {}),
        }
    }

    /// Changes each request to what may be kept of it.
    #[must_use]
    pub fn request(mut self, strike: impl Fn(&mut P::Request) + Send + Sync + 'static) -> Self {
        self.request = Arc::new(strike);
        self
    }

    /// Changes each answer to what may be kept of it.
    #[must_use]
    pub fn answer(mut self, strike: impl Fn(&mut P::Answer) + Send + Sync + 'static) -> Self {
        self.answer = Arc::new(strike);
        self
    }

    /// `None` for what is no request of the protocol.
    pub(super) fn asked(&self, kind: u8, payload: &[u8]) -> Option<RecordedFrame> {
        struck(kind, payload, &self.request)
    }

    /// What is no answer of the protocol, the partner's ERROR for one, is kept as it is.
    pub(super) fn answered(&self, kind: u8, payload: &[u8]) -> RecordedFrame {
        struck(kind, payload, &self.answer).unwrap_or_else(|| RecordedFrame::new(kind, payload))
    }
}

fn struck<M: Message>(kind: u8, payload: &[u8], strike: &Strike<M>) -> Option<RecordedFrame> {
    let mut message = M::decode(kind, payload).ok()?;
    strike(&mut message);
    let (kind, payload) = message.encode().ok()?;
    Some(RecordedFrame::new(kind, &payload))
}

impl<P: Protocol> Default for FrameRedaction<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Protocol> Clone for FrameRedaction<P> {
    fn clone(&self) -> Self {
        Self {
            request: Arc::clone(&self.request),
            answer: Arc::clone(&self.answer),
        }
    }
}

impl<P: Protocol> fmt::Debug for FrameRedaction<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameRedaction").finish_non_exhaustive()
    }
}
