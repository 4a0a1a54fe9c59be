//! The only place that reads XML: every cap and every refusal is here.

use std::borrow::Cow;

use quick_xml::events::attributes::Attributes;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{PrefixDeclaration, QName, ResolveResult};
use quick_xml::reader::NsReader;

use super::{Invalid, Limits};

/// A place in a document, with one token of lookahead.
pub(super) struct Cursor<'i> {
    reader: NsReader<&'i [u8]>,
    limits: Limits,
    peeked: Option<Token<'i>>,
    depth: usize,
    elements: usize,
}

/// What is left of an event once all that must not be there was refused.
#[derive(Clone, Debug)]
pub(super) enum Token<'i> {
    /// A start tag; `empty` has no end tag.
    Open {
        start: BytesStart<'i>,
        empty: bool,
    },
    Close,
    Text(Cow<'i, str>),
    End,
}

impl<'i> Cursor<'i> {
    pub(super) fn new(bytes: &'i [u8], limits: Limits) -> Result<Self, Invalid> {
        if bytes.len() > limits.bytes_max {
            return Err(Invalid::limit("bytes_max", limits.bytes_max));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|e| Invalid::new("the document is not UTF-8").at(e.valid_up_to()))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        refuse_foreign_characters(text)?;

        let mut reader = NsReader::from_str(text);
        reader.config_mut().check_comments = true;
        reader
            .resolver_mut()
            .set_max_declarations_per_element(limits.namespaces_max);
        let mut cursor = Self {
            reader,
            limits,
            peeked: None,
            depth: 0,
            elements: 0,
        };
        cursor.declaration(text)?;
        Ok(cursor)
    }

    /// Adds the place to an error.
    pub(super) fn place(&self, invalid: Invalid) -> Invalid {
        invalid.at(usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX))
    }

    pub(super) fn text_bytes_max(&self) -> usize {
        self.limits.text_bytes_max
    }

    pub(super) fn next(&mut self) -> Result<Token<'i>, Invalid> {
        match self.peeked.take() {
            Some(token) => Ok(token),
            None => self.read().map_err(|invalid| self.place(invalid)),
        }
    }

    /// Looks at the next token that is not white space between elements.
    pub(super) fn peek_element(&mut self) -> Result<&Token<'i>, Invalid> {
        loop {
            let token = self.next()?;
            if let Token::Text(text) = &token {
                if !text.bytes().all(is_space) {
                    return Err(self.place(Invalid::new("text where only elements may be")));
                }
                continue;
            }
            return Ok(self.peeked.insert(token));
        }
    }

    /// Whether `start`, the tag read last, has this name.
    pub(super) fn is(&self, start: &BytesStart<'_>, namespace: &str, local: &str) -> bool {
        let name = start.name();
        name.local_name().as_ref() == local.as_bytes()
            && self.namespace_of(name) == Some(namespace.as_bytes())
    }

    /// The namespace of an element's name; `None` when it has none.
    pub(super) fn namespace_of(&self, name: QName<'_>) -> Option<&[u8]> {
        match self.reader.resolver().resolve_prefix(name.prefix(), true) {
            ResolveResult::Bound(namespace) => Some(namespace.into_inner()),
            ResolveResult::Unbound | ResolveResult::Unknown(_) => None,
        }
    }

    /// The value of an attribute of `start`, the tag read last.
    pub(super) fn attribute(
        &self,
        start: &BytesStart<'_>,
        namespace: Option<&str>,
        local: &str,
    ) -> Result<Option<String>, Invalid> {
        for attribute in raw(start) {
            let attribute = attribute.map_err(malformed)?;
            let (resolved, name) = self.reader.resolver().resolve_attribute(attribute.key);
            let found = match resolved {
                ResolveResult::Bound(found) => Some(found.into_inner()),
                _ => None,
            };
            if name.as_ref() == local.as_bytes() && found == namespace.map(str::as_bytes) {
                let value = std::str::from_utf8(&attribute.value).map_err(malformed)?;
                return Ok(Some(unescape(value)?.into_owned()));
            }
        }
        Ok(None)
    }

    /// Names the first attribute that is neither a declaration nor in a
    /// namespace that `allowed` accepts.
    pub(super) fn foreign_attribute(
        &self,
        start: &BytesStart<'_>,
        allowed: impl Fn(Option<&[u8]>) -> bool,
    ) -> Result<Option<String>, Invalid> {
        for attribute in raw(start) {
            let key = attribute.map_err(malformed)?.key;
            if key.as_namespace_binding().is_some() {
                continue;
            }
            let namespace = match self.reader.resolver().resolve_attribute(key).0 {
                ResolveResult::Bound(namespace) => Some(namespace.into_inner()),
                _ => None,
            };
            if !allowed(namespace) {
                return Ok(Some(lossy(key.as_ref())));
            }
        }
        Ok(None)
    }

    fn read(&mut self) -> Result<Token<'i>, Invalid> {
        loop {
            let event = match self.reader.read_event() {
                Ok(event) => event,
                Err(quick_xml::Error::Namespace(
                    quick_xml::name::NamespaceError::TooManyDeclarations(max),
                )) => return Err(Invalid::limit("namespaces_max", max)),
                Err(e) => return Err(malformed(e)),
            };
            return match event {
                Event::Start(start) => {
                    self.opened(&start, self.depth + 1)?;
                    self.depth += 1;
                    Ok(Token::Open {
                        start,
                        empty: false,
                    })
                }
                Event::Empty(start) => {
                    self.opened(&start, self.depth + 1)?;
                    Ok(Token::Open { start, empty: true })
                }
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    Ok(Token::Close)
                }
                Event::Text(text) => {
                    let text = text.xml10_content().map_err(malformed)?;
                    if text.contains("]]>") {
                        return Err(Invalid::new("text holds \"]]>\""));
                    }
                    Ok(Token::Text(text))
                }
                Event::CData(text) if self.depth > 0 => {
                    Ok(Token::Text(text.xml10_content().map_err(malformed)?))
                }
                Event::GeneralRef(reference) if self.depth > 0 => {
                    let name = reference.decode().map_err(malformed)?;
                    let mut buffer = [0; 4];
                    let text = resolve(&name)?.encode_utf8(&mut buffer);
                    Ok(Token::Text(Cow::Owned(text.to_owned())))
                }
                Event::CData(_) | Event::GeneralRef(_) => {
                    Err(Invalid::new("text outside the envelope"))
                }
                Event::Comment(_) => continue,
                Event::DocType(_) => Err(Invalid::new("a DOCTYPE is not accepted")),
                Event::PI(_) => Err(Invalid::new("a processing instruction is not accepted")),
                Event::Decl(_) => Err(Invalid::new("an XML declaration not at the start")),
                Event::Eof if self.depth > 0 => Err(Invalid::new("the document ends too early")),
                Event::Eof => Ok(Token::End),
            };
        }
    }

    fn opened(&mut self, start: &BytesStart<'_>, depth: usize) -> Result<(), Invalid> {
        if depth > self.limits.depth_max {
            return Err(Invalid::limit("depth_max", self.limits.depth_max));
        }
        self.elements += 1;
        if self.elements > self.limits.elements_max {
            return Err(Invalid::limit("elements_max", self.limits.elements_max));
        }
        let resolver = self.reader.resolver();
        if let ResolveResult::Unknown(prefix) = resolver.resolve_prefix(start.name().prefix(), true)
        {
            return Err(unbound(&prefix));
        }
        for (count, attribute) in raw(start).enumerate() {
            let attribute = attribute.map_err(malformed)?;
            if count == self.limits.attributes_max {
                return Err(Invalid::limit("attributes_max", self.limits.attributes_max));
            }
            let key = attribute.key;
            // The limit keeps these few.
            let mut before = raw(start).take(count).flatten();
            if before.any(|before| self.are_one(before.key, key)) {
                let name = lossy(key.as_ref());
                return Err(malformed(format_args!("the attribute {name} comes twice")));
            }
            let value = std::str::from_utf8(&attribute.value).map_err(malformed)?;
            if value.contains('<') {
                return Err(Invalid::new("an attribute holds \"<\""));
            }
            let value = unescape(value)?;
            match key.as_namespace_binding() {
                Some(PrefixDeclaration::Named(_)) if value.is_empty() => {
                    return Err(Invalid::new("a prefix is bound to no namespace"));
                }
                Some(_) => {}
                None => {
                    if let (ResolveResult::Unknown(prefix), _) = resolver.resolve_attribute(key) {
                        return Err(unbound(&prefix));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether two attributes of the tag read last have the same name, however it is written.
    fn are_one(&self, a: QName<'_>, b: QName<'_>) -> bool {
        let resolver = self.reader.resolver();
        let local = a.local_name() == b.local_name();
        a == b
            || local
                && matches!(
                    (resolver.resolve_attribute(a).0, resolver.resolve_attribute(b).0),
                    (ResolveResult::Bound(a), ResolveResult::Bound(b)) if a == b
                )
    }

    /// Reads the XML declaration, if there is one.
    fn declaration(&mut self, text: &str) -> Result<(), Invalid> {
        let declared = text
            .strip_prefix("<?xml")
            .is_some_and(|rest| rest.bytes().next().is_some_and(is_space));
        if !declared {
            return Ok(());
        }
        let Event::Decl(declaration) = self.reader.read_event().map_err(malformed)? else {
            return Err(Invalid::new("the XML declaration is malformed"));
        };
        if declaration.version().map_err(malformed)?.as_ref() != b"1.0" {
            return Err(Invalid::new("the document is not XML 1.0"));
        }
        match declaration.encoding().transpose().map_err(malformed)? {
            Some(encoding) if !encoding.eq_ignore_ascii_case(b"utf-8") => {
                Err(Invalid::new("the declared encoding is not UTF-8"))
            }
            _ => Ok(()),
        }
    }
}

/// The attributes of a tag. Whether one comes twice is looked at once, when the tag is
/// [`opened`](Cursor::opened), and by their names' meaning.
fn raw<'s>(start: &'s BytesStart<'_>) -> Attributes<'s> {
    let mut attributes = start.attributes();
    attributes.with_checks(false);
    attributes
}

/// XML's own white space.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The characters of XML 1.0 (its production 2).
pub(super) const fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

pub(super) fn lossy(bytes: &[u8]) -> String {
    const SHOWN_CHARS_MAX: usize = 64;
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

fn refuse_foreign_characters(text: &str) -> Result<(), Invalid> {
    // Two passes without a branch per character; almost no document has the second one's byte.
    let bytes = text.as_bytes();
    let control = bytes
        .iter()
        .fold(false, |found, &b| found | ((b < 0x20) & !is_space(b)));
    if !control && !bytes.contains(&0xef) {
        return Ok(());
    }
    match text.char_indices().find(|(_, c)| !is_char(*c)) {
        Some((at, c)) => Err(Invalid::new(format!(
            "the document holds U+{:04X}, which XML does not allow",
            u32::from(c)
        ))
        .at(at)),
        None => Ok(()),
    }
}

/// The character that `&name;` stands for. There are no entities but XML's five.
fn resolve(name: &str) -> Result<char, Invalid> {
    let code = match name {
        "lt" => return Ok('<'),
        "gt" => return Ok('>'),
        "amp" => return Ok('&'),
        "apos" => return Ok('\''),
        "quot" => return Ok('"'),
        _ => match name.strip_prefix('#') {
            Some(number) => match number.strip_prefix('x') {
                Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
                    u32::from_str_radix(hex, 16).ok()
                }
                None if number.bytes().all(|b| b.is_ascii_digit()) => number.parse().ok(),
                _ => None,
            },
            None => {
                let name = lossy(name.as_bytes());
                return Err(Invalid::new(format!("the entity &{name}; is not known")));
            }
        },
    };
    code.and_then(char::from_u32)
        .filter(|c| is_char(*c))
        .ok_or_else(|| {
            let name = lossy(name.as_bytes());
            Invalid::new(format!(
                "the reference &{name}; stands for no character of XML"
            ))
        })
}

/// Resolves the references of an attribute's value.
fn unescape(value: &str) -> Result<Cow<'_, str>, Invalid> {
    if !value.contains('&') {
        return Ok(Cow::Borrowed(value));
    }
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let (name, after) = after
            .split_once(';')
            .ok_or_else(|| Invalid::new("an attribute holds a lone \"&\""))?;
        out.push(resolve(name)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

fn unbound(prefix: &[u8]) -> Invalid {
    Invalid::new(format!("the prefix {} is not declared", lossy(prefix)))
}

fn malformed(error: impl std::fmt::Display) -> Invalid {
    Invalid::new(format!("the document is not well-formed: {error}"))
}
