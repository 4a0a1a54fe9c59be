//! How much of a document is read before it is refused.

/// The caps on one document; what exceeds one is refused with an error that names it.
///
/// # Defaults
///
/// [`Limits::new`] is made for messages of a few hundred lines: 1 MiB, 32
/// levels, 10,000 elements, 32 attributes and 16 namespace declarations an
/// element, 64 KiB of text an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub(super) bytes_max: usize,
    pub(super) depth_max: usize,
    pub(super) elements_max: usize,
    pub(super) attributes_max: usize,
    pub(super) namespaces_max: usize,
    pub(super) text_bytes_max: usize,
}

impl Limits {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes_max: 1024 * 1024,
            depth_max: 32,
            elements_max: 10_000,
            attributes_max: 32,
            namespaces_max: 16,
            text_bytes_max: 64 * 1024,
        }
    }

    /// The whole document, in bytes.
    #[must_use]
    pub const fn bytes_max(mut self, bytes: usize) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// Elements inside one another, the envelope included.
    #[must_use]
    pub const fn depth_max(mut self, levels: usize) -> Self {
        self.depth_max = levels;
        self
    }

    /// Elements in the whole document.
    #[must_use]
    pub const fn elements_max(mut self, elements: usize) -> Self {
        self.elements_max = elements;
        self
    }

    /// Attributes of one element, namespace declarations included.
    #[must_use]
    pub const fn attributes_max(mut self, attributes: usize) -> Self {
        self.attributes_max = attributes;
        self
    }

    /// Namespace declarations of one element.
    #[must_use]
    pub const fn namespaces_max(mut self, declarations: usize) -> Self {
        self.namespaces_max = declarations;
        self
    }

    /// The text of one element, in bytes after references were resolved.
    #[must_use]
    pub const fn text_bytes_max(mut self, bytes: usize) -> Self {
        self.text_bytes_max = bytes;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}
