//! Writing exchanges down.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};

use super::{Cassette, Recorded, Redaction};
use crate::http::Exchange;
use crate::{CallContext, Error};

/// Hands requests on, and keeps each with its answer. Failed exchanges are not kept.
///
/// A clone writes to the same cassette.
#[derive(Debug)]
pub struct Recorder<E> {
    inner: Arc<E>,
    redaction: Arc<Redaction>,
    /// A std mutex, since nothing is awaited while it is held.
    cassette: Arc<Mutex<Cassette>>,
}

impl<E: Exchange> Recorder<E> {
    /// Records what `inner` carries.
    pub fn new(inner: E, redaction: Redaction) -> Self {
        Self {
            inner: Arc::new(inner),
            redaction: Arc::new(redaction),
            cassette: Arc::default(),
        }
    }

    /// What was recorded so far.
    #[must_use]
    pub fn cassette(&self) -> Cassette {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Cassette> {
        self.cassette.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> Clone for Recorder<E> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            redaction: Arc::clone(&self.redaction),
            cassette: Arc::clone(&self.cassette),
        }
    }
}

#[async_trait]
impl<E: Exchange> Exchange for Recorder<E> {
    async fn exchange(
        &self,
        request: Request<Bytes>,
        cx: &CallContext,
    ) -> Result<Response<Bytes>, Error> {
        let asked = asked(&request, &self.redaction);
        let answer = self.inner.exchange(request, cx).await?;
        let recorded = Recorded {
            status: answer.status().as_u16(),
            answer_headers: self.redaction.headers(answer.headers()),
            answer_body: self.redaction.body(answer.body()),
            ..asked
        };
        self.lock().exchanges.push(recorded);
        Ok(answer)
    }
}

/// A request as it is kept and compared.
pub(super) fn asked(request: &Request<Bytes>, redaction: &Redaction) -> Recorded {
    Recorded {
        method: request.method().to_string(),
        path: request.uri().to_string(),
        request_headers: redaction.headers(request.headers()),
        request_body: redaction.body(request.body()),
        status: 0,
        answer_headers: Vec::new(),
        answer_body: String::new(),
    }
}
