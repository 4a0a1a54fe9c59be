//! The token on the wire.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};

use super::{BASE64_BINARY, DIGEST_BYTES, PASSWORD_DIGEST, WSSE, WSU, digest};
use crate::soap::{Decode, Element, Encode, Invalid, Writer, once};

/// Who we are to a partner. Its `Debug` does not show the password.
#[derive(Clone)]
pub struct Credentials {
    username: String,
    password: String,
}

impl Credentials {
    /// A user and its password.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            username: username.into(),
            password: password.into(),
        }
    }

    /// A token for one message, with a nonce of its own.
    #[must_use]
    pub fn token(&self, now: DateTime<Utc>) -> UsernameToken {
        let nonce: [u8; 16] = rand::random();
        let created = now.to_rfc3339_opts(SecondsFormat::Millis, true);
        UsernameToken {
            username: self.username.clone(),
            digest: digest(&nonce, &created, &self.password),
            nonce: nonce.to_vec(),
            created,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// A `wsse:Security` header with one UsernameToken.
///
/// As an [`Encode`] it is the whole header block, to be understood; as a
/// [`Decode`] likewise. A password as plain text, a token without password,
/// nonce or created, and any other security token are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsernameToken {
    pub(super) username: String,
    pub(super) digest: [u8; DIGEST_BYTES],
    pub(super) nonce: Vec<u8>,
    /// As it was written, since the digest covers the letters.
    pub(super) created: String,
}

impl UsernameToken {
    /// Who the sender says it is; true only after [`Verifier::verify`](super::Verifier::verify).
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }
}

impl Encode for UsernameToken {
    fn encode(&self, out: &mut Writer) {
        let security = [
            ("xmlns:wsse", WSSE),
            ("xmlns:wsu", WSU),
            ("s:mustUnderstand", "1"),
        ];
        out.element_with("wsse:Security", &security, |out| {
            out.element("wsse:UsernameToken", |out| {
                out.text("wsse:Username", &self.username);
                out.element_with("wsse:Password", &[("Type", PASSWORD_DIGEST)], |out| {
                    out.content(&STANDARD.encode(self.digest));
                });
                out.element_with("wsse:Nonce", &[("EncodingType", BASE64_BINARY)], |out| {
                    out.content(&STANDARD.encode(&self.nonce));
                });
                out.text("wsu:Created", &self.created);
            });
        });
    }
}

impl Decode for UsernameToken {
    fn decode(security: &mut Element<'_, '_>) -> Result<Option<Self>, Invalid> {
        if !security.named(WSSE, "Security") {
            return Ok(None);
        }
        let mut token = None;
        security.each(|child| {
            if child.named(WSSE, "UsernameToken") {
                once(&mut token, "UsernameToken", read(child)?)?;
            } else if child.named(WSU, "Timestamp") {
                // The token has its own Created, which the digest covers.
                child.skip()?;
            } else {
                return Ok(None);
            }
            Ok(Some(()))
        })?;
        token
            .map(Some)
            .ok_or_else(|| Invalid::new("Security holds no UsernameToken"))
    }
}

fn read(token: &mut Element<'_, '_>) -> Result<UsernameToken, Invalid> {
    let (mut username, mut password, mut nonce, mut created) = (None, None, None, None);
    token.each(|child| {
        if child.named(WSSE, "Username") {
            once(&mut username, "Username", child.content()?.into_owned())?;
        } else if child.named(WSSE, "Password") {
            if child.attribute(None, "Type")?.as_deref() != Some(PASSWORD_DIGEST) {
                return Err(Invalid::new("the password is not a digest"));
            }
            let bytes = base64(&child.content()?)?;
            let bytes = bytes
                .try_into()
                .map_err(|_| Invalid::new("the digest is not 20 bytes long"))?;
            once(&mut password, "Password", bytes)?;
        } else if child.named(WSSE, "Nonce") {
            let encoding = child.attribute(None, "EncodingType")?;
            if encoding.is_some_and(|encoding| encoding != BASE64_BINARY) {
                return Err(Invalid::new("the nonce is not Base64"));
            }
            once(&mut nonce, "Nonce", base64(&child.content()?)?)?;
        } else if child.named(WSU, "Created") {
            let text = child.content()?;
            once(&mut created, "Created", text.trim().to_owned())?;
        } else {
            return Ok(None);
        }
        Ok(Some(()))
    })?;
    match (username, password, nonce, created) {
        (Some(username), Some(digest), Some(nonce), Some(created)) => Ok(UsernameToken {
            username,
            digest,
            nonce,
            created,
        }),
        _ => Err(Invalid::new(
            "UsernameToken lacks one of Username, Password, Nonce and Created",
        )),
    }
}

fn base64(text: &str) -> Result<Vec<u8>, Invalid> {
    STANDARD
        .decode(text.trim())
        .map_err(|_| Invalid::new("a value is not Base64"))
}
