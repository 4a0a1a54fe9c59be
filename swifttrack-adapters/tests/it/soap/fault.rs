//! Faults, ours and those of others.

use swifttrack_adapters::soap::{
    Decode, Element, Encode, Fault, FaultCode, Invalid, Limits, Reply, Version, Writer, envelope,
    parse,
};

use super::{NAMESPACES, NS, PARCEL, Parcel, parcel, wrap};

#[derive(Clone, Debug, PartialEq, Eq)]
struct Detail(String);

impl Decode for Detail {
    fn decode(e: &mut Element<'_, '_>) -> Result<Option<Self>, Invalid> {
        match e.named(NS, "Detail") {
            true => Ok(Some(Self(e.string("Code")?))),
            false => Ok(None),
        }
    }
}

impl Encode for Detail {
    fn encode(&self, out: &mut Writer) {
        out.element("t:Detail", |out| out.text("t:Code", &self.0));
    }
}

type Read = Reply<Parcel, Detail>;

#[track_caller]
fn reply(document: &str, version: Version) -> Read {
    let message = parse::<(), Read>(document.as_bytes(), version, &Limits::new());
    message.unwrap().body
}

#[track_caller]
fn fault(document: &str, version: Version) -> Fault<Detail> {
    match reply(document, version) {
        Reply::Fault(fault) => fault,
        Reply::Answer(answer) => panic!("{answer:?}"),
    }
}

fn wrap12(body: &str) -> String {
    wrap("", body).replace(
        "http://schemas.xmlsoap.org/soap/envelope/",
        Version::V12.namespace(),
    )
}

#[test]
fn an_answer_is_no_fault() {
    assert_eq!(
        reply(&wrap("", PARCEL), Version::V11),
        Reply::Answer(parcel())
    );
}

#[test]
fn what_was_written_is_read_again() {
    for version in [Version::V11, Version::V12] {
        for code in [
            FaultCode::Client,
            FaultCode::Server,
            FaultCode::MustUnderstand,
            FaultCode::VersionMismatch,
        ] {
            for detail in [None, Some(Detail("A&B".into()))] {
                let written = Fault {
                    code,
                    reason: "no <money>".into(),
                    detail,
                };
                let bytes = envelope(version, NAMESPACES, &[], &written).unwrap();
                let text = String::from_utf8(bytes).unwrap();
                assert_eq!(fault(&text, version), written, "{text}");
            }
        }
    }
}

#[test]
fn the_code_is_a_qualified_name() {
    let with = |code: &str| {
        fault(
            &wrap(
                "",
                &format!(
                    "<s:Fault xmlns:env='http://schemas.xmlsoap.org/soap/envelope/'>\
                     <faultcode>{code}</faultcode><faultstring/></s:Fault>"
                ),
            ),
            Version::V11,
        )
        .code
    };
    assert_eq!(with("s:Client"), FaultCode::Client);
    assert_eq!(with(" env:Server.Memory "), FaultCode::Server);
    assert_eq!(with("Client"), FaultCode::Other);
    assert_eq!(with("t:Client"), FaultCode::Other);
    assert_eq!(with("s:Sender"), FaultCode::Other);
}

#[test]
fn a_foreign_detail_is_none_of_ours() {
    let body = "<s:Fault><faultcode>s:Server</faultcode><faultstring xml:lang='en'>x</faultstring>\
                <faultactor>urn:box</faultactor><detail z='1' xmlns:z='urn:z'/></s:Fault>";
    let body = body.replace(
        " z='1' xmlns:z='urn:z'/>",
        "><o:Stack xmlns:o='urn:o'>at</o:Stack></detail>",
    );
    assert_eq!(fault(&wrap("", &body), Version::V11).detail, None);

    let beside = body.replace(
        "</detail>",
        "<t:Detail><t:Code>C</t:Code></t:Detail></detail>",
    );
    assert_eq!(
        fault(&wrap("", &beside), Version::V11).detail,
        Some(Detail("C".into()))
    );
}

#[test]
fn our_detail_must_be_whole_and_single() {
    let with = |detail: &str| {
        let body = format!(
            "<s:Fault><faultcode>s:Server</faultcode><faultstring>x</faultstring>\
             <detail>{detail}</detail></s:Fault>"
        );
        parse::<(), Read>(wrap("", &body).as_bytes(), Version::V11, &Limits::new())
    };
    assert!(with("<t:Detail><t:Code>C</t:Code></t:Detail>").is_ok());
    assert!(with("<t:Detail/>").is_err());
    assert!(with(&"<t:Detail><t:Code>C</t:Code></t:Detail>".repeat(2)).is_err());
}

#[test]
fn soap_1_2_with_all_its_parts() {
    let body = "<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>t:x</s:Value>\
                </s:Subcode></s:Code><s:Reason><s:Text xml:lang='en'>no</s:Text>\
                <s:Text xml:lang='de'>nein</s:Text></s:Reason><s:Node>urn:n</s:Node>\
                <s:Detail><t:Detail><t:Code>C</t:Code></t:Detail></s:Detail></s:Fault>";
    let fault = fault(&wrap12(body), Version::V12);
    assert_eq!(
        (fault.code, fault.reason.as_str(), fault.detail),
        (FaultCode::Client, "no", Some(Detail("C".into())))
    );
    assert_eq!(FaultCode::Client.status(Version::V12), 400);
    assert_eq!(FaultCode::Client.status(Version::V11), 500);
}
