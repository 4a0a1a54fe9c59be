use proptest::prelude::*;
use swifttrack_adapters::framed::{Malformed, Message, Reader, Writer};

#[derive(Clone, Debug, PartialEq)]
struct Everything {
    small: u8,
    short: u16,
    int: u32,
    long: u64,
    signed: i64,
    text: String,
    list: Vec<(String, u32)>,
}

impl Message for Everything {
    fn kind(&self) -> u8 {
        9
    }

    fn write(&self, to: &mut Writer) -> Result<(), Malformed> {
        to.u8(self.small);
        to.u16(self.short);
        to.u32(self.int);
        to.u64(self.long);
        to.i64(self.signed);
        to.str(&self.text)?;
        to.list(&self.list, |to, (name, count)| {
            to.str(name)?;
            to.u32(*count);
            Ok(())
        })
    }

    fn read(kind: u8, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        if kind != 9 {
            return Err(Malformed::unknown_kind(kind));
        }
        Ok(Self {
            small: from.u8()?,
            short: from.u16()?,
            int: from.u32()?,
            long: from.u64()?,
            signed: from.i64()?,
            text: from.str()?.to_owned(),
            list: from.list(50, 6, |from| Ok((from.str()?.to_owned(), from.u32()?)))?,
        })
    }
}

proptest! {
    #[test]
    fn messages_come_out_as_they_went_in(
        (small, short, int, long, signed) in any::<(u8, u16, u32, u64, i64)>(),
        text in ".{0,40}",
        list in proptest::collection::vec((".{0,8}", any::<u32>()), 0..=50),
    ) {
        let message = Everything { small, short, int, long, signed, text, list };
        let (kind, payload) = message.encode().unwrap();
        prop_assert_eq!(Everything::decode(kind, &payload).unwrap(), message);
        for end in 0..payload.len() {
            Everything::decode(kind, &payload[..end]).unwrap_err();
        }
    }
}

#[test]
fn bytes_too_many_are_refused() {
    let mut reader = Reader::new(b"\x01\x02");
    reader.u8().unwrap();
    let error = reader.finish().unwrap_err();
    assert_eq!(error.to_string(), "the payload has 1 bytes too many");
    assert!(!error.breaks_the_frame());
}

#[test]
fn a_text_must_be_utf8_and_fit_its_length() {
    assert!(Reader::new(b"\0\x01\xff").str().is_err());
    assert!(Reader::new(b"\0\x02a").str().is_err());
    let mut writer = Writer::default();
    writer.str(&"x".repeat(65_535)).unwrap();
    assert!(writer.str(&"x".repeat(65_536)).is_err());
    assert_eq!(writer.finish().len(), 65_537);
}

#[test]
fn a_count_is_checked_before_memory_is_taken() {
    let payload = b"\xff\xff\x00";
    let never = |_: &mut Reader<'_>| -> Result<u8, Malformed> { panic!("an item was read") };
    assert!(Reader::new(payload).list(65_534, 1, never).is_err());
    assert!(Reader::new(payload).list(65_535, 1, never).is_err());
}
