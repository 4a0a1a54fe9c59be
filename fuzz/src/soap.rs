//! Whatever is read can be written, and is read again as it was.

use swifttrack_adapters::soap::{
    Decode, Element, Encode, Fault, Headers, Invalid, Limits, Reply, UsernameToken, Version,
    Writer, envelope, once, parse,
};

const NAMESPACE: &str = "urn:fuzz";
const NAMESPACES: &[(&str, &str)] = &[("f", NAMESPACE)];
const TEXT_BYTES_MAX: usize = 100;
const ITEMS_MAX: usize = 10;

/// One of everything that a reader can be asked for.
#[derive(Debug, PartialEq)]
struct Body {
    text: String,
    optional: Option<String>,
    number: i64,
    items: Vec<Vec<String>>,
}

impl Decode for Body {
    fn decode(e: &mut Element<'_, '_>) -> Result<Option<Self>, Invalid> {
        if !e.named(NAMESPACE, "Body") {
            return Ok(None);
        }
        Ok(Some(Self {
            text: e.string("Text")?,
            optional: e.string_opt("Optional")?,
            number: e.value("Number")?,
            items: e.many("Item", 0..=ITEMS_MAX, |item| {
                item.many("Part", 0..=ITEMS_MAX, |part| {
                    Ok(part.content()?.into_owned())
                })
            })?,
        }))
    }
}

impl Encode for Body {
    fn encode(&self, out: &mut Writer) {
        out.element("f:Body", |out| {
            out.text("f:Text", &self.text);
            out.text_opt("f:Optional", self.optional.as_deref());
            out.value("f:Number", self.number);
            for item in &self.items {
                out.element("f:Item", |out| {
                    for part in item {
                        out.text("f:Part", part);
                    }
                });
            }
        });
    }
}

#[derive(Debug, Default, PartialEq)]
struct Known {
    token: Option<UsernameToken>,
    body: Option<Body>,
}

impl Headers for Known {
    fn block(&mut self, block: &mut Element<'_, '_>) -> Result<Option<()>, Invalid> {
        if let Some(token) = UsernameToken::decode(block)? {
            once(&mut self.token, "token", token).map(Some)
        } else if let Some(body) = Body::decode(block)? {
            once(&mut self.body, "body", body).map(Some)
        } else {
            Ok(None)
        }
    }
}

/// Reads `data` in both versions, and checks what comes out.
pub(super) fn run(data: &[u8]) {
    let limits = Limits::new()
        .bytes_max(64 * 1024)
        .depth_max(8)
        .elements_max(100)
        .attributes_max(8)
        .namespaces_max(4)
        .text_bytes_max(TEXT_BYTES_MAX);
    for version in [Version::V11, Version::V12] {
        let Ok(message) = parse::<Known, Reply<Body, Body>>(data, version, &limits) else {
            continue;
        };
        let mut blocks: Vec<&dyn Encode> = Vec::new();
        blocks.extend(
            message
                .headers
                .token
                .as_ref()
                .map(|token| token as &dyn Encode),
        );
        blocks.extend(
            message
                .headers
                .body
                .as_ref()
                .map(|body| body as &dyn Encode),
        );
        let written = match &message.body {
            Reply::Answer(body) => {
                assert!(body.text.len() <= TEXT_BYTES_MAX && body.items.len() <= ITEMS_MAX);
                envelope(version, NAMESPACES, &blocks, body)
            }
            Reply::Fault(fault) => envelope(version, NAMESPACES, &blocks, &as_written(fault)),
        };
        let written = written.expect("what was read can be written");
        let again = parse::<Known, Reply<Body, Body>>(&written, version, &Limits::new())
            .expect("what was written can be read");
        assert_eq!(again.headers, message.headers);
        match (again.body, message.body) {
            (Reply::Answer(again), Reply::Answer(body)) => assert_eq!(again, body),
            (Reply::Fault(again), Reply::Fault(fault)) => {
                assert_eq!((again.reason, again.detail), (fault.reason, fault.detail));
            }
            (again, body) => panic!("{again:?} was {body:?}"),
        }
    }
}

fn as_written(fault: &Fault<Body>) -> Fault<&Body> {
    Fault {
        code: fault.code,
        reason: fault.reason.clone(),
        detail: fault.detail.as_ref(),
    }
}
