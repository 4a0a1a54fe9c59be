//! Reading one element, child by child, in the order the schema gives.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::str::FromStr;

use quick_xml::events::BytesStart;

use super::Invalid;
use super::cursor::{Cursor, Token, is_space, lossy};

const XSI: &[u8] = b"http://www.w3.org/2001/XMLSchema-instance";
const XML: &[u8] = b"http://www.w3.org/XML/1998/namespace";

/// What can be read from an element.
pub trait Decode: Sized {
    /// Reads it, or says `None` and leaves the element untouched when it is
    /// [`named`](Element::named) otherwise.
    ///
    /// # Errors
    ///
    /// When the element does not hold what its name promises.
    fn decode(element: &mut Element<'_, '_>) -> Result<Option<Self>, Invalid>;
}

/// An open element whose children are taken one after another.
///
/// Each method takes the *next* child: what comes in another order, comes
/// twice, or is not asked for is refused, as `xsd:sequence` has it. Names are
/// compared by namespace and local name, whatever the prefix. Comments are
/// skipped; CDATA is text.
///
/// # Examples
///
/// ```
/// use swifttrack_adapters::soap::{Element, Invalid};
///
/// struct Package {
///     sku: String,
///     description: Option<String>,
///     quantity: u32,
/// }
///
/// fn package(e: &mut Element<'_, '_>) -> Result<Package, Invalid> {
///     Ok(Package {
///         sku: e.string("SKU")?,
///         description: e.string_opt("Description")?,
///         quantity: e.value("Quantity")?,
///     })
/// }
///
/// fn packages(e: &mut Element<'_, '_>) -> Result<Vec<Package>, Invalid> {
///     e.child("PackageList", |list| list.many("Package", 1..=200, package))
/// }
/// ```
pub struct Element<'c, 'i> {
    cursor: &'c mut Cursor<'i>,
    start: BytesStart<'i>,
    empty: bool,
    namespace: &'static str,
}

impl<'c, 'i> Element<'c, 'i> {
    pub(super) fn new(
        cursor: &'c mut Cursor<'i>,
        start: BytesStart<'i>,
        empty: bool,
        namespace: &'static str,
    ) -> Self {
        Self {
            cursor,
            start,
            empty,
            namespace,
        }
    }

    /// Whether this is its name. If so, its children are looked for in this namespace.
    ///
    /// To be asked before anything is read from the element.
    pub fn named(&mut self, namespace: &'static str, local: &str) -> bool {
        let is = self.cursor.is(&self.start, namespace, local);
        if is {
            self.namespace = namespace;
        }
        is
    }

    /// The text of the next child, which must be there.
    ///
    /// # Errors
    ///
    /// When another child or the end comes first, or it holds elements.
    pub fn text(&mut self, local: &str) -> Result<Cow<'i, str>, Invalid> {
        self.child(local, |child| child.content())
    }

    /// The text of the next child, if that has this name.
    ///
    /// # Errors
    ///
    /// When it holds elements.
    pub fn text_opt(&mut self, local: &str) -> Result<Option<Cow<'i, str>>, Invalid> {
        self.child_opt(local, |child| child.content())
    }

    /// [`text`](Self::text), owned.
    ///
    /// # Errors
    ///
    /// As `text`.
    pub fn string(&mut self, local: &str) -> Result<String, Invalid> {
        self.text(local).map(Cow::into_owned)
    }

    /// [`text_opt`](Self::text_opt), owned.
    ///
    /// # Errors
    ///
    /// As `text_opt`.
    pub fn string_opt(&mut self, local: &str) -> Result<Option<String>, Invalid> {
        Ok(self.text_opt(local)?.map(Cow::into_owned))
    }

    /// The next child's text, trimmed and parsed.
    ///
    /// # Errors
    ///
    /// As [`text`](Self::text), and when it does not parse.
    pub fn value<T: FromStr>(&mut self, local: &str) -> Result<T, Invalid> {
        self.child(local, |child| child.content_value())
    }

    /// The next child's text, trimmed and parsed, if that child has this name.
    ///
    /// # Errors
    ///
    /// As [`text_opt`](Self::text_opt), and when it does not parse.
    pub fn value_opt<T: FromStr>(&mut self, local: &str) -> Result<Option<T>, Invalid> {
        self.child_opt(local, |child| child.content_value())
    }

    /// The next child, which must be there; `read` must take all it holds.
    ///
    /// # Errors
    ///
    /// When another child or the end comes first, and what `read` says.
    pub fn child<T>(
        &mut self,
        local: &str,
        read: impl FnOnce(&mut Element<'_, 'i>) -> Result<T, Invalid>,
    ) -> Result<T, Invalid> {
        self.child_in(self.namespace, local, read)
    }

    /// The next child, if it has this name.
    ///
    /// # Errors
    ///
    /// What `read` says.
    pub fn child_opt<T>(
        &mut self,
        local: &str,
        read: impl FnOnce(&mut Element<'_, 'i>) -> Result<T, Invalid>,
    ) -> Result<Option<T>, Invalid> {
        self.child_opt_in(self.namespace, local, read)
    }

    /// [`child`](Self::child) in a namespace that is not the parent's; `""` is none.
    ///
    /// # Errors
    ///
    /// As `child`.
    pub fn child_in<T>(
        &mut self,
        namespace: &'static str,
        local: &str,
        read: impl FnOnce(&mut Element<'_, 'i>) -> Result<T, Invalid>,
    ) -> Result<T, Invalid> {
        match self.child_opt_in(namespace, local, read)? {
            Some(read) => Ok(read),
            None => Err(self.missing(local)),
        }
    }

    /// [`child_opt`](Self::child_opt) in a namespace that is not the parent's; `""` is none.
    ///
    /// # Errors
    ///
    /// As `child_opt`.
    pub fn child_opt_in<T>(
        &mut self,
        namespace: &'static str,
        local: &str,
        read: impl FnOnce(&mut Element<'_, 'i>) -> Result<T, Invalid>,
    ) -> Result<Option<T>, Invalid> {
        self.next_if(namespace, local, |child| {
            child.refuse_attributes()?;
            read(child)
        })
    }

    /// A part of the envelope, which may have attributes of others.
    pub(super) fn part<T>(
        &mut self,
        local: &str,
        read: impl FnOnce(&mut Element<'_, 'i>) -> Result<T, Invalid>,
    ) -> Result<Option<T>, Invalid> {
        self.part_in(self.namespace, local, read)
    }

    pub(super) fn part_in<T>(
        &mut self,
        namespace: &'static str,
        local: &str,
        read: impl FnOnce(&mut Element<'_, 'i>) -> Result<T, Invalid>,
    ) -> Result<Option<T>, Invalid> {
        self.next_if(namespace, local, |part| {
            part.refuse_unqualified_attributes()?;
            read(part)
        })
    }

    fn next_if<T>(
        &mut self,
        namespace: &'static str,
        local: &str,
        read: impl FnOnce(&mut Element<'_, 'i>) -> Result<T, Invalid>,
    ) -> Result<Option<T>, Invalid> {
        if self.empty {
            return Ok(None);
        }
        let Token::Open { start, .. } = self.cursor.peek_element()? else {
            return Ok(None);
        };
        let start = start.clone();
        let found = if namespace.is_empty() {
            start.name().as_ref() == local.as_bytes()
                && self.cursor.namespace_of(start.name()).is_none()
        } else {
            self.cursor.is(&start, namespace, local)
        };
        if !found {
            return Ok(None);
        }
        let Token::Open { start, empty } = self.cursor.next()? else {
            unreachable!("the token that was looked at");
        };
        let mut child = Element::new(self.cursor, start, empty, namespace);
        let read = read(&mut child).map_err(|invalid| child.cursor.place(invalid))?;
        child.end()?;
        Ok(Some(read))
    }

    /// All the next children of this name, at least and at most as many as `count` says.
    ///
    /// # Errors
    ///
    /// When there are fewer or more, and what `read` says.
    pub fn many<T>(
        &mut self,
        local: &str,
        count: RangeInclusive<usize>,
        mut read: impl FnMut(&mut Element<'_, 'i>) -> Result<T, Invalid>,
    ) -> Result<Vec<T>, Invalid> {
        let mut all = Vec::new();
        while let Some(one) = self.child_opt(local, &mut read)? {
            if all.len() == *count.end() {
                let max = count.end();
                return Err(self
                    .cursor
                    .place(Invalid::new(format!("more than {max} of {local}"))));
            }
            all.push(one);
        }
        if all.len() < *count.start() {
            return Err(self.missing(local));
        }
        Ok(all)
    }

    /// Every child, in any order, for the few schemas without one. `read` says
    /// `None` to a child that it does not know, which is refused. Attributes
    /// are left to `read`.
    ///
    /// # Errors
    ///
    /// On an unknown child, and what `read` says.
    pub fn each(
        &mut self,
        mut read: impl FnMut(&mut Element<'_, 'i>) -> Result<Option<()>, Invalid>,
    ) -> Result<(), Invalid> {
        while !self.empty && matches!(self.cursor.peek_element()?, Token::Open { .. }) {
            let Token::Open { start, empty } = self.cursor.next()? else {
                unreachable!("the token that was looked at");
            };
            let mut child = Element::new(self.cursor, start, empty, "");
            let known = read(&mut child).map_err(|invalid| child.cursor.place(invalid))?;
            if known.is_none() {
                let name = child.name();
                return Err(self
                    .cursor
                    .place(Invalid::new(format!("{name} is not expected here"))));
            }
            child.end()?;
        }
        Ok(())
    }

    /// The text of this element itself, white space included.
    ///
    /// # Errors
    ///
    /// When it holds elements, or more text than the limit.
    pub fn content(&mut self) -> Result<Cow<'i, str>, Invalid> {
        let mut text = Cow::Borrowed("");
        if self.empty {
            return Ok(text);
        }
        loop {
            match self.cursor.next()? {
                Token::Text(more) => {
                    if text.len() + more.len() > self.cursor.text_bytes_max() {
                        let limit = Invalid::limit("text_bytes_max", self.cursor.text_bytes_max());
                        return Err(self.cursor.place(limit));
                    }
                    if text.is_empty() {
                        text = more;
                    } else {
                        text.to_mut().push_str(&more);
                    }
                }
                Token::Close | Token::End => break,
                Token::Open { start, .. } => {
                    let (child, parent) = (lossy(start.name().as_ref()), self.name());
                    return Err(self.cursor.place(Invalid::new(format!(
                        "{child} inside {parent}, which holds text"
                    ))));
                }
            }
        }
        // The end tag is taken; nothing else is to be read.
        self.empty = true;
        Ok(text)
    }

    /// An attribute's value; `None` as namespace means that the attribute has no prefix.
    ///
    /// To be asked before anything is read from the element.
    ///
    /// # Errors
    ///
    /// When the start tag is malformed.
    pub fn attribute(
        &self,
        namespace: Option<&str>,
        local: &str,
    ) -> Result<Option<String>, Invalid> {
        self.cursor.attribute(&self.start, namespace, local)
    }

    /// The name as it stands in the document, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        lossy(self.start.name().as_ref())
    }

    /// The namespace that `prefix:local` in this element's text refers to.
    ///
    /// To be asked before anything is read that follows the element: its own declarations go then.
    pub(super) fn resolves_to(&self, qname: &str, namespace: &str) -> bool {
        self.cursor
            .namespace_of(quick_xml::name::QName(qname.as_bytes()))
            == Some(namespace.as_bytes())
    }

    /// Skips whatever is left in it. The caps hold here too.
    pub(super) fn skip(&mut self) -> Result<(), Invalid> {
        let mut depth = usize::from(!self.empty);
        while depth > 0 {
            match self.cursor.next()? {
                Token::Open { empty: false, .. } => depth += 1,
                Token::Close => depth -= 1,
                Token::End => break,
                Token::Open { .. } | Token::Text(_) => {}
            }
        }
        self.empty = true;
        Ok(())
    }

    /// Takes the end tag; refuses whatever was not asked for.
    pub(super) fn end(&mut self) -> Result<(), Invalid> {
        if self.empty {
            return Ok(());
        }
        if let Token::Open { start, .. } = self.cursor.peek_element()? {
            let (child, parent) = (lossy(start.name().as_ref()), self.name());
            return Err(self.cursor.place(Invalid::new(format!(
                "{child} is not expected here in {parent}"
            ))));
        }
        self.cursor.next()?;
        self.empty = true;
        Ok(())
    }

    fn content_value<T: FromStr>(&mut self) -> Result<T, Invalid> {
        let text = self.content()?;
        text.trim_matches(|c: char| c.is_ascii() && is_space(c as u8))
            .parse()
            .map_err(|_| {
                let name = self.name();
                self.cursor
                    .place(Invalid::new(format!("{name} is not what its type allows")))
            })
    }

    fn missing(&mut self, local: &str) -> Invalid {
        let parent = self.name();
        let invalid = match self.cursor.peek_element() {
            Ok(Token::Open { start, .. }) if !self.empty => Invalid::new(format!(
                "{local} is expected in {parent}, not {}",
                lossy(start.name().as_ref())
            )),
            Err(invalid) if !self.empty => invalid,
            _ => Invalid::new(format!("{parent} lacks {local}")),
        };
        self.cursor.place(invalid)
    }

    /// The envelope's own elements may carry what others put there, in namespaces of theirs.
    pub(super) fn refuse_unqualified_attributes(&self) -> Result<(), Invalid> {
        match self
            .cursor
            .foreign_attribute(&self.start, |namespace| namespace.is_some())?
        {
            None => Ok(()),
            Some(attribute) => {
                let name = self.name();
                Err(self
                    .cursor
                    .place(Invalid::new(format!("{name} has an attribute {attribute}"))))
            }
        }
    }

    /// Payload elements have no attributes but XML's and the schema instance's; none is nillable.
    pub(super) fn refuse_attributes(&self) -> Result<(), Invalid> {
        let foreign = self.cursor.foreign_attribute(&self.start, |namespace| {
            namespace == Some(XSI) || namespace == Some(XML)
        })?;
        if let Some(attribute) = foreign {
            let name = self.name();
            return Err(self
                .cursor
                .place(Invalid::new(format!("{name} has an attribute {attribute}"))));
        }
        if self.start.attributes_raw().is_empty() {
            return Ok(());
        }
        let xsi = std::str::from_utf8(XSI).ok();
        match self.attribute(xsi, "nil")?.as_deref() {
            None | Some("false" | "0") => Ok(()),
            Some(_) => {
                let name = self.name();
                Err(self
                    .cursor
                    .place(Invalid::new(format!("{name} must not be nil"))))
            }
        }
    }
}

impl std::fmt::Debug for Element<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Element").field(&self.name()).finish()
    }
}
