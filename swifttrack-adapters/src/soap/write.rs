//! Writing XML: the only place that escapes.

use std::fmt::{self, Write as _};

use super::cursor::is_char;
use super::{Invalid, Version};

/// What can be written as an element.
pub trait Encode {
    /// Writes it.
    fn encode(&self, out: &mut Writer);
}

impl<T: Encode + ?Sized> Encode for &T {
    fn encode(&self, out: &mut Writer) {
        (**self).encode(out);
    }
}

/// A document that grows element by element.
///
/// Names are given with their prefix, as declared when the
/// [`envelope`](super::envelope) was opened. What XML cannot carry (a control
/// character in a text) is remembered, and the document is refused at its end.
///
/// # Examples
///
/// ```
/// use swifttrack_adapters::soap::{Encode, Writer};
///
/// struct Cancel {
///     order_id: String,
///     reason: Option<String>,
/// }
///
/// impl Encode for Cancel {
///     fn encode(&self, out: &mut Writer) {
///         out.element("c:CancelContractRequest", |out| {
///             out.text("c:OrderId", &self.order_id);
///             out.text_opt("c:Reason", self.reason.as_deref());
///         });
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Writer {
    out: String,
    version: Version,
    refused: Option<char>,
}

impl Writer {
    pub(super) fn new(version: Version) -> Self {
        Self {
            out: String::with_capacity(1024),
            version,
            refused: None,
        }
    }

    /// The version of SOAP that is written.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// An element that holds text.
    pub fn text(&mut self, name: &str, text: &str) {
        self.open(name);
        self.out.push('>');
        self.escape(text);
        self.close(name);
    }

    /// An element that holds text, or nothing at all.
    pub fn text_opt(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// An element that holds a value.
    pub fn value(&mut self, name: &str, value: impl fmt::Display) {
        self.open(name);
        self.out.push('>');
        // Neither this writer nor a `Display` worth its name fails.
        let _ = write!(Escaped(self), "{value}");
        self.close(name);
    }

    /// An element that holds others.
    pub fn element(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.element_with(name, &[], content);
    }

    /// An element with attributes.
    pub fn element_with(
        &mut self,
        name: &str,
        attributes: &[(&str, &str)],
        content: impl FnOnce(&mut Self),
    ) {
        self.open(name);
        for (key, value) in attributes {
            self.out.push(' ');
            self.out.push_str(key);
            self.out.push_str("=\"");
            self.escape(value);
            self.out.push('"');
        }
        self.out.push('>');
        content(self);
        self.close(name);
    }

    /// Text between two tags.
    pub fn content(&mut self, text: &str) {
        self.escape(text);
    }

    pub(super) fn raw(&mut self, markup: &str) {
        self.out.push_str(markup);
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, Invalid> {
        match self.refused {
            None => Ok(self.out.into_bytes()),
            Some(c) => Err(Invalid::new(format!(
                "a text holds U+{:04X}, which XML does not allow",
                u32::from(c)
            ))),
        }
    }

    fn open(&mut self, name: &str) {
        self.out.push('<');
        self.out.push_str(name);
    }

    fn close(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    /// Escapes for text and for attributes alike. White space that a parser
    /// would normalize is written as a reference, so that it comes back as it went.
    fn escape(&mut self, text: &str) {
        let mut copied = 0;
        for (at, byte) in text.bytes().enumerate() {
            let escaped = match byte {
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'&' => "&amp;",
                b'"' => "&quot;",
                b'\t' => "&#9;",
                b'\n' => "&#10;",
                b'\r' => "&#13;",
                // The two characters above U+FFFD start with this byte, as many others do.
                0xef => {
                    match text[at..].chars().next() {
                        Some(c) if !is_char(c) => self.refused = self.refused.or(Some(c)),
                        _ => {}
                    }
                    continue;
                }
                0..0x20 => {
                    self.refused = self.refused.or(Some(char::from(byte)));
                    continue;
                }
                _ => continue,
            };
            self.out.push_str(&text[copied..at]);
            self.out.push_str(escaped);
            copied = at + 1;
        }
        self.out.push_str(&text[copied..]);
    }
}

struct Escaped<'w>(&'w mut Writer);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.escape(text);
        Ok(())
    }
}
