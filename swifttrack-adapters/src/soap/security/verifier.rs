//! Telling a true token from a false, an old or a repeated one.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq as _;

use super::{UsernameToken, digest};

/// Checks tokens, and remembers the nonces of those it let through.
///
/// # Defaults
///
/// [`Verifier::new`]: Created at most 5 minutes from now in either direction,
/// 1,000,000 nonces (16 bytes each, and what a hash set adds). While the cache
/// is full of live nonces, everyone is denied: forgetting one would let a
/// request be replayed.
#[derive(Debug)]
pub struct Verifier {
    window: TimeDelta,
    nonces_max: usize,
    /// A std mutex, since nothing is awaited while it is held.
    seen: Mutex<Seen>,
}

type Nonce = [u8; 16];

/// Nonces, and when each can be forgotten, in the order they came.
#[derive(Debug, Default)]
struct Seen {
    nonces: HashSet<Nonce>,
    by_age: VecDeque<(DateTime<Utc>, Nonce)>,
}

const NONCE_BYTES_MIN: usize = 8;
const NONCE_BYTES_MAX: usize = 64;

impl Verifier {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            window: TimeDelta::minutes(5),
            nonces_max: 1_000_000,
            seen: Mutex::default(),
        }
    }

    /// How many nonces are remembered at most.
    #[must_use]
    pub const fn nonces_max(mut self, nonces: usize) -> Self {
        self.nonces_max = nonces;
        self
    }

    /// Lets a token through once, if it is fresh and its digest is that of the
    /// password that `password_of` knows for its user.
    ///
    /// A user that is not known takes as long as one with a wrong password.
    ///
    /// # Errors
    ///
    /// [`Denied`] says why, for the log; a peer should hear no more than that it was denied.
    pub fn verify(
        &self,
        token: &UsernameToken,
        now: DateTime<Utc>,
        password_of: impl FnOnce(&str) -> Option<String>,
    ) -> Result<(), Denied> {
        let created = DateTime::parse_from_rfc3339(&token.created)
            .map_err(|_| Denied::Stale)?
            .to_utc();
        if (now - created).abs() > self.window {
            return Err(Denied::Stale);
        }
        if !(NONCE_BYTES_MIN..=NONCE_BYTES_MAX).contains(&token.nonce.len()) {
            return Err(Denied::Nonce);
        }
        let password = password_of(&token.username);
        let expected = digest(
            &token.nonce,
            &token.created,
            password.as_deref().unwrap_or_default(),
        );
        let matches: bool = expected.ct_eq(&token.digest).into();
        if !matches || password.is_none() {
            return Err(Denied::Password);
        }
        // Only now: a stranger must not be able to fill the cache.
        self.remember(token, now)
    }

    fn remember(&self, token: &UsernameToken, now: DateTime<Utc>) -> Result<(), Denied> {
        let hash: [u8; 20] = Sha1::new()
            .chain_update(&token.username)
            .chain_update([0])
            .chain_update(&token.nonce)
            .finalize()
            .into();
        let mut nonce = Nonce::default();
        nonce.copy_from_slice(&hash[..16]);

        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((until, old)) = seen.by_age.front().copied() {
            if until >= now {
                break;
            }
            seen.by_age.pop_front();
            seen.nonces.remove(&old);
        }
        if seen.nonces.contains(&nonce) {
            return Err(Denied::Replayed);
        }
        if seen.nonces.len() >= self.nonces_max {
            return Err(Denied::Full);
        }
        // Created may lie a window ahead, and is good for one window after that.
        seen.by_age.push_back((now + self.window * 2, nonce));
        seen.nonces.insert(nonce);
        Ok(())
    }
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a token was not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// Created is no time, or too far from now.
    Stale,
    /// The nonce is too short or too long (8 to 64 bytes).
    Nonce,
    /// The user is unknown or the digest is another password's.
    Password,
    /// The nonce was used before.
    Replayed,
    /// No further nonce can be remembered for now.
    Full,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stale => "the token's time of creation is not within the window",
            Self::Nonce => "the nonce has not 8 to 64 bytes",
            Self::Password => "the user or the password is wrong",
            Self::Replayed => "the nonce was used before",
            Self::Full => "the nonce cache is full",
        })
    }
}

impl std::error::Error for Denied {}
