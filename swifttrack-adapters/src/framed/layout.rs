//! How a frame looks on the wire.

use std::fmt;

use super::Malformed;

/// What every frame says about itself, whatever its layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Head {
    /// The message type.
    pub kind: u8,
    /// Which request this is, or answers. Rises strictly on a connection; 0 is unsolicited.
    pub id: u64,
    /// Milliseconds that the caller will still wait, rounded up; 0 says nothing.
    pub deadline_ms: u32,
}

/// A frame's header: where its fields stand, and how it is checked.
///
/// Implement this for a protocol whose header is not [`Checked`]; the codec,
/// the client and the server work on any.
///
/// # Laws
///
/// 1. `read` gives back the head and length that `write` put there.
/// 2. `read` looks at the header only, so that a length is refused before memory is taken for it.
/// 3. Where [`CHECKED`](Self::CHECKED) is set, `verify` refuses any frame of which a part is missing.
pub trait Layout: Copy + fmt::Debug + Send + Sync + Unpin + 'static {
    /// Bytes before the payload.
    const HEADER_BYTES: usize;
    /// Whether a checksum covers the whole frame. Then a frame cannot take
    /// effect in part, and a call is known to be unapplied until its last byte was handed
    /// over; otherwise only until its first.
    const CHECKED: bool;
    /// The largest payload whose length the header can say.
    const PAYLOAD_BYTES_MAX: usize = u32::MAX as usize;

    /// Reads the head and the payload's length from [`HEADER_BYTES`](Self::HEADER_BYTES) bytes.
    ///
    /// # Errors
    ///
    /// When a field holds what it must not.
    fn read(&self, header: &[u8]) -> Result<(Head, u32), Malformed>;

    /// Checks the whole frame once it is here.
    ///
    /// # Errors
    ///
    /// When the checksum does not match.
    fn verify(&self, header: &[u8], payload: &[u8]) -> Result<(), Malformed>;

    /// Writes the header for this payload into [`HEADER_BYTES`](Self::HEADER_BYTES) bytes.
    fn write(&self, head: Head, payload: &[u8], header: &mut [u8]);
}

/// The 28-byte header, big-endian, with a CRC-32C over all but itself.
///
/// ```text
///  0        4       5      6       8      16            20       24      28
///  ┌────────┬───────┬──────┬───────┬──────┬─────────────┬────────┬───────┬─────────┐
///  │ magic  │version│ kind │ flags │  id  │ deadline ms │ length │ CRC   │ payload │
///  └────────┴───────┴──────┴───────┴──────┴─────────────┴────────┴───────┴─────────┘
/// ```
///
/// Flags must be 0: whoever first needs one raises the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    magic: [u8; 4],
    version: u8,
}

const CRC_AT: usize = 24;

impl Checked {
    /// Version 1 under this magic.
    #[must_use]
    pub const fn new(magic: [u8; 4]) -> Self {
        Self { magic, version: 1 }
    }

    /// Another header version.
    #[must_use]
    pub const fn version(self, version: u8) -> Self {
        Self { version, ..self }
    }
}

impl Layout for Checked {
    const HEADER_BYTES: usize = 28;
    const CHECKED: bool = true;

    fn read(&self, header: &[u8]) -> Result<(Head, u32), Malformed> {
        let [m0, m1, m2, m3, version, kind, f0, f1, rest @ ..] = header else {
            return Err(Malformed::header("length"));
        };
        if [*m0, *m1, *m2, *m3] != self.magic {
            return Err(Malformed::header("magic"));
        }
        if *version != self.version {
            return Err(Malformed::header("version"));
        }
        if [*f0, *f1] != [0, 0] {
            return Err(Malformed::header("flags"));
        }
        let (Some(id), Some(deadline_ms), Some(length)) =
            (be_u64(rest, 0), be_u32(rest, 8), be_u32(rest, 12))
        else {
            return Err(Malformed::header("length"));
        };
        let kind = *kind;
        Ok((
            Head {
                kind,
                id,
                deadline_ms,
            },
            length,
        ))
    }

    fn verify(&self, header: &[u8], payload: &[u8]) -> Result<(), Malformed> {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..CRC_AT]), payload);
        if be_u32(header, CRC_AT) == Some(crc) {
            Ok(())
        } else {
            Err(Malformed::checksum())
        }
    }

    fn write(&self, head: Head, payload: &[u8], header: &mut [u8]) {
        header[..4].copy_from_slice(&self.magic);
        header[4] = self.version;
        header[5] = head.kind;
        header[6..8].fill(0);
        header[8..16].copy_from_slice(&head.id.to_be_bytes());
        header[16..20].copy_from_slice(&head.deadline_ms.to_be_bytes());
        // The codec has refused what does not fit.
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        header[20..CRC_AT].copy_from_slice(&length.to_be_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..CRC_AT]), payload);
        header[CRC_AT..].copy_from_slice(&crc.to_be_bytes());
    }
}

fn be_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn be_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
