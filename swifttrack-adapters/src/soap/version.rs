//! The two versions of SOAP, and what differs on the outside.

/// A version of SOAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// SOAP 1.1: `text/xml` and a `SOAPAction` header.
    V11,
    /// SOAP 1.2: `application/soap+xml` with the action as a parameter.
    V12,
}

impl Version {
    /// The envelope's namespace.
    #[must_use]
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::V11 => "http://schemas.xmlsoap.org/soap/envelope/",
            Self::V12 => "http://www.w3.org/2003/05/soap-envelope",
        }
    }

    /// The media type of its messages, without parameters.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::V11 => "text/xml",
            Self::V12 => "application/soap+xml",
        }
    }

    /// The `Content-Type` of an answer.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::V11 => "text/xml; charset=utf-8",
            Self::V12 => "application/soap+xml; charset=utf-8",
        }
    }

    /// Whether a `Content-Type` header says this version, in UTF-8 or without a word about it.
    #[must_use]
    pub fn accepts(self, content_type: &str) -> bool {
        let mut parts = content_type.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        media_type.eq_ignore_ascii_case(self.media_type())
            && parts.all(|parameter| match parameter.split_once('=') {
                Some((key, value)) if key.trim().eq_ignore_ascii_case("charset") => {
                    value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
                }
                _ => true,
            })
    }

    pub(super) const fn role_is_ours(self, role: &str) -> bool {
        match self {
            Self::V11 => matches!(
                role.as_bytes(),
                b"" | b"http://schemas.xmlsoap.org/soap/actor/next"
            ),
            Self::V12 => matches!(
                role.as_bytes(),
                b"" | b"http://www.w3.org/2003/05/soap-envelope/role/next"
                    | b"http://www.w3.org/2003/05/soap-envelope/role/ultimateReceiver"
            ),
        }
    }
}
