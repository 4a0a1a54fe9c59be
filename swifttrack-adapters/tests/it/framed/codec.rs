use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use swifttrack_adapters::framed::{Checked, Codec, Frame, Head, Malformed};
use tokio_util::codec::{Decoder, Encoder};

const SWMS: Checked = Checked::new(*b"SWMS");

const PING: &str = "53574d530103000000000000000000010000000000000000ce5eb9d2";
const CANCEL: &str = "53574d53011100000000000000000002000005dc0000001fb5d0fd26\
    0000000c4f52442d313a63616e63656c00054f52442d310000000473616761";

fn bytes(hex: &str) -> BytesMut {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect::<Vec<_>>()
        .as_slice()
        .into()
}

fn malformed(error: &std::io::Error) -> &Malformed {
    error.get_ref().unwrap().downcast_ref().unwrap()
}

fn frame(kind: u8, id: u64, deadline_ms: u32, payload: &'static [u8]) -> Frame {
    Frame {
        head: Head {
            kind,
            id,
            deadline_ms,
        },
        payload: Bytes::from_static(payload),
    }
}

#[test]
fn the_published_vectors_hold_both_ways() {
    let ping = frame(3, 1, 0, b"");
    let cancel = frame(
        0x11,
        2,
        1500,
        b"\0\0\0\x0cORD-1:cancel\0\x05ORD-1\0\0\0\x04saga",
    );

    for (frame, hex) in [(ping, PING), (cancel, CANCEL)] {
        let mut codec = Codec::new(SWMS);
        let mut out = BytesMut::new();
        codec.encode(frame.clone(), &mut out).unwrap();
        assert_eq!(out, bytes(hex));
        assert_eq!(codec.decode(&mut out).unwrap(), Some(frame));
        assert!(out.is_empty());
    }
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn any_flipped_bit_is_noticed() {
    let whole = bytes(CANCEL);
    for bit in 0..whole.len() * 8 {
        let mut broken = whole.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        // A longer length waits for bytes that do not come; all else is refused.
        match Codec::new(SWMS).decode(&mut broken) {
            Err(error) => assert!(malformed(&error).breaks_the_frame()),
            Ok(None) => assert!((20..24).contains(&(bit / 8)), "bit {bit}"),
            Ok(Some(frame)) => panic!("bit {bit} passed: {frame:?}"),
        }
    }
}

#[test]
fn a_length_above_the_limit_is_refused_from_the_header_alone() {
    let mut header = bytes(CANCEL).split_to(28);
    header[20..24].copy_from_slice(&(1024 * 1024 + 1u32).to_be_bytes());
    let before = header.capacity();
    let error = Codec::new(SWMS).decode(&mut header).unwrap_err();
    assert!(error.to_string().contains("1048577"), "{error}");
    assert_eq!(header.capacity(), before);
}

#[test]
fn memory_grows_with_what_came_and_not_with_what_was_claimed() {
    let mut header = bytes(CANCEL).split_to(28);
    header[20..24].copy_from_slice(&(1024 * 1024u32).to_be_bytes());
    let mut codec = Codec::new(SWMS);
    assert!(codec.decode(&mut header).unwrap().is_none());
    assert!(header.capacity() < 256 * 1024, "{}", header.capacity());
}

#[test]
fn the_largest_payload_passes_and_one_byte_more_is_refused_unwritten() {
    let mut codec = Codec::new(SWMS).payload_bytes_max(1000);
    let mut out = BytesMut::new();
    let at_most = frame(1, 1, 0, &[7; 1000]);
    codec.encode(at_most.clone(), &mut out).unwrap();
    assert_eq!(codec.decode(&mut out).unwrap(), Some(at_most));
    codec
        .encode(frame(1, 1, 0, &[7; 1001]), &mut out)
        .unwrap_err();
    assert!(out.is_empty());
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut(
        frames in proptest::collection::vec(
            (any::<u8>(), any::<u64>(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..300)),
            0..8,
        ),
        cut in 1usize..90,
    ) {
        let frames: Vec<_> = frames
            .into_iter()
            .map(|(kind, id, deadline_ms, payload)| Frame {
                head: Head { kind, id, deadline_ms },
                payload: payload.into(),
            })
            .collect();
        let mut codec = Codec::new(SWMS);
        let mut wire = BytesMut::new();
        for frame in &frames {
            codec.encode(frame.clone(), &mut wire).unwrap();
        }
        let mut buffer = BytesMut::new();
        let mut got = Vec::new();
        for piece in wire.chunks(cut) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = codec.decode(&mut buffer).unwrap() {
                got.push(frame);
            }
        }
        prop_assert_eq!(got, frames);
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn no_bytes_make_the_codec_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut buffer = BytesMut::from(&bytes[..]);
        let mut codec = Codec::new(SWMS);
        while let Ok(Some(_)) = codec.decode(&mut buffer) {}
    }
}
