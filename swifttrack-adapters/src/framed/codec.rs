//! Frames in and out of a byte stream.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use super::{Head, Layout, Malformed};

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it says about itself.
    pub head: Head,
    /// The message, not yet read.
    pub payload: Bytes,
}

/// Cuts a byte stream into frames of one layout, and writes them.
///
/// A length above the limit is refused from the header alone. Memory then
/// grows with the bytes that came, not with the length that was claimed, so
/// that a thousand peers who each announce a megabyte cost nothing.
///
/// The payload of a frame is a slice of the read buffer: nothing is copied.
///
/// # Errors
///
/// A broken frame is an [`io::ErrorKind::InvalidData`] whose inner error is a
/// [`Malformed`]. There is no way to find the next frame after it: close.
///
/// # Defaults
///
/// Payloads up to 1 MiB.
#[derive(Clone, Copy, Debug)]
pub struct Codec<L> {
    layout: L,
    payload_bytes_max: usize,
    /// The header that was read and accepted, while its payload is awaited.
    head: Option<(Head, usize)>,
}

/// The most that the read buffer grows by at once.
const READ_BYTES: usize = 64 * 1024;

impl<L: Layout> Codec<L> {
    /// A codec for this layout.
    #[must_use]
    pub const fn new(layout: L) -> Self {
        Self {
            layout,
            payload_bytes_max: 1024 * 1024,
            head: None,
        }
    }

    /// Refuses payloads above this, both ways.
    #[must_use]
    pub const fn payload_bytes_max(self, payload_bytes_max: usize) -> Self {
        Self {
            payload_bytes_max,
            ..self
        }
    }

    /// Writes one frame from its parts, which saves a copy of the payload's handle.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the payload is above the limit; nothing was written.
    pub fn write(&self, head: Head, payload: &[u8], out: &mut BytesMut) -> Result<(), Malformed> {
        self.check(payload.len())?;
        out.reserve(L::HEADER_BYTES + payload.len());
        let start = out.len();
        out.resize(start + L::HEADER_BYTES, 0);
        out.extend_from_slice(payload);
        self.layout
            .write(head, payload, &mut out[start..start + L::HEADER_BYTES]);
        Ok(())
    }

    const fn check(&self, bytes: usize) -> Result<(), Malformed> {
        let bytes_max = if self.payload_bytes_max < L::PAYLOAD_BYTES_MAX {
            self.payload_bytes_max
        } else {
            L::PAYLOAD_BYTES_MAX
        };
        if bytes > bytes_max {
            return Err(Malformed::length(bytes, bytes_max));
        }
        Ok(())
    }
}

impl<L: Layout> Decoder for Codec<L> {
    type Item = Frame;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, io::Error> {
        let (head, length) = match self.head {
            Some(known) => known,
            None if buffer.len() < L::HEADER_BYTES => {
                buffer.reserve(L::HEADER_BYTES - buffer.len());
                return Ok(None);
            }
            None => {
                let (head, length) = self.layout.read(&buffer[..L::HEADER_BYTES])?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                self.check(length)?;
                *self.head.insert((head, length))
            }
        };
        let missing = (L::HEADER_BYTES + length).saturating_sub(buffer.len());
        if missing > 0 {
            buffer.reserve(missing.min(READ_BYTES));
            return Ok(None);
        }
        self.head = None;
        self.layout.verify(
            &buffer[..L::HEADER_BYTES],
            &buffer[L::HEADER_BYTES..L::HEADER_BYTES + length],
        )?;
        let mut frame = buffer.split_to(L::HEADER_BYTES + length);
        let payload = frame.split_off(L::HEADER_BYTES).freeze();
        Ok(Some(Frame { head, payload }))
    }
}

impl<L: Layout> Encoder<Frame> for Codec<L> {
    type Error = io::Error;

    fn encode(&mut self, frame: Frame, out: &mut BytesMut) -> Result<(), io::Error> {
        Ok(self.write(frame.head, &frame.payload, out)?)
    }
}
