//! Whatever is read is written the same way, and however it was cut.

use bytes::{Bytes, BytesMut};
use swifttrack_adapters::framed::control::{Fault, GoAway, Hello, HelloAck};
use swifttrack_adapters::framed::{Checked, Codec, Frame, Head, Message};
use tokio_util::codec::Decoder;

const LAYOUT: Checked = Checked::new(*b"FUZZ");
const PAYLOAD_BYTES_MAX: usize = 4096;

const fn codec() -> Codec<Checked> {
    Codec::new(LAYOUT).payload_bytes_max(PAYLOAD_BYTES_MAX)
}

/// Takes `data` for a stream of frames, and for the payload of one.
pub(crate) fn run(data: &[u8]) {
    let whole = read(data, data.len().max(1));
    for step in [1, 7, 28, 29] {
        assert_eq!(read(data, step), whole, "cut every {step} bytes");
    }
    let mut written = BytesMut::new();
    for frame in &whole.0 {
        let done = codec().write(frame.head, &frame.payload, &mut written);
        done.expect("what was read is within the limit");
    }
    assert_eq!(written, data[..written.len()]);

    let Some((&kind, payload)) = data.split_first() else {
        return;
    };
    round_trip(kind, payload);
    for kind in [0x01, 0x81, 0x05, 0xff] {
        message::<Hello>(kind, payload);
        message::<HelloAck>(kind, payload);
        message::<GoAway>(kind, payload);
        message::<Fault>(kind, payload);
    }
}

/// The frames of a stream that comes in pieces, and whether it broke.
fn read(data: &[u8], step: usize) -> (Vec<Frame>, bool) {
    let (mut codec, mut buffer, mut frames) = (codec(), BytesMut::new(), Vec::new());
    for piece in data.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
        let taken = buffer.capacity();
        assert!(taken <= 4 * (data.len() + 64 * 1024), "{taken} bytes taken");
    }
    (frames, false)
}

/// A payload goes through, and not with any one bit changed.
fn round_trip(kind: u8, payload: &[u8]) {
    let head = Head {
        kind,
        id: payload.len() as u64,
        deadline_ms: kind.into(),
    };
    let mut wire = BytesMut::new();
    let written = codec().write(head, payload, &mut wire);
    assert_eq!(written.is_ok(), payload.len() <= PAYLOAD_BYTES_MAX);
    if written.is_err() {
        return;
    }
    let bit = usize::from(kind) * 31 % (wire.len() * 8);
    let mut broken = wire.clone();
    broken[bit / 8] ^= 1 << (bit % 8);
    let payload = Bytes::copy_from_slice(payload);
    let frame = Frame { head, payload };
    assert_eq!(read(&wire, wire.len()), (vec![frame], false));
    assert!(read(&broken, broken.len()).0.is_empty());
}

fn message<M: Message>(kind: u8, payload: &[u8]) {
    if let Ok(message) = M::decode(kind, payload) {
        let again = message.encode().expect("what was read can be written");
        assert_eq!((again.0, &again.1[..]), (kind, payload));
    }
}
