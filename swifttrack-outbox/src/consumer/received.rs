//! An event as it came from Kafka, and what is done with it.

use std::collections::BTreeMap;
use std::future::Future;

use rdkafka::message::{Headers as _, Message as _, OwnedMessage};
use uuid::Uuid;

use super::Store;

/// What a handler does with an event, on the transaction in which it is remembered.
///
/// Laws for those who implement it: all effects go through `tx`, or are idempotent by the
/// event's id; `handle` may run again after an error.
pub trait Handler<S: Store>: Send + Sync + 'static {
    /// Handles one event. An error rolls its transaction back.
    fn handle(
        &self,
        tx: &mut S::Connection,
        event: &Received,
    ) -> impl Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + Send;
}

/// An event as it came from Kafka.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Received {
    /// The header `id`, or one made of topic, partition and offset where there is none.
    pub id: Uuid,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; none is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// All headers whose value is text.
    pub headers: BTreeMap<String, String>,
}

impl Received {
    pub(super) fn new(message: &OwnedMessage) -> Self {
        let mut headers = BTreeMap::new();
        for header in message
            .headers()
            .into_iter()
            .flat_map(|headers| headers.iter())
        {
            if let Some(text) = header
                .value
                .and_then(|value| std::str::from_utf8(value).ok())
            {
                headers.insert(header.key.to_owned(), text.to_owned());
            }
        }
        let position = (message.partition() as u128) << 64 | message.offset() as u128;
        Self {
            id: headers
                .get("id")
                .and_then(|id| Uuid::parse_str(id).ok())
                .unwrap_or_else(|| Uuid::from_u128(position)),
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers,
        }
    }
}
