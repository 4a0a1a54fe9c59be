//! What the protocols cost: frames, a window of calls, SOAP messages.
//!
//! ```text
//! cargo bench -p benches --bench adapters
//! ```
//!
//! Each bar is a ratio to something measured in the same run; the last lines say how it stands.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

use std::hint::black_box;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::BytesMut;
use criterion::{Criterion, Throughput};
use partners::cms::Money;
use partners::cms::message as cms;
use quick_xml::events::Event;
use quick_xml::reader::NsReader;
use swifttrack_adapters::CallContext;
use swifttrack_adapters::framed::{
    Checked, Client, Codec, Endpoint, Handler, Head, Incoming, Malformed, Message, Options,
    Protocol, Reader, Reply, ServerOptions, Writer, serve,
};
use swifttrack_adapters::soap::{Limits, Version};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::codec::Decoder;

const FRAME_BYTES: usize = 4096;
const WINDOW: u16 = 32;
const SERVER_LATENCY: Duration = Duration::from_millis(1);

fn main() {
    let folder = folder();
    let mut criterion = Criterion::default()
        .output_directory(&folder)
        .configure_from_args();
    frames(&mut criterion);
    soap(&mut criterion);
    window(&mut criterion);
    criterion.final_summary();
    bars(&folder);
}

/// One frame written and read again, beside the two checksums that it cannot do without.
fn frames(criterion: &mut Criterion) {
    let payload = vec![0x5a; FRAME_BYTES];
    let head = Head {
        kind: 0x10,
        id: 1,
        deadline_ms: 1000,
    };
    let mut group = criterion.benchmark_group("frames");
    group.throughput(Throughput::Bytes(FRAME_BYTES as u64));
    group.bench_function("encode_decode", |b| {
        let mut codec = Codec::new(Checked::new(*b"SWMS"));
        let mut wire = BytesMut::new();
        b.iter(|| {
            codec.write(head, black_box(&payload), &mut wire).unwrap();
            codec.decode(&mut wire).unwrap().unwrap()
        });
    });
    group.bench_function("checksums", |b| {
        b.iter(|| crc32c::crc32c(black_box(&payload)) ^ crc32c::crc32c(black_box(&payload)));
    });
    group.finish();
}

/// A request and its answer written and read, beside a reader that only walks over the same bytes.
fn soap(criterion: &mut Criterion) {
    let (headers, request, response) = messages();
    let build = || {
        let request = cms::write_request(Version::V11, &headers, &request).unwrap();
        let response = cms::write_response(Version::V11, &response).unwrap();
        (request, response)
    };
    let pair = build();
    let mut group = criterion.benchmark_group("soap");
    group.throughput(Throughput::Bytes((pair.0.len() + pair.1.len()) as u64));
    group.bench_function("build", |b| b.iter(build));
    group.bench_function("parse", |b| {
        b.iter(|| (read_request(black_box(&pair.0)), read_response(&pair.1)));
    });
    group.bench_function("build_parse", |b| {
        b.iter(|| {
            let (request, response) = build();
            (read_request(&request), read_response(&response))
        });
    });
    group.bench_function("ns_reader", |b| {
        b.iter(|| walk(black_box(&pair.0)) + walk(black_box(&pair.1)));
    });
    group.finish();
}

fn read_request(bytes: &[u8]) -> cms::Request {
    let limits = Limits::new();
    cms::read_request(bytes, Version::V11, &limits)
        .unwrap()
        .body
}

fn read_response(bytes: &[u8]) -> cms::VerifyContractResponse {
    use swifttrack_adapters::soap::{Reply, parse};
    type Answer = Reply<cms::VerifyContractResponse, cms::CmsFault>;
    let message = parse::<(), Answer>(bytes, Version::V11, &Limits::new()).unwrap();
    match message.body {
        Reply::Answer(answer) => answer,
        Reply::Fault(fault) => unreachable!("{fault:?}"),
    }
}

/// The least that a reader of namespaces does: it hands out every event and keeps none.
fn walk(bytes: &[u8]) -> usize {
    let mut reader = NsReader::from_reader(bytes);
    let mut events = 0;
    loop {
        match black_box(reader.read_resolved_event().unwrap()) {
            (_, Event::Eof) => return events,
            _ => events += 1,
        }
    }
}

fn messages() -> (cms::RequestHeaders, cms::Request, cms::Response) {
    let headers = cms::RequestHeaders {
        security: None,
        context: Some(cms::RequestContext {
            request_id: "0190163d-8694-739b-aea5-966c26f8ad91".to_owned(),
            idempotency_key: "ORD-1:CMS_VERIFICATION".to_owned(),
            trace_parent: Some(
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
            ),
        }),
    };
    let package = |n: u32| cms::Package {
        sku: format!("ITEM-{n:03}"),
        description: Some("Product Description".to_owned()),
        quantity: NonZeroU32::MIN.saturating_add(n),
        priority: Some(cms::Priority::Standard),
    };
    let request = cms::Request::Verify(cms::VerifyContractRequest {
        order_id: "ORD-1".to_owned(),
        client_id: "CLIENT-001".to_owned(),
        priority: cms::Priority::Standard,
        packages: vec![package(1), package(2)],
        delivery_addresses: vec!["123 Main Street, City, Country".to_owned()],
    });
    let response = cms::Response::Verify(cms::VerifyContractResponse {
        contract_id: "CTR-00000001".to_owned(),
        estimated_cost: Money::units(650),
        currency: "LKR".to_owned(),
        remaining_credit: Money::units(1_000_000),
        valid_until: "2027-09-09".parse().unwrap(),
        replayed: false,
    });
    (headers, request, response)
}

/// Calls to a server that takes a millisecond for each: one at a time, and a window of them.
fn window(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let client = runtime.block_on(connected());
    let mut group = criterion.benchmark_group("window");
    for (name, callers) in [("lone", 1), ("full", WINDOW)] {
        // A call of each caller counts as one, so that nobody's last call is waited for alone.
        group.throughput(Throughput::Elements(callers.into()));
        group.bench_function(name, |b| {
            b.iter_custom(|calls| runtime.block_on(calling(&client, callers, calls)));
        });
    }
    group.finish();
}

/// The time in which each of so many callers has made `calls` calls.
async fn calling(client: &Client<Slow>, callers: u16, calls: u64) -> Duration {
    let started = Instant::now();
    let mut all = JoinSet::new();
    for _ in 0..callers {
        let client = client.clone();
        all.spawn(async move {
            for _ in 0..calls {
                let cx = CallContext::new("", Duration::from_secs(10));
                client.call(&Nothing, &cx).await.unwrap();
            }
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    started.elapsed()
}

async fn connected() -> Client<Slow> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let options = ServerOptions::new().window(WINDOW);
    tokio::spawn(serve::<Slow, Server>(
        listener,
        Arc::new(Server),
        options,
        std::future::pending(),
    ));
    Client::new(Endpoint::tcp("127.0.0.1", port), Options::new())
}

struct Slow;

impl Protocol for Slow {
    type Layout = Checked;
    type Request = Nothing;
    type Answer = Nothing;
    const LAYOUT: Checked = Checked::new(*b"SLOW");
}

struct Nothing;

impl Message for Nothing {
    fn kind(&self) -> u8 {
        0x10
    }

    fn write(&self, _: &mut Writer) -> Result<(), Malformed> {
        Ok(())
    }

    fn read(_: u8, _: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self)
    }
}

struct Server;

#[async_trait]
impl Handler<Slow> for Server {
    async fn handle(&self, _: Nothing, _: Incoming) -> Reply {
        tokio::time::sleep(SERVER_LATENCY).await;
        Reply::answer(&Nothing).unwrap()
    }
}

/// Beside what cargo builds, as criterion does.
fn folder() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    // `<target>/release/deps/adapters-…`
    program.ancestors().nth(3).unwrap().join("criterion")
}

/// How each bar stands, from the medians that criterion has just written.
fn bars(folder: &Path) {
    let median = |name: &str| {
        let file = folder.join(name).join("new/estimates.json");
        let text = std::fs::read_to_string(file).ok()?;
        let estimates: serde_json::Value = serde_json::from_str(&text).ok()?;
        estimates["median"]["point_estimate"].as_f64()
    };
    let all = [
        "frames/encode_decode",
        "frames/checksums",
        "soap/build_parse",
        "soap/ns_reader",
        "window/lone",
        "window/full",
    ];
    let medians: Option<Vec<f64>> = all.into_iter().map(median).collect();
    let Some([frame, checksums, messages, walk, lone, full]) = medians.as_deref() else {
        // Only some were asked for.
        return;
    };
    let lines = [
        format!(
            "frames: {:.2} GB/s of payload (bar: at least 1), {:.2} × the two checksums alone",
            FRAME_BYTES as f64 / frame,
            frame / checksums
        ),
        format!(
            "soap: {:.2} × the bare NsReader loop (bar: at most 3)",
            messages / walk
        ),
        format!(
            "window: {:.2} × {WINDOW} / a lone call's {:.0} µs (bar: at least 0.8)",
            lone / full,
            lone / 1000.0
        ),
    ];
    for line in lines {
        eprintln!("{line}");
    }
}
