//! Writing calls down.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split};
use tokio_util::codec::Decoder;

use super::{FrameRedaction, RecordedCall, RecordedFrame, Reel};
use crate::framed::control::{GOAWAY, HELLO, PING, PONG};
use crate::framed::{Codec, Connect, Duplex, Frame, Protocol};

/// Stands between a client and its partner, and keeps each request with its answer.
///
/// It is a [`Connect`], so that a client is made over it as over an
/// [`Endpoint`](crate::framed::Endpoint). A call without an answer is not kept.
/// A clone writes to the same reel.
///
/// Bytes wait in it for a moment, so a call whose connection ends is `Unknown`
/// where it might have been `NotApplied`: it is for tests, not for production.
pub struct FrameRecorder<P: Protocol, C> {
    inner: Arc<C>,
    tape: Arc<Tape<P>>,
}

#[derive(Debug)]
struct Tape<P: Protocol> {
    redaction: FrameRedaction<P>,
    /// A std mutex, since nothing is awaited while it is held.
    reel: Mutex<Reel>,
}

/// The most that is on its way in one direction.
const PIPE_BYTES: usize = 64 * 1024;

impl<P: Protocol, C: Connect> FrameRecorder<P, C> {
    /// Records what goes over the connections of `inner`.
    #[must_use]
    pub fn new(inner: C, redaction: FrameRedaction<P>) -> Self {
        Self {
            inner: Arc::new(inner),
            tape: Arc::new(Tape {
                redaction,
                reel: Mutex::default(),
            }),
        }
    }

    /// What was recorded so far.
    #[must_use]
    pub fn reel(&self) -> Reel {
        self.tape.lock().clone()
    }
}

impl<P: Protocol> Tape<P> {
    fn lock(&self) -> MutexGuard<'_, Reel> {
        self.reel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<P: Protocol, C: Connect> Connect for FrameRecorder<P, C> {
    async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        let partner = self.inner.connect().await?;
        let (client, ours) = duplex(PIPE_BYTES);
        // It ends with either side.
        tokio::spawn(carry(ours, partner, Arc::clone(&self.tape)));
        Ok(Box::new(client))
    }
}

impl<P: Protocol, C> Clone for FrameRecorder<P, C> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            tape: Arc::clone(&self.tape),
        }
    }
}

impl<P: Protocol, C: fmt::Debug> fmt::Debug for FrameRecorder<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameRecorder")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// Carries bytes both ways, and listens.
async fn carry<P: Protocol>(client: DuplexStream, partner: Box<dyn Duplex>, tape: Arc<Tape<P>>) {
    let (from_client, to_client) = split(client);
    let (from_partner, to_partner) = split(partner);
    let asked: Mutex<HashMap<u64, RecordedFrame>> = Mutex::default();
    let there = pass::<P>(from_client, to_partner, |frame| {
        if matches!(frame.head.kind, HELLO | PING | PONG | GOAWAY) {
            return;
        }
        if let Some(request) = tape.redaction.asked(frame.head.kind, &frame.payload) {
            lock(&asked).insert(frame.head.id, request);
        }
    });
    let back = pass::<P>(from_partner, to_client, |frame| {
        if let Some(request) = lock(&asked).remove(&frame.head.id) {
            let answer = tape.redaction.answered(frame.head.kind, &frame.payload);
            tape.lock().calls.push(RecordedCall { request, answer });
        }
    });
    // However a side ended, the other hears of its end by the drop of both.
    tokio::select! {
        _ = there => {}
        _ = back => {}
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pass<P: Protocol>(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut heard: impl FnMut(Frame),
) -> io::Result<()> {
    let mut codec = Codec::new(P::LAYOUT).payload_bytes_max(usize::MAX);
    let (mut bytes, mut frames) = (BytesMut::new(), BytesMut::new());
    let mut listening = true;
    while from.read_buf(&mut bytes).await? > 0 {
        if listening {
            frames.extend_from_slice(&bytes);
        }
        while listening {
            match codec.decode(&mut frames) {
                Ok(Some(frame)) => heard(frame),
                Ok(None) => break,
                // Carried on as it is: to refuse it is the receiver's.
                Err(_) => listening = false,
            }
        }
        to.write_all_buf(&mut bytes).await?;
        to.flush().await?;
    }
    to.shutdown().await
}
