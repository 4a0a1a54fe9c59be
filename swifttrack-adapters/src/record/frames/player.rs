//! Answering from the record.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::io::duplex;

use super::{FrameRedaction, RecordedCall, Reel};
use crate::Class;
use crate::framed::control::Fault;
use crate::framed::{
    Connect, Duplex, Handler, Incoming, Malformed, Message, Protocol, Reader, Reply, ServerOptions,
    Writer, serve_connection,
};

/// Answers each request with the first call on record that asks the same and was not used yet.
///
/// No socket is opened: it is a [`Connect`], and a client is made over it. A
/// request that is not on record is `NotApplied`, with an error that shows it.
/// A clone plays the same reel.
pub struct FramePlayer<P: Protocol>(Arc<Desk<P>>);

struct Desk<P: Protocol> {
    redaction: FrameRedaction<P>,
    /// A std mutex, since nothing is awaited while it is held.
    left: Mutex<Vec<RecordedCall>>,
}

/// The most that is on its way in one direction.
const PIPE_BYTES: usize = 64 * 1024;

impl<P: Protocol> FramePlayer<P> {
    /// Plays a reel that was recorded with this redaction.
    #[must_use]
    pub fn new(reel: Reel, redaction: FrameRedaction<P>) -> Self {
        Self(Arc::new(Desk {
            redaction,
            left: Mutex::new(reel.calls),
        }))
    }

    /// What was not asked for so far.
    #[must_use]
    pub fn left(&self) -> Vec<RecordedCall> {
        self.0.left().clone()
    }
}

impl<P: Protocol> Desk<P> {
    fn left(&self) -> MutexGuard<'_, Vec<RecordedCall>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Any) -> Option<Reply> {
        let asked = self.redaction.asked(request.kind, &request.payload)?;
        let mut left = self.left();
        let at = left.iter().position(|call| call.request == asked)?;
        let answer = left.remove(at).answer;
        let payload = answer.bytes()?.to_vec();
        let kind = answer.kind;
        Reply::answer(&Any { kind, payload }).ok()
    }
}

#[async_trait]
impl<P: Protocol> Connect for FramePlayer<P> {
    async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        let (client, ours) = duplex(PIPE_BYTES);
        let desk = Arc::clone(&self.0);
        // It ends with the client.
        tokio::spawn(serve_connection::<Played<P>, _, _>(
            ours,
            desk,
            ServerOptions::new(),
            std::future::pending(),
        ));
        Ok(Box::new(client))
    }
}

impl<P: Protocol> Clone for FramePlayer<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P: Protocol> fmt::Debug for FramePlayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FramePlayer").finish_non_exhaustive()
    }
}

#[async_trait]
impl<P: Protocol> Handler<Played<P>> for Desk<P> {
    async fn handle(&self, request: Any, _: Incoming) -> Reply {
        self.answer(&request).unwrap_or_else(|| {
            let said = format!(
                "not on record: {:02x} {:02x?}",
                request.kind, request.payload
            );
            Reply::fault(Fault::new(501, Class::NotApplied, said))
        })
    }
}

/// The protocol with its frames and without its messages.
struct Played<P>(PhantomData<fn() -> P>);

impl<P: Protocol> Protocol for Played<P> {
    type Layout = P::Layout;
    type Request = Any;
    type Answer = Any;

    const LAYOUT: P::Layout = P::LAYOUT;
    const VERSIONS: RangeInclusive<u8> = P::VERSIONS;
}

/// Any message.
struct Any {
    kind: u8,
    payload: Vec<u8>,
}

impl Message for Any {
    fn kind(&self) -> u8 {
        self.kind
    }

    fn write(&self, to: &mut Writer) -> Result<(), Malformed> {
        to.bytes(&self.payload);
        Ok(())
    }

    fn read(kind: u8, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let payload = from.rest().to_vec();
        Ok(Self { kind, payload })
    }
}
