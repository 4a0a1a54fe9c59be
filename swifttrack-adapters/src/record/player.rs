//! Answering from the record.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};

use super::recorder::asked;
use super::{Cassette, Recorded, Redaction};
use crate::http::Exchange;
use crate::{CallContext, Error};

/// Answers each request with the first exchange on record that asks the same and was not used yet.
///
/// No socket is opened. A request that is not on record is `NotApplied`, with
/// an error that shows it: the adapter has begun to say something else.
#[derive(Debug)]
pub struct Player {
    redaction: Redaction,
    /// A std mutex, since nothing is awaited while it is held.
    left: Mutex<Vec<Recorded>>,
}

impl Player {
    /// Plays a cassette that was recorded with this redaction.
    #[must_use]
    pub fn new(cassette: Cassette, redaction: Redaction) -> Self {
        Self {
            redaction,
            left: Mutex::new(cassette.exchanges),
        }
    }

    /// What was not asked for so far.
    #[must_use]
    pub fn left(&self) -> Vec<Recorded> {
        self.left
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[async_trait]
impl Exchange for Player {
    async fn exchange(
        &self,
        request: Request<Bytes>,
        _: &CallContext,
    ) -> Result<Response<Bytes>, Error> {
        let asked = asked(&request, &self.redaction);
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = left
            .iter()
            .position(|recorded| recorded.asks_the_same(&asked))
        else {
            return Err(Error::not_applied(format!(
                "not on record: {} {} {:?} {}",
                asked.method, asked.path, asked.request_headers, asked.request_body
            )));
        };
        let recorded = left.remove(at);
        let mut answer = Response::builder().status(recorded.status);
        for (name, value) in &recorded.answer_headers {
            answer = answer.header(name, value);
        }
        answer
            .body(recorded.answer_body.into())
            .map_err(|error| Error::protocol("the record is no answer").with_source(error))
    }
}
