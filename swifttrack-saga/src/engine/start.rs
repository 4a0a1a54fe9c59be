//! How sagas begin.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::engine::Engine;
use crate::engine::error::{Error, StartError};
use crate::engine::shared::{LANES, Shared, StartRequest};
use crate::erased::Value;
use crate::saga::Saga;
use crate::step::Payload;

/// No id is longer.
pub(crate) const ID_BYTES_MAX: usize = 200;
/// No encoded input, output or signal is longer.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

type StartAnswer = oneshot::Receiver<Result<Started, StartError>>;

/// A saga that was started, now or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The saga.
    pub saga: Uuid,
    /// It had been started before, with the same input.
    pub existing: bool,
}

impl Engine {
    /// Starts a saga. When this returns, the start is durable.
    ///
    /// The same id with the same input twice is one saga. The id is 1 to 200 bytes of
    /// printable ASCII without `:`, since it begins every idempotency key.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, the saga may or may not have been started. Starting it
    /// again is safe.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub async fn start<I: Payload, O>(
        &self,
        saga: &Saga<I, O>,
        id: &str,
        input: &I,
    ) -> Result<Started, StartError> {
        self.begin(saga, id, input, None).await
    }

    /// The same, with something for the hook to see
    /// ([`Transition::attachment`](crate::hook::Transition::attachment)). It is not stored.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub async fn start_with<I: Payload, O>(
        &self,
        saga: &Saga<I, O>,
        id: &str,
        input: &I,
        attachment: Arc<dyn Any + Send + Sync>,
    ) -> Result<Started, StartError> {
        self.begin(saga, id, input, Some(attachment)).await
    }

    async fn begin<I: Payload, O>(
        &self,
        saga: &Saga<I, O>,
        id: &str,
        input: &I,
        attachment: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Result<Started, StartError> {
        let (request, answer) = self.request(saga, id, input, attachment)?;
        let lane = self.shared.start_lane(&request.registered.group, id);
        let sent = self.shared.lanes[lane].starts.send(request).await;
        sent.map_err(|_| Error::shutting_down())?;
        answer.await.map_err(|_| Error::shutting_down())?
    }

    /// A start that was looked at, and where its answer comes.
    pub(crate) fn request<I: Payload, O>(
        &self,
        saga: &Saga<I, O>,
        id: &str,
        input: &I,
        attachment: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Result<(StartRequest, StartAnswer), StartError> {
        if self.shared.closing.load(Ordering::Relaxed) {
            return Err(Error::shutting_down().into());
        }
        check_id(id)?;
        let definition = saga.definition();
        let registered = self
            .shared
            .registry
            .get(&definition.name, definition.version)
            .ok_or_else(|| Error::unregistered(&definition.name))?;
        if registered.definition.fingerprint != definition.fingerprint {
            registered.same_as(definition)?;
        }
        let bytes = serde_json::to_vec(input)
            .map_err(|error| Error::invalid(format!("the input cannot be encoded: {error}")))?;
        check_length("the input", bytes.len())?;
        let (reply, answer) = oneshot::channel();
        let link = self.shared.with.trace.as_ref();
        let request = StartRequest {
            registered: registered.clone(),
            id: id.into(),
            value: Arc::new(input.clone()) as Value,
            hash: Sha256::digest(&bytes).into(),
            bytes: bytes.into(),
            attachment,
            trace: link.and_then(|link| link.capture()).map(Into::into),
            reply,
        };
        Ok((request, answer))
    }
}

impl Shared {
    /// The same id goes through the same lane, as long as that one has a shard.
    fn start_lane(&self, group: &Arc<str>, id: &str) -> usize {
        let sum = id.bytes().fold(0_usize, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(usize::from(byte))
        });
        let first = sum % LANES;
        let leases = self.leases();
        let from = (group.clone(), 0);
        let to = (group.clone(), u16::MAX);
        let mut lanes = leases
            .range(from..=to)
            .map(|((_, shard), _)| Self::lane_of(*shard));
        let mut found = None;
        for lane in lanes.by_ref() {
            if lane == first {
                return first;
            }
            found = Some(lane);
        }
        found.unwrap_or(first)
    }
}

/// Refuses a payload that the journal will not hold.
pub(crate) fn check_length(what: &str, length: usize) -> Result<(), Error> {
    if length <= PAYLOAD_BYTES_MAX {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{what} has {length} bytes; the most is {PAYLOAD_BYTES_MAX}"
    )))
}

pub(crate) fn check_id(id: &str) -> Result<(), Error> {
    let fits = (1..=ID_BYTES_MAX).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b':');
    if fits {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{:?} is not an id: 1 to {ID_BYTES_MAX} bytes of printable ASCII without ':'",
        crate::error::clip(id, ID_BYTES_MAX)
    )))
}
