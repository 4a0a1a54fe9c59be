//! What is refused, and that the refusal says why.

use swifttrack_adapters::soap::{FaultCode, Invalid, Limits, Version, parse};

use super::{Known, PARCEL, Parcel, read, read_with, wrap};

#[track_caller]
fn refused(document: &str, why: &str) -> Invalid {
    let refused = read(document).expect_err(document);
    assert!(refused.to_string().contains(why), "{refused}");
    refused
}

#[track_caller]
fn beyond(limits: Limits, document: &str, name: &str) {
    assert!(read(document).is_ok(), "{document}");
    let refused = read_with(document, &limits).expect_err(name);
    assert!(refused.is_limit(), "{refused}");
    assert!(refused.to_string().contains(name), "{refused}");
}

#[test]
fn doctypes_and_processing_instructions() {
    let document = wrap("", PARCEL);
    let bomb = "<!DOCTYPE s [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]>";
    refused(&format!("{bomb}{document}"), "DOCTYPE");
    refused(
        &format!("<!DOCTYPE s SYSTEM 'file:///etc/passwd'>{document}"),
        "DOCTYPE",
    );
    refused(&format!("<?php x?>{document}"), "processing instruction");
    refused(&document.replace("P-1", "<?x?>"), "processing instruction");
    refused(&format!("{document}<?x y?>"), "processing instruction");
    refused(
        &document.replace("P-1", "<?xml version='1.0'?>"),
        "not at the start",
    );
}

#[test]
fn entities_and_characters_that_xml_does_not_have() {
    for (text, why) in [
        ("&nbsp;", "&nbsp;"),
        ("&#0;", "no character"),
        ("&#x1F;", "no character"),
        ("&#xD800;", "no character"),
        ("&#xFFFF;", "no character"),
        ("&#x110000;", "no character"),
        ("&#99999999999;", "no character"),
        ("&#+65;", "no character"),
        ("&#x;", "no character"),
        ("&;", "not known"),
        ("& b", "not well-formed"),
        ("\u{1}", "U+0001"),
        ("\u{ffff}", "U+FFFF"),
        ("]]>", "]]>"),
    ] {
        refused(&wrap("", &PARCEL.replace("P-1", text)), why);
    }
    let attribute = |value: &str| wrap(&format!("<s:Header t:a='{value}'/>"), PARCEL);
    refused(&attribute("&#1;"), "no character");
    refused(&attribute("&x;"), "not known");
    refused(&attribute("& "), "lone");
    refused(&attribute("<"), "<");
}

#[test]
fn other_encodings() {
    let limits = Limits::new();
    let read = |bytes: &[u8]| parse::<Known, Parcel>(bytes, Version::V11, &limits).unwrap_err();
    let utf16: Vec<u8> = wrap("", PARCEL)
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert!(
        read(&[b"\xff\xfe", &utf16[..]].concat())
            .to_string()
            .contains("UTF-8")
    );
    assert!(
        read(wrap("", &PARCEL.replace("P-1", "\0")).as_bytes())
            .to_string()
            .contains("U+0000")
    );
    assert!(read(b"<a>\xff</a>").to_string().contains("UTF-8"));
    let declared = |declaration: &str| format!("{declaration}{}", wrap("", PARCEL));
    refused(
        &declared("<?xml version='1.0' encoding='ISO-8859-1'?>"),
        "UTF-8",
    );
    refused(&declared("<?xml version='1.1'?>"), "XML 1.0");
    refused(&declared("<?xml encoding='utf-8'?>"), "not well-formed");
}

#[test]
fn an_envelope_with_other_parts_than_header_and_body() {
    let header = "<s:Header/>";
    let twice = wrap("<s:Header/><s:Header/>", PARCEL);
    refused(&twice, "s:Header is not expected here in s:Envelope");
    let late = wrap("", PARCEL).replace("</s:Envelope>", &format!("{header}</s:Envelope>"));
    refused(&late, "s:Header is not expected here");
    let bodies = wrap("", PARCEL).replace("</s:Envelope>", "<s:Body/></s:Envelope>");
    refused(&bodies, "s:Body is not expected here");
    refused(&wrap("<t:Extra/>", PARCEL), "t:Extra is not expected here");
    refused(&wrap("text", PARCEL), "text where only elements");
    refused(&wrap("", ""), "the Body is empty");
    refused(
        &wrap("", &format!("{PARCEL}{PARCEL}")),
        "the Body holds two elements",
    );
    refused(&wrap("", "<t:Other/>"), "t:Other is not expected here");
    refused(
        &format!("{}<more/>", wrap("", PARCEL)),
        "goes on after the envelope",
    );
    refused(
        &format!("{}x", wrap("", PARCEL)),
        "text where only elements",
    );
    refused("", "empty");
    refused(
        "<t:Parcel xmlns:t='urn:test'/>",
        "where the envelope is expected",
    );
    refused(&wrap("<s:Header x='1'/>", PARCEL), "has an attribute x");
    let other = wrap("", PARCEL).replace("schemas.xmlsoap.org", "example.org");
    assert_eq!(
        refused(&other, "namespace").fault_code(),
        FaultCode::VersionMismatch
    );
}

#[test]
fn a_body_out_of_its_schema() {
    for (from, to, why) in [
        (
            "<t:Id>P-1</t:Id>",
            "",
            "Id is expected in t:Parcel, not t:Weight",
        ),
        (
            "<t:Id>P-1</t:Id>",
            "<t:Id>a</t:Id><t:Id>b</t:Id>",
            "Weight is expected in t:Parcel, not t:Id",
        ),
        (
            "<t:Lines/>",
            "<t:Lines/><t:Lines/>",
            "t:Lines is not expected here in t:Parcel",
        ),
        ("<t:Lines/>", "", "t:Parcel lacks Lines"),
        (
            "<t:Lines/>",
            "<t:Lines/><t:Evil/>",
            "t:Evil is not expected here",
        ),
        (
            "<t:Lines/>",
            "<t:Lines><t:Evil/></t:Lines>",
            "t:Evil is not expected here in t:Lines",
        ),
        (
            "<t:Id>P-1</t:Id>",
            "<t:Weight>7</t:Weight><t:Id>P-1</t:Id>",
            "Id is expected",
        ),
        ("<t:Id>", "<t:Id a='1'>", "has an attribute a"),
        ("<t:Parcel>", "<t:Parcel a='1'>", "has an attribute a"),
        ("P-1", "<t:Deep/>", "t:Deep inside t:Id, which holds text"),
        (
            "<t:Lines/>",
            "<t:Lines>x</t:Lines>",
            "text where only elements",
        ),
        (">7<", ">seven<", "Weight is not what its type allows"),
        (">7<", "><", "Weight is not what its type allows"),
        (">7<", ">7 8<", "Weight is not what its type allows"),
    ] {
        refused(&wrap("", &PARCEL.replace(from, to)), why);
    }
    let lines = "<t:Line/>".repeat(101);
    refused(
        &wrap(
            "",
            &PARCEL.replace("<t:Lines/>", &format!("<t:Lines>{lines}</t:Lines>")),
        ),
        "more than 100 of Line",
    );
}

#[test]
fn what_is_not_well_formed() {
    for (from, to, why) in [
        ("</t:Id>", "</t:ID>", "not well-formed"),
        ("</t:Parcel>", "", "not well-formed"),
        ("<t:Id>", "<u:Id>", "the prefix u is not declared"),
        ("<t:Id>", "<t:Id u:a='1'>", "the prefix u is not declared"),
        ("<t:Id>", "<t:Id t:a='1' t:a='2'>", "t:a comes twice"),
        (
            "<t:Id>",
            "<t:Id xmlns:v='urn:v' xmlns:w='urn:v' v:a='1' w:a='2'>",
            "w:a comes twice",
        ),
        (
            "<t:Id>",
            "<t:Id xmlns:v='urn:v' xmlns:v='urn:w'>",
            "not well-formed",
        ),
        ("<t:Id>", "<t:Id a=1>", "not well-formed"),
        ("<t:Id>", "<t:Id xmlns:q=''>", "bound to no namespace"),
        ("P-1", "<!-- -- -->", "not well-formed"),
    ] {
        refused(&wrap("", &PARCEL.replace(from, to)), why);
    }
    let document = wrap("", PARCEL);
    refused(document.trim_end_matches("</s:Envelope>"), "ends too early");
}

#[test]
fn a_header_block_that_must_be_understood() {
    for value in ["1", "true"] {
        let block =
            format!("<s:Header><o:X xmlns:o='urn:o' s:mustUnderstand='{value}'/></s:Header>");
        let refused = refused(&wrap(&block, PARCEL), "o:X must be understood");
        assert!(refused.is_must_understand());
        assert_eq!(refused.fault_code(), FaultCode::MustUnderstand);
    }
    let block = "<s:Header><o:X xmlns:o='urn:o' s:mustUnderstand='0'/></s:Header>";
    assert!(read(&wrap(block, PARCEL)).is_ok());
    let block = "<s:Header><o:X xmlns:o='urn:o' s:mustUnderstand='yes'/></s:Header>";
    refused(&wrap(block, PARCEL), "neither true nor false");
    let twice = "<s:Header><t:Key>a</t:Key><t:Key>b</t:Key></s:Header>";
    refused(&wrap(twice, PARCEL), "Key comes twice");
}

#[test]
fn more_than_each_limit() {
    let limits = Limits::new();
    let document = wrap("", PARCEL);
    beyond(
        limits.bytes_max(document.len() - 1),
        &document,
        "bytes_max (",
    );
    assert!(read_with(&document, &limits.bytes_max(document.len())).is_ok());

    // Envelope, Body, Parcel, and its three children.
    beyond(limits.elements_max(5), &document, "elements_max (5)");
    assert!(read_with(&document, &limits.elements_max(6)).is_ok());
    beyond(limits.depth_max(3), &document, "depth_max (3)");
    assert!(read_with(&document, &limits.depth_max(4)).is_ok());

    // Also in what is skipped, where a stack could grow.
    let deep = format!(
        "<s:Header>{}{}</s:Header>",
        "<t:D>".repeat(20),
        "</t:D>".repeat(20)
    );
    beyond(limits.depth_max(10), &wrap(&deep, PARCEL), "depth_max (10)");

    let attributes = wrap("<s:Header t:a='1' t:b='2' t:c='3'/>", PARCEL);
    beyond(limits.attributes_max(2), &attributes, "attributes_max (2)");
    let declarations = wrap(
        "<s:Header xmlns:a='urn:a' xmlns:b='urn:b' xmlns:c='urn:c'/>",
        PARCEL,
    );
    beyond(
        limits.namespaces_max(2),
        &declarations,
        "namespaces_max (2)",
    );

    let text = wrap("", &PARCEL.replace("P-1", "a<![CDATA[b]]>&#99;d"));
    beyond(limits.text_bytes_max(3), &text, "text_bytes_max (3)");
    assert!(read_with(&text, &limits.text_bytes_max(4)).is_ok());
}
