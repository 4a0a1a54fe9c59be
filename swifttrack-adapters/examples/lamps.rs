//! Another binary protocol on the framed client and server: lamps that are
//! switched and asked, behind a 16-byte header of their own without a checksum.
//!
//! ```text
//! cargo run -p swifttrack-adapters --example lamps
//! ```
//!
//! All that differs from protocol to protocol is here: a header, two messages,
//! and what the server does. Greeting, window, heartbeats, deadlines,
//! reconnecting and the class of every failure come from the crate.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use swifttrack_adapters::CallContext;
use swifttrack_adapters::framed::control::Fault;
use swifttrack_adapters::framed::{
    Client, Endpoint, Handler, Head, Incoming, Layout, Malformed, Message, Options, Protocol,
    Reader, Reply, ServerOptions, Writer, serve,
};
use tokio::net::TcpListener;

/// Length, type, `L`, deadline, id; little-endian, as the lamps' maker likes it.
#[derive(Clone, Copy, Debug)]
struct LampHeader;

impl Layout for LampHeader {
    const HEADER_BYTES: usize = 16;
    // Part of a frame could switch a lamp: a call counts as applied from its first byte on.
    const CHECKED: bool = false;
    const PAYLOAD_BYTES_MAX: usize = u16::MAX as usize;

    fn read(&self, header: &[u8]) -> Result<(Head, u32), Malformed> {
        let [l0, l1, kind, b'L', d0, d1, d2, d3, id @ ..] = header else {
            return Err(Malformed::header("magic"));
        };
        let id = id.try_into().map_err(|_| Malformed::header("length"))?;
        let head = Head {
            kind: *kind,
            id: u64::from_le_bytes(id),
            deadline_ms: u32::from_le_bytes([*d0, *d1, *d2, *d3]),
        };
        Ok((head, u16::from_le_bytes([*l0, *l1]).into()))
    }

    fn verify(&self, _: &[u8], _: &[u8]) -> Result<(), Malformed> {
        Ok(())
    }

    fn write(&self, head: Head, payload: &[u8], header: &mut [u8]) {
        let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
        header[..2].copy_from_slice(&length.to_le_bytes());
        header[2..4].copy_from_slice(&[head.kind, b'L']);
        header[4..8].copy_from_slice(&head.deadline_ms.to_le_bytes());
        header[8..].copy_from_slice(&head.id.to_le_bytes());
    }
}

struct Lamps;

impl Protocol for Lamps {
    type Layout = LampHeader;
    type Request = Ask;
    type Answer = Lit;
    const LAYOUT: LampHeader = LampHeader;

    fn code_name(code: u16) -> Option<&'static str> {
        (code == 404).then_some("NO_SUCH_LAMP")
    }
}

/// Switch a lamp on or off, or only ask.
struct Ask {
    lamp: u8,
    switch: Option<bool>,
}

impl Message for Ask {
    fn kind(&self) -> u8 {
        0x20
    }

    fn write(&self, to: &mut Writer) -> Result<(), Malformed> {
        to.u8(self.lamp);
        to.u8(self.switch.map_or(2, u8::from));
        Ok(())
    }

    fn read(kind: u8, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        if kind != 0x20 {
            return Err(Malformed::unknown_kind(kind));
        }
        Ok(Self {
            lamp: from.u8()?,
            switch: match from.u8()? {
                0 => Some(false),
                1 => Some(true),
                2 => None,
                _ => return Err(Malformed::value("switch")),
            },
        })
    }
}

/// Whether it is lit now.
struct Lit(bool);

impl Message for Lit {
    fn kind(&self) -> u8 {
        0xa0
    }

    fn write(&self, to: &mut Writer) -> Result<(), Malformed> {
        to.u8(self.0.into());
        Ok(())
    }

    fn read(kind: u8, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match (kind, from.u8()?) {
            (0xa0, lit @ 0..=1) => Ok(Self(lit == 1)),
            (0xa0, _) => Err(Malformed::value("lit")),
            _ => Err(Malformed::unknown_kind(kind)),
        }
    }
}

/// A house of 64 lamps, a bit each.
#[derive(Default)]
struct House(AtomicU64);

#[async_trait]
impl Handler<Lamps> for House {
    async fn handle(&self, ask: Ask, _: Incoming) -> Reply {
        let Some(bit) = 1u64.checked_shl(ask.lamp.into()) else {
            let fault = Fault::new(404, swifttrack_adapters::Class::Rejected, "no such lamp");
            return Reply::fault(fault);
        };
        match ask.switch {
            Some(true) => self.0.fetch_or(bit, SeqCst),
            Some(false) => self.0.fetch_and(!bit, SeqCst),
            None => 0,
        };
        let lit = Lit(self.0.load(SeqCst) & bit != 0);
        Reply::answer(&lit).unwrap_or_else(|_| Reply::reset())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(serve::<Lamps, House>(
        listener,
        Arc::default(),
        ServerOptions::new(),
        std::future::pending(),
    ));

    let client = Client::<Lamps>::new(Endpoint::tcp("127.0.0.1", port), Options::new());
    let context = CallContext::new("", Duration::from_secs(5));
    for (lamp, switch) in [(7, None), (7, Some(true)), (7, None), (64, Some(true))] {
        match client.call(&Ask { lamp, switch }, &context).await {
            Ok(Lit(lit)) => println!("lamp {lamp} is {}", if lit { "on" } else { "off" }),
            Err(error) => println!("lamp {lamp}: {error}, {:?}", error.class()),
        }
    }
    Ok(())
}
