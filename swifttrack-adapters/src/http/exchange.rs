//! One request and its answer, whoever carries them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};

use crate::{CallContext, Error};

/// Carries one HTTP request to a partner and its answer back.
///
/// [`Client`](super::Client) is the one with a socket; a recorder or a player
/// of recordings stands in front of or in place of it.
///
/// # Laws
///
/// 1. Every answer of the partner is `Ok`, whatever its status.
/// 2. An error's class follows the [first-byte rule](crate::Error#the-first-byte-rule).
/// 3. The call ends by the deadline. Nothing is sent twice.
#[async_trait]
pub trait Exchange: fmt::Debug + Send + Sync + 'static {
    /// Sends it. The request's URI is a path, relative to the partner's base.
    ///
    /// # Errors
    ///
    /// When there is no whole answer to exactly this request.
    async fn exchange(
        &self,
        request: Request<Bytes>,
        cx: &CallContext,
    ) -> Result<Response<Bytes>, Error>;
}

#[async_trait]
impl<E: Exchange + ?Sized> Exchange for Arc<E> {
    async fn exchange(
        &self,
        request: Request<Bytes>,
        cx: &CallContext,
    ) -> Result<Response<Bytes>, Error> {
        (**self).exchange(request, cx).await
    }
}

/// Sees whether a GET of this path is answered with 2xx.
///
/// # Errors
///
/// When it is answered with anything else, or not at all.
pub async fn probe(
    exchange: &(impl Exchange + ?Sized),
    path: &str,
    cx: &CallContext,
) -> Result<(), Error> {
    let request = Request::get(path)
        .body(Bytes::new())
        .map_err(|error| Error::local("the path cannot be used").with_source(error))?;
    let status = exchange.exchange(request, cx).await?.status();
    match status.is_success() {
        true => Ok(()),
        false => Err(Error::unknown(format!(
            "the partner answered {}",
            status.as_u16()
        ))),
    }
}
