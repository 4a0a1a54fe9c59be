//! SOAP: what is read, what is refused, and that both sides agree.

mod client;
mod fault;
mod read;
mod refuse;
mod security;

use swifttrack_adapters::soap::{
    Decode, Element, Encode, Headers, Invalid, Limits, Message, Version, Writer, once, parse,
};

pub(crate) const NS: &str = "urn:test";

/// A body with one of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub id: String,
    pub note: Option<String>,
    pub weight: u32,
    pub lines: Vec<String>,
}

impl Decode for Parcel {
    fn decode(e: &mut Element<'_, '_>) -> Result<Option<Self>, Invalid> {
        if !e.named(NS, "Parcel") {
            return Ok(None);
        }
        Ok(Some(Self {
            id: e.string("Id")?,
            note: e.string_opt("Note")?,
            weight: e.value("Weight")?,
            lines: e.child("Lines", |lines| {
                lines.many("Line", 0..=100, |line| Ok(line.content()?.into_owned()))
            })?,
        }))
    }
}

impl Encode for Parcel {
    fn encode(&self, out: &mut Writer) {
        out.element("t:Parcel", |out| {
            out.text("t:Id", &self.id);
            out.text_opt("t:Note", self.note.as_deref());
            out.value("t:Weight", self.weight);
            out.element("t:Lines", |out| {
                for line in &self.lines {
                    out.text("t:Line", line);
                }
            });
        });
    }
}

/// Knows one header block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub key: Option<String>,
}

impl Headers for Known {
    fn block(&mut self, block: &mut Element<'_, '_>) -> Result<Option<()>, Invalid> {
        if !block.named(NS, "Key") {
            return Ok(None);
        }
        once(&mut self.key, "Key", block.content()?.into_owned()).map(Some)
    }
}

pub(crate) const NAMESPACES: &[(&str, &str)] = &[("t", NS)];

pub(crate) fn read(document: &str) -> Result<Message<Known, Parcel>, Invalid> {
    read_with(document, &Limits::new())
}

pub(crate) fn read_with(
    document: &str,
    limits: &Limits,
) -> Result<Message<Known, Parcel>, Invalid> {
    parse(document.as_bytes(), Version::V11, limits)
}

/// An envelope of SOAP 1.1 around what is given.
pub(crate) fn wrap(header: &str, body: &str) -> String {
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:t=\"urn:test\">\
         {header}<s:Body>{body}</s:Body></s:Envelope>"
    )
}

pub(crate) const PARCEL: &str =
    "<t:Parcel><t:Id>P-1</t:Id><t:Weight>7</t:Weight><t:Lines/></t:Parcel>";

pub(crate) fn parcel() -> Parcel {
    Parcel {
        id: "P-1".into(),
        weight: 7,
        ..Parcel::default()
    }
}
