//! What lies between a payload and the database: by default nothing but JSON.

use uuid::Uuid;

/// Changes payloads on their way into the store and back: inputs, outputs, the words of signals,
/// and what an operator found out. Ids, names, times, codes and messages of errors, and who did
/// what and why are no payloads, and stay readable.
///
/// The bytes that it gets are the JSON of a [`Payload`](crate::Payload). The hook sees them as
/// they are.
///
/// # Laws
///
/// 1. `open` gives back what `seal` got, for the same saga, for as long as sagas are kept: keys
///    that were in use stay known.
/// 2. `open` says an error for bytes that it cannot vouch for. The saga is then parked, not lost.
/// 3. Both are quick, and neither waits: keys are at hand before the engine begins.
pub trait PayloadCodec: Send + Sync + 'static {
    /// What is stored for `plain`.
    fn seal(&self, saga: Uuid, plain: &[u8]) -> Vec<u8>;

    /// What `stored` was.
    ///
    /// # Errors
    ///
    /// When the bytes are not of this saga, are damaged, or their key is not known.
    fn open(
        &self,
        saga: Uuid,
        stored: &[u8],
    ) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>>;
}

#[cfg(feature = "encryption")]
pub use self::encrypted::Encrypted;

#[cfg(feature = "encryption")]
mod encrypted {
    use std::fmt;

    use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
    use ring::hkdf::{HKDF_SHA256, Prk, Salt};
    use ring::rand::{SecureRandom as _, SystemRandom};
    use uuid::Uuid;

    use super::PayloadCodec;

    /// The first byte of what is stored: how the rest is to be read.
    const FORMAT: u8 = 1;
    /// Format, number of the key, nonce.
    const HEAD_BYTES: usize = 2 + NONCE_LEN;
    /// Separates these keys from others that somebody derives from the same master key.
    const PURPOSE: &[u8] = b"swifttrack-saga payload";

    /// AES-256-GCM under a key of each saga's own, which is derived (HKDF-SHA256) from a master
    /// key and the saga's uuid.
    ///
    /// A payload costs 30 bytes more. What is read under another saga, or was changed, is refused.
    ///
    /// # Rotation
    ///
    /// Payloads carry the number of their master key. Begin a new one under a number that was
    /// never used, and keep those before for [reading](Self::also_reads) while sagas of theirs
    /// are kept.
    ///
    /// # Examples
    ///
    /// ```
    /// use swifttrack_saga::payload::{Encrypted, PayloadCodec as _};
    /// use uuid::Uuid;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let before = Encrypted::new(1, [7; 32]);
    /// let saga = Uuid::now_v7();
    /// let stored = before.seal(saga, b"12 High Street");
    ///
    /// let rotated = Encrypted::new(2, [8; 32]).also_reads(1, [7; 32]);
    /// assert_eq!(rotated.open(saga, &stored)?, b"12 High Street");
    /// assert!(rotated.open(Uuid::now_v7(), &stored).is_err(), "another saga's");
    /// # Ok(())
    /// # }
    /// ```
    pub struct Encrypted {
        /// The first one seals.
        masters: Vec<(u8, Prk)>,
        random: SystemRandom,
    }

    impl Encrypted {
        /// Seals and opens under this master key, which has this number.
        #[must_use]
        pub fn new(number: u8, master: [u8; 32]) -> Self {
            Self {
                masters: vec![(number, prk(&master))],
                random: SystemRandom::new(),
            }
        }

        /// Opens also what was sealed under this one.
        ///
        /// # Panics
        ///
        /// When the number is one that it has.
        #[must_use]
        #[track_caller]
        pub fn also_reads(mut self, number: u8, master: [u8; 32]) -> Self {
            let taken = self.masters.iter().any(|(known, _)| *known == number);
            assert!(!taken, "two master keys have the number {number}");
            self.masters.push((number, prk(&master)));
            self
        }
    }

    fn prk(master: &[u8; 32]) -> Prk {
        Salt::new(HKDF_SHA256, PURPOSE).extract(master)
    }

    fn key_of(master: &Prk, saga: Uuid) -> LessSafeKey {
        let info = [saga.as_bytes().as_slice()];
        let key = master
            .expand(&info, &AES_256_GCM)
            .map(UnboundKey::from)
            .expect("a key is not longer than HKDF may give");
        LessSafeKey::new(key)
    }

    impl PayloadCodec for Encrypted {
        /// # Panics
        ///
        /// When the system has no random numbers to give.
        fn seal(&self, saga: Uuid, plain: &[u8]) -> Vec<u8> {
            let (number, master) = &self.masters[0];
            let mut nonce = [0; NONCE_LEN];
            self.random.fill(&mut nonce).expect("random numbers");
            let head = [FORMAT, *number];
            let mut body = plain.to_vec();
            key_of(master, saga)
                .seal_in_place_append_tag(
                    Nonce::assume_unique_for_key(nonce),
                    Aad::from(head),
                    &mut body,
                )
                .expect("a payload is far shorter than AES-GCM may take");
            let mut stored = Vec::with_capacity(HEAD_BYTES + body.len());
            stored.extend_from_slice(&head);
            stored.extend_from_slice(&nonce);
            stored.extend_from_slice(&body);
            stored
        }

        fn open(
            &self,
            saga: Uuid,
            stored: &[u8],
        ) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
            let (head, body) = stored
                .split_first_chunk::<HEAD_BYTES>()
                .ok_or("the payload is too short to be encrypted")?;
            let [format, number, nonce @ ..] = *head;
            if format != FORMAT {
                return Err(format!("the payload has the format {format}, not {FORMAT}").into());
            }
            let (_, master) = self
                .masters
                .iter()
                .find(|(known, _)| *known == number)
                .ok_or_else(|| format!("the payload was sealed under master key {number}"))?;
            let mut body = body.to_vec();
            let plain = key_of(master, saga)
                .open_in_place(
                    Nonce::assume_unique_for_key(nonce),
                    Aad::from([format, number]),
                    &mut body,
                )
                .map_err(|_| "the payload is damaged, or of another saga")?;
            Ok(plain.to_vec())
        }
    }

    impl fmt::Debug for Encrypted {
        /// The numbers of the keys, never the keys.
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let numbers: Vec<u8> = self.masters.iter().map(|(number, _)| *number).collect();
            f.debug_struct("Encrypted")
                .field("masters", &numbers)
                .finish_non_exhaustive()
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn whatever_is_changed_is_refused() {
            let codec = Encrypted::new(1, [7; 32]);
            let saga = Uuid::from_u128(1);
            let stored = codec.seal(saga, b"words");
            assert_eq!(codec.open(saga, &stored).unwrap(), b"words");
            for place in 0..stored.len() {
                let mut changed = stored.clone();
                changed[place] ^= 1;
                assert!(codec.open(saga, &changed).is_err(), "byte {place}");
            }
            for length in 0..stored.len() {
                assert!(codec.open(saga, &stored[..length]).is_err());
            }
            assert!(codec.open(Uuid::from_u128(2), &stored).is_err());
        }

        #[test]
        fn the_same_words_look_different_each_time() {
            let codec = Encrypted::new(1, [7; 32]);
            let saga = Uuid::from_u128(1);
            let stored = codec.seal(saga, b"words");
            assert_ne!(codec.seal(saga, b"words"), stored);
            assert!(!stored.windows(5).any(|part| part == b"words"));
        }

        #[test]
        fn keys_are_not_printed() {
            let codec = Encrypted::new(9, [7; 32]).also_reads(3, [8; 32]);
            assert_eq!(format!("{codec:?}"), "Encrypted { masters: [9, 3], .. }");
        }
    }
}
