//! Envelopes: one Header at most, one Body, one element in it.

use super::cursor::{Cursor, Token, lossy};
use super::{Decode, Element, Encode, Invalid, Limits, Version, Writer};

/// The header blocks that a reader knows.
pub trait Headers: Default {
    /// Takes one block, or says `None` and leaves it untouched when it is unknown.
    ///
    /// An unknown block is skipped, unless it must be understood. A block that
    /// may come once is kept by [`once`].
    ///
    /// # Errors
    ///
    /// When a known block is malformed, or comes twice.
    fn block(&mut self, block: &mut Element<'_, '_>) -> Result<Option<()>, Invalid>;
}

/// Knows none.
impl Headers for () {
    fn block(&mut self, _: &mut Element<'_, '_>) -> Result<Option<()>, Invalid> {
        Ok(None)
    }
}

/// A message that was read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<H, B> {
    /// What its header said.
    pub headers: H,
    /// The one element in its body.
    pub body: B,
}

/// Reads a message of this version.
///
/// Nothing is handed out before the last byte was seen, so a message that is
/// cut short or carries more than it should has no effect.
///
/// # Errors
///
/// When the document is not UTF-8 or not well-formed XML 1.0, holds a DOCTYPE
/// or a processing instruction, exceeds a [limit](Limits), is of another
/// version, has a header block that must be understood and is not, or is not
/// what `H` and `B` allow.
pub fn parse<H: Headers, B: Decode>(
    bytes: &[u8],
    version: Version,
    limits: &Limits,
) -> Result<Message<H, B>, Invalid> {
    let mut cursor = Cursor::new(bytes, *limits)?;
    let mut headers = H::default();
    let mut envelope = root(&mut cursor, version)?;
    envelope.part("Header", |header| blocks(header, version, &mut headers))?;
    let body = envelope.part("Body", only_child)?;
    envelope.end()?;
    let body = body.ok_or_else(|| Invalid::new("the envelope has no Body"))?;
    match cursor.peek_element()? {
        Token::End => Ok(Message { headers, body }),
        _ => Err(cursor.place(Invalid::new("the document goes on after the envelope"))),
    }
}

/// Writes a message: `namespaces` are the prefixes that `headers` and `body` use.
///
/// # Errors
///
/// When a text holds a character that XML does not allow.
///
/// # Examples
///
/// ```
/// use swifttrack_adapters::soap::{self, Encode, Invalid, Version, Writer};
///
/// struct Get(&'static str);
///
/// impl Encode for Get {
///     fn encode(&self, out: &mut Writer) {
///         out.element("c:GetContractRequest", |out| out.text("c:OrderId", self.0));
///     }
/// }
///
/// let namespaces = [("c", "http://swiftlogistics.lk/cms/v1")];
/// let message = soap::envelope(Version::V11, &namespaces, &[], &Get("ORD-1"))?;
/// assert!(String::from_utf8_lossy(&message).contains("<c:OrderId>ORD-1</c:OrderId>"));
/// # Ok::<_, Invalid>(())
/// ```
pub fn envelope(
    version: Version,
    namespaces: &[(&str, &str)],
    headers: &[&dyn Encode],
    body: &dyn Encode,
) -> Result<Vec<u8>, Invalid> {
    let mut out = Writer::new(version);
    out.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?><s:Envelope xmlns:s=\"");
    out.raw(version.namespace());
    out.raw("\"");
    for (prefix, uri) in namespaces {
        out.raw(" xmlns:");
        out.raw(prefix);
        out.raw("=\"");
        out.content(uri);
        out.raw("\"");
    }
    out.raw(">");
    if !headers.is_empty() {
        out.element("s:Header", |out| {
            for header in headers {
                header.encode(out);
            }
        });
    }
    out.element("s:Body", |out| body.encode(out));
    out.raw("</s:Envelope>");
    out.finish()
}

/// Keeps what may come once.
///
/// # Errors
///
/// When it came before.
pub fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), Invalid> {
    if slot.is_some() {
        return Err(Invalid::new(format!("{name} comes twice")));
    }
    *slot = Some(value);
    Ok(())
}

fn root<'c, 'i>(cursor: &'c mut Cursor<'i>, version: Version) -> Result<Element<'c, 'i>, Invalid> {
    cursor.peek_element()?;
    let Token::Open { start, empty } = cursor.next()? else {
        return Err(cursor.place(Invalid::new("the document is empty")));
    };
    if start.local_name().as_ref() != b"Envelope" {
        let name = lossy(start.name().as_ref());
        let invalid = Invalid::new(format!("{name} where the envelope is expected"));
        return Err(cursor.place(invalid));
    }
    if !cursor.is(&start, version.namespace(), "Envelope") {
        let namespace = lossy(cursor.namespace_of(start.name()).unwrap_or_default());
        let expected = version.namespace();
        let invalid = Invalid::version(format!(
            "the envelope's namespace is {namespace:?}, not {expected}"
        ));
        return Err(cursor.place(invalid));
    }
    let envelope = Element::new(cursor, start, empty, version.namespace());
    envelope.refuse_unqualified_attributes()?;
    Ok(envelope)
}

fn blocks<H: Headers>(
    header: &mut Element<'_, '_>,
    version: Version,
    headers: &mut H,
) -> Result<(), Invalid> {
    header.each(|block| {
        let must_understand = must_understand(block, version)?;
        let taken = match for_us(block, version)? {
            true => headers.block(block)?,
            false => Some(block.skip()?),
        };
        match taken {
            Some(()) => {}
            None if must_understand => return Err(Invalid::must_understand(&block.name())),
            None => block.skip()?,
        }
        Ok(Some(()))
    })
}

fn only_child<B: Decode>(body: &mut Element<'_, '_>) -> Result<B, Invalid> {
    let mut found = None;
    body.each(|child| {
        if found.is_some() {
            return Err(Invalid::new("the Body holds two elements"));
        }
        child.refuse_attributes()?;
        found = B::decode(child)?;
        Ok(found.is_some().then_some(()))
    })?;
    found.ok_or_else(|| Invalid::new("the Body is empty"))
}

fn must_understand(block: &Element<'_, '_>, version: Version) -> Result<bool, Invalid> {
    match block
        .attribute(Some(version.namespace()), "mustUnderstand")?
        .as_deref()
    {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true") => Ok(true),
        Some(_) => Err(Invalid::new("mustUnderstand is neither true nor false")),
    }
}

/// Whether we are the receiver that a header block is meant for.
fn for_us(block: &Element<'_, '_>, version: Version) -> Result<bool, Invalid> {
    let name = match version {
        Version::V11 => "actor",
        Version::V12 => "role",
    };
    let role = block.attribute(Some(version.namespace()), name)?;
    Ok(role.is_none_or(|role| version.role_is_ours(&role)))
}
