//! Which of the 64 slots a key belongs to.

/// How many slots there are. Relays share the work by leasing slots, so this is also the most
/// relays that can work on one outbox.
pub const SLOTS: u8 = 64;

/// Between topic and key, so that ("a", "bc") and ("ab", "c") differ.
const SEPARATOR: u8 = 0x1f;

/// The slot of a topic and key: Kafka's murmur2 over both, modulo [`SLOTS`].
///
/// All events of one key share a slot, and a slot has one relay at a time: that is what keeps
/// a key's order with any number of relays. It is stored with the row, for those who insert
/// without this crate it must be computed in the same way.
///
/// ```
/// use swifttrack_outbox::slot_of;
/// assert_eq!(slot_of("order-events", "ORD-001"), slot_of("order-events", "ORD-001"));
/// ```
#[must_use]
pub fn slot_of(topic: &str, key: &str) -> u8 {
    let mut bytes = Vec::with_capacity(topic.len() + key.len() + 1);
    bytes.extend_from_slice(topic.as_bytes());
    bytes.push(SEPARATOR);
    bytes.extend_from_slice(key.as_bytes());
    (murmur2(&bytes) % u32::from(SLOTS)) as u8
}

/// The partition of a key, as Kafka's own clients choose it.
#[cfg(feature = "kafka")]
pub(crate) fn partition_of(key: &str, partitions: usize) -> usize {
    (murmur2(key.as_bytes()) & 0x7fff_ffff) as usize % partitions
}

/// Kafka's murmur2 (`org.apache.kafka.common.utils.Utils.murmur2`), bit for bit.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut h = SEED ^ (data.len() as u32);
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        k = k.wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    for (i, byte) in rest.iter().enumerate() {
        h ^= u32::from(*byte) << (8 * i);
    }
    if !rest.is_empty() {
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_is_kafkas() {
        for (text, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    #[test]
    fn every_slot_is_used() {
        let mut seen = [false; SLOTS as usize];
        for n in 0..2_000 {
            seen[usize::from(slot_of("order-events", &format!("ORD-{n}")))] = true;
        }
        assert!(seen.iter().all(|slot| *slot));
    }
}
