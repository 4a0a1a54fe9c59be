//! One end of a connection: frames both ways, and the rules about time.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::codec::Decoder;
use tokio_util::io::poll_read_buf;

use super::ended::Ended;
use super::{Codec, Frame, Head, Layout, Malformed};

/// The socket with its buffers. One task owns it, so that no call that is
/// dropped can leave half a frame behind.
///
/// All state is in here and none in the futures, so that dropping
/// [`next`](Self::next) loses nothing.
pub(super) struct Transport<Io, L> {
    io: Io,
    codec: Codec<L>,
    input: BytesMut,
    output: BytesMut,
    /// Bytes ever queued, and ever taken by the socket.
    queued: u64,
    handed_over: u64,
    flushed: bool,
    /// Whether the write waits for one more turn of the other tasks.
    gathering: bool,
    /// Why nothing can be written any more, while there may be something left to read.
    broken: Option<std::io::Error>,
    heartbeat: Duration,
    last_sent: Instant,
    last_received: Instant,
    /// Since when the output waits for the socket.
    blocked_since: Instant,
    /// Since when a frame is half here.
    partial_since: Option<Instant>,
    /// Never later than any of the moments below it; it fires early rather than being reset for every frame.
    alarm: Pin<Box<Sleep>>,
}

/// What happened on a connection.
#[derive(Debug)]
pub(super) enum Event {
    /// A frame came.
    Frame(Frame),
    /// The socket took bytes: see [`Transport::handed_over`].
    Progress,
    /// Nothing was sent for one heartbeat.
    Idle,
}

const READ_BYTES: usize = 16 * 1024;
/// Frames wait outside the buffer while it holds this much, so that they can still be withdrawn.
const OUTPUT_BYTES_FULL: usize = 16 * 1024;
/// A peer that asks without reading the answers is not read any further.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// How long a farewell may take.
const SHUTDOWN_MAX: Duration = Duration::from_secs(1);
/// How much is read and thrown away while it does.
const LINGER_READS_MAX: usize = 64;

impl<Io, L> Transport<Io, L>
where
    Io: AsyncRead + AsyncWrite + Unpin,
    L: Layout,
{
    pub(super) fn new(io: Io, codec: Codec<L>, heartbeat: Duration) -> Self {
        let now = Instant::now();
        Self {
            io,
            codec,
            input: BytesMut::new(),
            output: BytesMut::new(),
            queued: 0,
            handed_over: 0,
            flushed: true,
            gathering: false,
            broken: None,
            heartbeat,
            last_sent: now,
            last_received: now,
            blocked_since: now,
            partial_since: None,
            alarm: Box::pin(sleep_until(now + heartbeat)),
        }
    }

    /// Takes over what the greeting settled.
    pub(super) fn settle(&mut self, heartbeat: Duration) {
        self.heartbeat = heartbeat;
        let now = Instant::now();
        self.last_sent = now;
        self.last_received = now;
        self.alarm.as_mut().reset(now + heartbeat);
    }

    /// Puts a frame behind what is queued; gives the offset of its end in the stream.
    pub(super) fn queue(&mut self, head: Head, payload: &[u8]) -> Result<u64, Malformed> {
        if self.broken.is_some() {
            // It goes nowhere, so its end is never handed over.
            return Ok(u64::MAX);
        }
        if self.output.is_empty() {
            self.blocked_since = Instant::now();
        }
        let before = self.output.len();
        self.codec.write(head, payload, &mut self.output)?;
        self.queued += (self.output.len() - before) as u64;
        Ok(self.queued)
    }

    /// Puts bytes that need not be a frame behind what is queued.
    pub(super) fn queue_raw(&mut self, bytes: &[u8]) {
        if self.output.is_empty() {
            self.blocked_since = Instant::now();
        }
        self.output.extend_from_slice(bytes);
        self.queued += bytes.len() as u64;
    }

    /// Lets the tasks that can run now queue their frames behind this one before it is written, so
    /// that a burst of them costs one write and not one each. A turn without a further frame, or a
    /// full buffer, ends the wait.
    pub(super) const fn gather(&mut self) {
        self.gathering = true;
    }

    /// Whether a further frame should be queued now.
    pub(super) fn has_room(&self) -> bool {
        self.output.len() < OUTPUT_BYTES_FULL && self.broken.is_none()
    }

    /// Whether all that was queued has gone to the socket.
    pub(super) fn is_flushed(&self) -> bool {
        (self.output.is_empty() && self.flushed) || self.broken.is_some()
    }

    /// Bytes that were ever queued.
    pub(super) const fn queued(&self) -> u64 {
        self.queued
    }

    /// Bytes that the socket took.
    pub(super) const fn handed_over(&self) -> u64 {
        self.handed_over
    }

    /// Moves bytes both ways until something happened. Reads only if `read`;
    /// while it does not, the other side's silence does not count.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(super) async fn next(&mut self, read: bool) -> Result<Event, Ended> {
        poll_fn(|cx| self.poll_next(cx, read)).await
    }

    /// Says farewell, and lets the peer read it: a socket that is closed with
    /// unread bytes in it is reset, which takes back what was just written.
    pub(super) async fn shutdown(&mut self) {
        let farewell = async {
            self.io.shutdown().await?;
            for _ in 0..LINGER_READS_MAX {
                self.input.clear();
                self.input.reserve(READ_BYTES);
                if self.io.read_buf(&mut self.input).await? == 0 {
                    break;
                }
            }
            Ok::<_, std::io::Error>(())
        };
        // A peer that does not listen to the farewell has none.
        let _ = timeout(SHUTDOWN_MAX, farewell).await;
    }

    pub(super) fn into_io(self) -> Io {
        self.io
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, read: bool) -> Poll<Result<Event, Ended>> {
        if std::mem::take(&mut self.gathering) && self.has_room() {
            // What has come already may lead to further frames; the socket can wait, lest a flood
            // from the peer hold up the write.
            let come = if read { self.decode() } else { Ok(None) };
            match come {
                Ok(Some(frame)) => {
                    self.gathering = true;
                    return Poll::Ready(Ok(Event::Frame(frame)));
                }
                Ok(None) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                // It is found again below, after the write.
                Err(_) => {}
            }
        }
        if self.poll_write(cx) {
            return Poll::Ready(Ok(Event::Progress));
        }
        let read = read && self.output.len() < OUTPUT_BYTES_MAX;
        if read {
            if let Poll::Ready(done) = self.poll_read(cx) {
                return Poll::Ready(done.map(Event::Frame));
            }
        } else {
            let now = Instant::now();
            self.last_received = now;
            self.partial_since = self.partial_since.map(|_| now);
        }
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Err(error.into()));
        }
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            match self.on_time(Instant::now()) {
                Ok(Some(event)) => return Poll::Ready(Ok(event)),
                Ok(None) => {}
                Err(ended) => return Poll::Ready(Err(ended)),
            }
        }
    }

    /// Writes what the socket takes; whether it took anything.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> bool {
        let before = self.handed_over;
        while !self.output.is_empty() {
            match Pin::new(&mut self.io).poll_write(cx, &self.output) {
                Poll::Ready(Ok(0)) => self.break_off(std::io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(taken)) => {
                    self.output.advance(taken);
                    self.handed_over += taken as u64;
                    self.flushed = false;
                }
                Poll::Ready(Err(error)) => self.break_off(error),
                Poll::Pending => break,
            }
        }
        if !self.flushed && self.output.is_empty() && self.broken.is_none() {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.flushed = true,
                Poll::Ready(Err(error)) => self.break_off(error),
                Poll::Pending => {}
            }
        }
        let progress = self.handed_over > before;
        if progress {
            let now = Instant::now();
            self.last_sent = now;
            self.blocked_since = now;
        }
        progress
    }

    /// Nothing more can be written; what has come may still be read.
    fn break_off(&mut self, error: std::io::Error) {
        self.output.clear();
        self.broken = Some(error);
    }

    /// The next frame of those that are here whole.
    fn decode(&mut self) -> Result<Option<Frame>, Ended> {
        let frame = self.codec.decode(&mut self.input)?;
        if frame.is_some() {
            self.partial_since = (!self.input.is_empty()).then(Instant::now);
        }
        Ok(frame)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Ended>> {
        loop {
            if let Some(frame) = self.decode()? {
                return Poll::Ready(Ok(frame));
            }
            if self.partial_since.is_none() && !self.input.is_empty() {
                self.partial_since = Some(Instant::now());
            }
            if self.input.capacity() - self.input.len() < READ_BYTES / 4 {
                self.input.reserve(READ_BYTES);
            }
            match ready!(poll_read_buf(Pin::new(&mut self.io), cx, &mut self.input))? {
                0 => {
                    let within_a_frame = !self.input.is_empty();
                    return Poll::Ready(Err(Ended::Closed { within_a_frame }));
                }
                _ => self.last_received = Instant::now(),
            }
        }
    }

    /// Judges the clock, and sets the alarm for the next moment that matters.
    fn on_time(&mut self, now: Instant) -> Result<Option<Event>, Ended> {
        let idle_at = if self.output.is_empty() {
            self.last_sent + self.heartbeat
        } else {
            self.blocked_since + self.heartbeat
        };
        let silent_at = self.last_received + self.heartbeat * 3;
        let slow_at = self.partial_since.map(|since| since + self.heartbeat);
        if slow_at.is_some_and(|at| now >= at) {
            return Err(Ended::SlowFrame);
        }
        if now >= silent_at {
            return Err(Ended::Silent);
        }
        if now >= idle_at {
            if !self.output.is_empty() {
                return Err(Ended::Blocked);
            }
            self.last_sent = now;
            self.alarm.as_mut().reset(now + self.heartbeat);
            return Ok(Some(Event::Idle));
        }
        let next = idle_at.min(silent_at).min(slow_at.unwrap_or(idle_at));
        self.alarm.as_mut().reset(next);
        Ok(None)
    }
}
