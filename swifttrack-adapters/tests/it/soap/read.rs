//! What is accepted, in every form that XML allows for it.

use proptest::prelude::*;
use swifttrack_adapters::soap::{Limits, Version, envelope, parse};

use super::{Known, NAMESPACES, PARCEL, Parcel, parcel, read, wrap};

#[test]
fn the_prefix_does_not_matter() {
    let documents = [
        wrap("", PARCEL),
        "<Envelope xmlns='http://schemas.xmlsoap.org/soap/envelope/'><Body>\
         <Parcel xmlns='urn:test'><Id>P-1</Id><Weight>7</Weight><Lines/></Parcel></Body></Envelope>"
            .into(),
        wrap(
            "",
            "<x:Parcel xmlns:x='urn:test'><y:Id xmlns:y='urn:test'>P-1</y:Id>\
             <x:Weight>7</x:Weight><t:Lines></t:Lines></x:Parcel>",
        ),
    ];
    for document in documents {
        assert_eq!(read(&document).unwrap().body, parcel(), "{document}");
    }
}

#[test]
fn the_same_local_name_in_another_namespace_is_another_element() {
    let body = PARCEL.replace("<t:Id>P-1</t:Id>", "<o:Id xmlns:o='urn:other'>P-1</o:Id>");
    let refused = read(&wrap("", &body)).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("Id is expected in t:Parcel, not o:Id"),
        "{refused}"
    );
}

#[test]
fn comments_cdata_white_space_and_a_declaration_change_nothing() {
    let body = "\n <!-- a --> <t:Parcel ><t:Id>P<!-- in the middle -->-<![CDATA[1]]></t:Id >\r\n\
                <t:Weight>\t7\n</t:Weight><!-- b --><t:Lines>  </t:Lines></t:Parcel> ";
    let document = format!(
        "\u{feff}<?xml version='1.0' encoding='utf-8'?>\n{}\n<!-- end -->\n",
        wrap("", body)
    );
    assert_eq!(read(&document).unwrap().body, parcel());
}

#[test]
fn references_stand_for_their_characters() {
    let body = PARCEL.replace("P-1", "&lt;&amp;&gt;&quot;&apos;&#65;&#x1F4E6;&#13;&#10;");
    assert_eq!(read(&wrap("", &body)).unwrap().body.id, "<&>\"'A📦\r\n");
}

#[test]
fn cdata_holds_what_looks_like_markup() {
    let body = PARCEL.replace("P-1", "<![CDATA[<t:Weight>9</t:Weight>&amp;]]>");
    assert_eq!(
        read(&wrap("", &body)).unwrap().body.id,
        "<t:Weight>9</t:Weight>&amp;"
    );
}

#[test]
fn a_line_end_reads_as_one_line_feed() {
    let body = PARCEL.replace("P-1", "a\r\nb\rc");
    assert_eq!(read(&wrap("", &body)).unwrap().body.id, "a\nb\nc");
}

#[test]
fn a_type_or_schema_hint_is_allowed_and_nil_is_not() {
    let typed = |attribute: &str| {
        let xsi = "xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'";
        PARCEL.replace("<t:Id>", &format!("<t:Id {xsi} {attribute}>"))
    };
    assert!(read(&wrap("", &typed("xsi:type='string'"))).is_ok());
    assert!(read(&wrap("", &typed("xsi:nil='false'"))).is_ok());
    let refused = read(&wrap("", &typed("xsi:nil='true'"))).unwrap_err();
    assert!(refused.to_string().contains("must not be nil"), "{refused}");
}

#[test]
fn a_known_header_block_is_read_and_an_unknown_one_skipped() {
    let header = "<s:Header><o:Other xmlns:o='urn:o'><o:Deep>x</o:Deep></o:Other>\
                  <t:Key>k</t:Key></s:Header>";
    let message = read(&wrap(header, PARCEL)).unwrap();
    assert_eq!(message.headers.key.as_deref(), Some("k"));
}

#[test]
fn a_block_for_another_actor_is_not_ours_to_understand() {
    let header = "<s:Header><t:Key s:actor='urn:somebody'>theirs</t:Key>\
                  <o:X xmlns:o='urn:o' s:mustUnderstand='1' s:actor='urn:somebody'/></s:Header>";
    assert_eq!(
        read(&wrap(header, PARCEL)).unwrap().headers,
        Known::default()
    );
}

#[test]
fn soap_1_2_is_read_as_1_2_only() {
    let document = wrap("", PARCEL).replace(
        "http://schemas.xmlsoap.org/soap/envelope/",
        "http://www.w3.org/2003/05/soap-envelope",
    );
    let limits = Limits::new();
    let message = parse::<Known, Parcel>(document.as_bytes(), Version::V12, &limits).unwrap();
    assert_eq!(message.body, parcel());
    let refused = parse::<Known, Parcel>(document.as_bytes(), Version::V11, &limits).unwrap_err();
    assert!(refused.is_version_mismatch(), "{refused}");
}

#[test]
fn a_content_type_is_of_one_version() {
    for (content_type, of11, of12) in [
        ("text/xml; charset=utf-8", true, false),
        ("Text/XML;charset=\"UTF-8\"", true, false),
        ("text/xml", true, false),
        ("text/xml; charset=iso-8859-1", false, false),
        (
            "application/soap+xml; charset=utf-8; action=\"urn:a\"",
            false,
            true,
        ),
        ("text/html", false, false),
    ] {
        assert_eq!(Version::V11.accepts(content_type), of11, "{content_type}");
        assert_eq!(Version::V12.accepts(content_type), of12, "{content_type}");
    }
}

#[test]
fn what_xml_cannot_carry_is_not_written() {
    for text in ["\0", "a\u{1}", "\u{b}", "\u{ffff}", "\u{fffe}"] {
        let parcel = Parcel {
            id: text.into(),
            ..parcel()
        };
        let refused = envelope(Version::V11, NAMESPACES, &[], &parcel).unwrap_err();
        assert!(
            refused.to_string().contains("XML does not allow"),
            "{refused}"
        );
    }
}

fn texts() -> impl Strategy<Value = String> {
    // Whatever XML can carry, with its own marks more often than chance has them.
    let any = any::<char>().prop_filter(
        "an XML character",
        |c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..),
    );
    let marks = prop::sample::select(vec!['<', '>', '&', '"', '\'', ']', '\r', '\n', '\t', 'ÿ']);
    prop::collection::vec(prop_oneof![any, marks], 0..20).prop_map(String::from_iter)
}

proptest! {
    #[test]
    fn what_was_written_is_read_again(
        id in texts(),
        note in prop::option::of(texts()),
        weight: u32,
        lines in prop::collection::vec(texts(), 0..5),
        v12: bool,
    ) {
        let version = if v12 { Version::V12 } else { Version::V11 };
        let parcel = Parcel { id, note, weight, lines };
        let bytes = envelope(version, NAMESPACES, &[], &parcel).unwrap();
        let message = parse::<(), Parcel>(&bytes, version, &Limits::new()).unwrap();
        prop_assert_eq!(message.body, parcel);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse::<Known, Parcel>(&bytes, Version::V11, &Limits::new());
    }

    #[test]
    fn a_document_that_is_cut_short_is_refused(cut in 0_usize..1000) {
        let document = wrap("<s:Header><t:Key>k</t:Key></s:Header>", PARCEL);
        let cut = cut % document.len();
        prop_assert!(read(&document[..cut]).is_err());
    }
}
