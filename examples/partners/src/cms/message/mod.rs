//! The messages of CMS, in both directions.
//!
//! A server reads a request with [`read_request`] and answers with
//! [`write_response`] or [`write_fault`]; a client goes the other way with
//! [`Request`]'s members and a SOAP client.

mod fault;
mod header;
mod request;
mod response;
#[cfg(test)]
mod tests;

use swifttrack_adapters::soap::{self, Encode, Invalid, Limits, Message, Version};

pub use self::fault::{CmsFault, Code, FaultClass};
pub use self::header::{RequestContext, RequestHeaders};
pub use self::request::{
    CancelContractRequest, GetContractRequest, Package, Priority, Request, VerifyContractRequest,
};
pub use self::response::{
    CancelContractResponse, CancelState, ContractState, GetContractResponse, Response,
    VerifyContractResponse,
};

/// The namespace of everything that CMS says.
pub const NAMESPACE: &str = "http://swiftlogistics.lk/cms/v1";

/// The prefix that the writers here use, as [`soap::envelope`] takes it.
pub const NAMESPACES: &[(&str, &str)] = &[("c", NAMESPACE)];

/// Reads a request, as a server.
///
/// # Errors
///
/// What [`soap::parse`] refuses, and a body that is none of the three requests.
pub fn read_request(
    bytes: &[u8],
    version: Version,
    limits: &Limits,
) -> Result<Message<RequestHeaders, Request>, Invalid> {
    soap::parse(bytes, version, limits)
}

/// Writes a request, as a client.
///
/// # Errors
///
/// When a text holds a character that XML does not allow.
pub fn write_request(
    version: Version,
    headers: &RequestHeaders,
    request: &dyn Encode,
) -> Result<Vec<u8>, Invalid> {
    soap::envelope(version, NAMESPACES, &headers.blocks(), request)
}

/// Writes an answer, as a server.
///
/// # Errors
///
/// When a text holds a character that XML does not allow.
pub fn write_response(version: Version, response: &Response) -> Result<Vec<u8>, Invalid> {
    soap::envelope(version, NAMESPACES, &[], response)
}

/// Writes a fault, as a server, with the HTTP status that goes with it.
///
/// # Errors
///
/// When a text holds a character that XML does not allow.
pub fn write_fault(version: Version, fault: &CmsFault) -> Result<(u16, Vec<u8>), Invalid> {
    let fault = fault.to_soap();
    let bytes = soap::envelope(version, NAMESPACES, &[], &fault)?;
    Ok((fault.code.status(version), bytes))
}

/// Writes the fault that answers a message which could not be read.
///
/// What SOAP has a code for is told by that code alone; all else is `MALFORMED`.
///
/// # Errors
///
/// Never in practice: the text is ours.
pub fn write_invalid(version: Version, invalid: &Invalid) -> Result<(u16, Vec<u8>), Invalid> {
    let malformed = CmsFault::new(Code::Malformed, invalid.to_string());
    let mut fault = malformed.to_soap();
    if invalid.is_must_understand() || invalid.is_version_mismatch() {
        fault.code = invalid.fault_code();
        fault.detail = None;
    }
    let bytes = soap::envelope(version, NAMESPACES, &[], &fault)?;
    Ok((fault.code.status(version), bytes))
}

/// The values of an enumeration as they stand in the schema.
macro_rules! words {
    ($name:ident { $($value:ident = $word:literal),+ $(,)? }) => {
        impl $name {
            /// The word in the schema.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$value => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::cms::message::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$value),)+
                    _ => Err($crate::cms::message::UnknownWord),
                }
            }
        }
    };
}
use words;

/// A word that is not among those of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a word that the schema does not know")]
pub struct UnknownWord;

/// Refuses a value that the schema fixes and that is another.
fn fixed(element: &mut soap::Element<'_, '_>, local: &str, expected: &str) -> Result<(), Invalid> {
    match element.text(local)?.trim() == expected {
        true => Ok(()),
        false => Err(Invalid::new(format!("{local} is not {expected}"))),
    }
}
