//! Faults, told by their content and not by the status they come with.

use super::{Decode, Element, Encode, Invalid, Version, Writer, once};

/// Who is at fault, in the words of SOAP 1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultCode {
    /// The message was wrong: `Client`, in SOAP 1.2 `Sender`.
    Client,
    /// The message was right and was not processed: `Server`, in SOAP 1.2 `Receiver`.
    Server,
    /// A header block had to be understood and was not.
    MustUnderstand,
    /// The envelope was of another version.
    VersionMismatch,
    /// A code of somebody else's; read only, and written as `Server`.
    Other,
}

impl FaultCode {
    /// The HTTP status that a fault with this code is sent with.
    #[must_use]
    pub const fn status(self, version: Version) -> u16 {
        match (version, self) {
            (Version::V12, Self::Client) => 400,
            _ => 500,
        }
    }

    const fn name(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Client, Version::V11) => "s:Client",
            (Self::Client, Version::V12) => "s:Sender",
            (Self::Server | Self::Other, Version::V11) => "s:Server",
            (Self::Server | Self::Other, Version::V12) => "s:Receiver",
            (Self::MustUnderstand, _) => "s:MustUnderstand",
            (Self::VersionMismatch, _) => "s:VersionMismatch",
        }
    }

    fn read(element: &mut Element<'_, '_>, version: Version) -> Result<Self, Invalid> {
        let content = element.content()?;
        let name = content.trim();
        if !element.resolves_to(name, version.namespace()) {
            return Ok(Self::Other);
        }
        let local = name.split_once(':').map_or(name, |(_, local)| local);
        // SOAP 1.1 refines a code after a dot.
        let local = local.split_once('.').map_or(local, |(code, _)| code);
        Ok(match (local, version) {
            ("Client", Version::V11) | ("Sender", Version::V12) => Self::Client,
            ("Server", Version::V11) | ("Receiver", Version::V12) => Self::Server,
            ("MustUnderstand", _) => Self::MustUnderstand,
            ("VersionMismatch", _) => Self::VersionMismatch,
            _ => Self::Other,
        })
    }
}

/// A fault, with the detail that a contract declares for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault<D> {
    /// Who is at fault.
    pub code: FaultCode,
    /// One sentence for a person.
    pub reason: String,
    /// The contract's own words; `None` when the fault is not the partner's but some box's in the middle.
    pub detail: Option<D>,
}

/// What an exchange brought: the answer, or a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<B, D> {
    /// The answer.
    Answer(B),
    /// The fault.
    Fault(Fault<D>),
}

impl<B: Decode, D: Decode> Decode for Reply<B, D> {
    fn decode(element: &mut Element<'_, '_>) -> Result<Option<Self>, Invalid> {
        for version in [Version::V11, Version::V12] {
            if element.named(version.namespace(), "Fault") {
                return read(element, version).map(|fault| Some(Self::Fault(fault)));
            }
        }
        Ok(B::decode(element)?.map(Self::Answer))
    }
}

impl<D: Encode> Encode for Fault<D> {
    fn encode(&self, out: &mut Writer) {
        let version = out.version();
        let code = self.code.name(version);
        out.element("s:Fault", |out| match version {
            Version::V11 => {
                out.text("faultcode", code);
                out.text("faultstring", &self.reason);
                if let Some(detail) = &self.detail {
                    out.element("detail", |out| detail.encode(out));
                }
            }
            Version::V12 => {
                out.element("s:Code", |out| out.text("s:Value", code));
                out.element("s:Reason", |out| {
                    out.element_with("s:Text", &[("xml:lang", "en")], |out| {
                        out.content(&self.reason);
                    });
                });
                if let Some(detail) = &self.detail {
                    out.element("s:Detail", |out| detail.encode(out));
                }
            }
        });
    }
}

fn read<D: Decode>(fault: &mut Element<'_, '_>, version: Version) -> Result<Fault<D>, Invalid> {
    const TEXTS_MAX: usize = 64;
    match version {
        Version::V11 => {
            let code = fault.child_in("", "faultcode", |e| FaultCode::read(e, version))?;
            let reason = fault.child_in("", "faultstring", |e| e.content())?;
            fault.child_opt_in("", "faultactor", |e| e.content())?;
            let detail = fault.part_in("", "detail", detail)?.flatten();
            Ok(Fault {
                code,
                reason: reason.into_owned(),
                detail,
            })
        }
        Version::V12 => {
            let code = fault.child("Code", |e| {
                let code = e.child("Value", |e| FaultCode::read(e, version))?;
                e.child_opt("Subcode", |e| e.skip())?;
                Ok(code)
            })?;
            let reasons =
                fault.child("Reason", |e| e.many("Text", 1..=TEXTS_MAX, |e| e.content()))?;
            fault.child_opt("Node", |e| e.content())?;
            fault.child_opt("Role", |e| e.content())?;
            let detail = fault.part("Detail", detail)?.flatten();
            Ok(Fault {
                code,
                reason: reasons.into_iter().next().unwrap_or_default().into_owned(),
                detail,
            })
        }
    }
}

/// Finds the entry that the contract declares among those of others.
fn detail<D: Decode>(detail: &mut Element<'_, '_>) -> Result<Option<D>, Invalid> {
    let mut found = None;
    detail.each(|entry| {
        match D::decode(entry)? {
            Some(read) => once(&mut found, "the fault's detail", read)?,
            None => entry.skip()?,
        }
        Ok(Some(()))
    })?;
    Ok(found)
}
