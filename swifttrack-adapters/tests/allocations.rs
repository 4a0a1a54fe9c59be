//! What a message costs in allocations: the values that it hands out, and nothing for each field.
//!
//! A program of its own, since it counts what the whole process allocates.
#![cfg(all(feature = "soap", feature = "framed"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use allocation_counter::measure;
use bytes::BytesMut;
use swifttrack_adapters::framed::{self, Checked, Codec, Frame, Head};
use swifttrack_adapters::soap::{
    Decode, Element, Encode, Invalid, Limits, Message, Version, Writer, envelope, parse,
};
use tokio_util::codec::Decoder;

const NAMESPACE: &str = "urn:lines";

/// Lines with two texts and two numbers each.
struct Lines(Vec<Line>);

struct Line {
    sku: String,
    place: String,
    quantity: u32,
    urgent: bool,
}

impl Lines {
    fn new(count: usize) -> Self {
        let line = |n: usize| Line {
            sku: format!("ITEM-{n:03}"),
            place: format!("{n} Galle Road, Colombo"),
            quantity: 1000,
            urgent: n.is_multiple_of(2),
        };
        Self((0..count).map(line).collect())
    }
}

impl Encode for Lines {
    fn encode(&self, out: &mut Writer) {
        out.element("l:Lines", |out| {
            for line in &self.0 {
                out.element("l:Line", |out| {
                    out.text("l:SKU", &line.sku);
                    out.text("l:Place", &line.place);
                    out.value("l:Quantity", line.quantity);
                    out.value("l:Urgent", line.urgent);
                });
            }
        });
    }
}

impl Decode for Lines {
    fn decode(e: &mut Element<'_, '_>) -> Result<Option<Self>, Invalid> {
        if !e.named(NAMESPACE, "Lines") {
            return Ok(None);
        }
        let lines = e.many("Line", 0..=10_000, |line| {
            Ok(Line {
                sku: line.string("SKU")?,
                place: line.string("Place")?,
                quantity: line.value("Quantity")?,
                urgent: line.value("Urgent")?,
            })
        })?;
        Ok(Some(Self(lines)))
    }
}

impl framed::Message for Lines {
    fn kind(&self) -> u8 {
        0x10
    }

    fn write(&self, to: &mut framed::Writer) -> Result<(), framed::Malformed> {
        to.list(&self.0, |to, line| {
            to.str(&line.sku)?;
            to.str(&line.place)?;
            to.u32(line.quantity);
            to.u8(line.urgent.into());
            Ok(())
        })
    }

    fn read(_: u8, from: &mut framed::Reader<'_>) -> Result<Self, framed::Malformed> {
        let lines = from.list(10_000, 9, |from| {
            Ok(Line {
                sku: from.str()?.to_owned(),
                place: from.str()?.to_owned(),
                quantity: from.u32()?,
                urgent: from.u8()? == 1,
            })
        })?;
        Ok(Self(lines))
    }
}

/// Allocations of `run` for 100 lines and for 200: what the second hundred costs is the lines' own.
fn of_a_hundred_lines(run: impl Fn(usize)) -> u64 {
    let count = |lines| measure(|| run(lines)).count_total;
    // Once for what is allocated once and for all.
    count(100);
    count(200) - count(100)
}

/// Two texts a line, and room for a list that doubles now and then.
const TEXTS: std::ops::RangeInclusive<u64> = 200..=203;

#[test]
fn reading_soap_allocates_the_texts_that_it_hands_out() {
    let document =
        |lines| envelope(Version::V11, &[("l", NAMESPACE)], &[], &Lines::new(lines)).unwrap();
    let documents = [document(100), document(200)];
    // As another stack writes it, with attributes that say nothing and entities in between.
    let hinted = documents.each_ref().map(|document| {
        let text = std::str::from_utf8(document).unwrap();
        let hint = "<l:SKU xmlns:x='http://www.w3.org/2001/XMLSchema-instance' x:type='string'>";
        text.replace("<l:SKU>", hint).into_bytes()
    });
    for documents in [documents, hinted] {
        let cost = of_a_hundred_lines(|lines| {
            let document = &documents[lines / 100 - 1];
            let message: Message<(), Lines> =
                parse(document, Version::V11, &Limits::new()).unwrap();
            assert_eq!(message.body.0.len(), lines);
        });
        assert!(
            TEXTS.contains(&cost),
            "{cost} allocations for a hundred lines"
        );
    }
}

#[test]
fn writing_soap_allocates_nothing_for_a_field() {
    let messages = [Lines::new(100), Lines::new(200)];
    let cost = of_a_hundred_lines(|lines| {
        let written = envelope(Version::V11, &[], &[], &messages[lines / 100 - 1]).unwrap();
        assert!(written.len() > lines * 100);
    });
    // The document doubles.
    assert!(cost <= 2, "{cost} allocations for a hundred lines");
}

#[test]
fn a_frame_costs_its_own_buffer_and_the_texts_that_it_hands_out() {
    let messages = [Lines::new(100), Lines::new(200)];
    let written = messages.each_ref().map(|message| {
        let (kind, payload) = framed::Message::encode(message).unwrap();
        let head = Head {
            kind,
            ..Head::default()
        };
        let mut wire = BytesMut::new();
        let codec = Codec::new(Checked::new(*b"TEST"));
        codec.write(head, &payload, &mut wire).unwrap();
        wire.freeze()
    });
    let cost = of_a_hundred_lines(|lines| {
        let mut wire = BytesMut::from(&written[lines / 100 - 1][..]);
        let mut codec = Codec::new(Checked::new(*b"TEST"));
        let Frame { head, payload } = codec.decode(&mut wire).unwrap().unwrap();
        let message = <Lines as framed::Message>::decode(head.kind, &payload).unwrap();
        assert_eq!(message.0.len(), lines);
    });
    assert!(
        TEXTS.contains(&cost),
        "{cost} allocations for a hundred lines"
    );

    let cost = of_a_hundred_lines(|lines| {
        framed::Message::encode(&messages[lines / 100 - 1]).unwrap();
    });
    assert!(cost <= 2, "{cost} allocations to write a hundred lines");
}

#[test]
fn frames_out_of_one_buffer_cost_no_copy() {
    let mut wire = BytesMut::new();
    let mut codec = Codec::new(Checked::new(*b"TEST"));
    for _ in 0..1000 {
        codec.write(Head::default(), &[7; 100], &mut wire).unwrap();
    }
    let cost = measure(|| {
        while let Some(frame) = codec.decode(&mut wire).unwrap() {
            assert_eq!(frame.payload.len(), 100);
        }
    });
    assert!(cost.count_total <= 1, "{cost:?} for a thousand frames");
}
