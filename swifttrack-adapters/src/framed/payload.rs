//! Fields in and out of a payload.

use bytes::{BufMut, Bytes, BytesMut};

use super::Malformed;

/// One message of a protocol: what a payload means under a type.
///
/// ```
/// use swifttrack_adapters::framed::{Malformed, Message, Reader, Writer};
///
/// struct Lamp { on: bool }
///
/// impl Message for Lamp {
///     fn kind(&self) -> u8 { 0x20 }
///     fn write(&self, to: &mut Writer) -> Result<(), Malformed> {
///         to.u8(self.on.into());
///         Ok(())
///     }
///     fn read(kind: u8, from: &mut Reader<'_>) -> Result<Self, Malformed> {
///         match (kind, from.u8()?) {
///             (0x20, 0) => Ok(Self { on: false }),
///             (0x20, 1) => Ok(Self { on: true }),
///             (0x20, _) => Err(Malformed::value("on")),
///             _ => Err(Malformed::unknown_kind(kind)),
///         }
///     }
/// }
///
/// let (kind, payload) = Lamp { on: true }.encode()?;
/// assert!(Lamp::decode(kind, &payload)?.on);
/// assert!(Lamp::decode(kind, &[1, 1]).is_err(), "bytes too many");
/// # Ok::<(), Malformed>(())
/// ```
pub trait Message: Sized {
    /// The type under which it travels.
    fn kind(&self) -> u8;

    /// Writes the payload.
    ///
    /// # Errors
    ///
    /// When a field does not fit its length.
    fn write(&self, to: &mut Writer) -> Result<(), Malformed>;

    /// Reads the payload. Bytes left over are refused by the caller.
    ///
    /// # Errors
    ///
    /// When the type is not known or a field is malformed.
    fn read(kind: u8, from: &mut Reader<'_>) -> Result<Self, Malformed>;

    /// The type and the whole payload.
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write).
    fn encode(&self) -> Result<(u8, Bytes), Malformed> {
        let mut to = Writer::default();
        self.write(&mut to)?;
        Ok((self.kind(), to.finish()))
    }

    /// The message that the whole payload is.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read), and bytes too many.
    fn decode(kind: u8, payload: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(payload);
        let message = Self::read(kind, &mut from)?;
        from.finish()?;
        Ok(message)
    }
}

/// Writes fields, big-endian.
#[derive(Debug, Default)]
pub struct Writer(BytesMut);

impl Writer {
    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.0.put_u8(value);
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.0.put_u16(value);
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.0.put_u32(value);
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.0.put_u64(value);
    }

    /// Eight bytes, signed.
    pub fn i64(&mut self, value: i64) {
        self.0.put_i64(value);
    }

    /// A text: two bytes of length, then UTF-8.
    ///
    /// # Errors
    ///
    /// When it is longer than 65,535 bytes.
    pub fn str(&mut self, text: &str) -> Result<(), Malformed> {
        let length = u16::try_from(text.len()).map_err(|_| Malformed::too_long(text.len()))?;
        self.0.put_u16(length);
        self.0.put_slice(text.as_bytes());
        Ok(())
    }

    /// A list: two bytes of count, then each item.
    ///
    /// # Errors
    ///
    /// When there are more than 65,535, or an item does not fit.
    pub fn list<T>(
        &mut self,
        items: &[T],
        mut each: impl FnMut(&mut Self, &T) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let count = u16::try_from(items.len())
            .map_err(|_| Malformed::count(items.len(), usize::from(u16::MAX)))?;
        self.0.put_u16(count);
        items.iter().try_for_each(|item| each(self, item))
    }

    /// Bytes as they are, without a length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.put_slice(bytes);
    }

    /// What was written.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.0.freeze()
    }
}

/// Reads fields, big-endian, out of a payload. Never past its end.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads this payload from its start.
    #[must_use]
    pub const fn new(payload: &'a [u8]) -> Self {
        Self(payload)
    }

    /// One byte.
    ///
    /// # Errors
    ///
    /// When the payload ends before.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    /// Two bytes.
    ///
    /// # Errors
    ///
    /// When the payload ends before.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    ///
    /// When the payload ends before.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    ///
    /// When the payload ends before.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// Eight bytes, signed.
    ///
    /// # Errors
    ///
    /// When the payload ends before.
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    /// A text, borrowed from the payload.
    ///
    /// # Errors
    ///
    /// When the payload ends before, or it is not UTF-8.
    pub fn str(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::from(self.u16()?);
        let (text, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(Malformed::truncated())?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| Malformed::not_utf8())
    }

    /// A list of at most `count_max` items, each of at least `item_bytes_min`
    /// bytes: a count that the rest of the payload cannot hold is refused
    /// before memory is taken for it.
    ///
    /// # Errors
    ///
    /// When there are too many, or an item is malformed.
    pub fn list<T>(
        &mut self,
        count_max: usize,
        item_bytes_min: usize,
        mut each: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = usize::from(self.u16()?);
        if count > count_max {
            return Err(Malformed::count(count, count_max));
        }
        if count * item_bytes_min > self.0.len() {
            return Err(Malformed::truncated());
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(each(self)?);
        }
        Ok(items)
    }

    /// All that is left, for a last field without a length.
    pub const fn rest(&mut self) -> &'a [u8] {
        let rest = self.0;
        self.0 = &[];
        rest
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// When bytes are left over.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed::trailing(self.0.len()))
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Malformed::truncated())?;
        self.0 = rest;
        Ok(*head)
    }
}
