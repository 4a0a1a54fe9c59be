//! A client against a partner that does anything, in any order: no call is told
//! what is not so, and none is forgotten.
//!
//! Each two bytes are one step: a call, a caller who leaves, time that passes, or
//! something that the partner does. The partner remembers what reached it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use futures_util::FutureExt;
use swifttrack_adapters::framed::control::{self, Fault, GoAway, HelloAck};
use swifttrack_adapters::framed::{
    Checked, Client, Codec, Connect, Duplex, Head, Malformed, Message, Options, Protocol, Reader,
    Writer,
};
use swifttrack_adapters::{CallContext, Class, Error};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::codec::Decoder;

const STEPS_MAX: usize = 300;
const HEARTBEAT: Duration = Duration::from_secs(1);
const WAITING_MAX: usize = 6;

struct Numbers;

impl Protocol for Numbers {
    type Layout = Checked;
    type Request = Number;
    type Answer = Number;
    const LAYOUT: Checked = Checked::new(*b"FUZZ");
}

/// Which call it is of. Long, so that the partner's pipe fills up.
struct Number(u64);

const NUMBER: u8 = 0x10;

impl Message for Number {
    fn kind(&self) -> u8 {
        NUMBER
    }

    fn write(&self, to: &mut Writer) -> Result<(), Malformed> {
        to.u64(self.0);
        to.str(&"x".repeat(40))
    }

    fn read(kind: u8, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        if kind != NUMBER {
            return Err(Malformed::unknown_kind(kind));
        }
        let number = from.u64()?;
        from.str()?;
        Ok(Self(number))
    }
}

#[derive(Debug)]
struct Pipe(usize, mpsc::UnboundedSender<DuplexStream>);

#[async_trait]
impl Connect for Pipe {
    async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        let (ours, theirs) = duplex(self.0);
        self.1
            .send(theirs)
            .map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(Box::new(ours))
    }
}

/// What the partner did about a call.
#[derive(Debug, Default)]
struct Deed {
    /// Connections on which it arrived whole.
    arrived: Vec<usize>,
    answered: bool,
    said: BTreeSet<&'static str>,
    gone_away: bool,
}

/// The partner's end of a connection.
struct Peer {
    io: Option<DuplexStream>,
    codec: Codec<Checked>,
    input: BytesMut,
    output: BytesMut,
    window: usize,
    last_id: u64,
    /// Number of the call by id, of those that are unanswered.
    open: BTreeMap<u64, u64>,
    all: BTreeMap<u64, u64>,
    goaway: Option<u64>,
}

#[derive(Default)]
struct World {
    peers: Vec<Peer>,
    deeds: BTreeMap<u64, Deed>,
    calls: Vec<Call>,
}

struct Call {
    number: u64,
    task: Option<JoinHandle<Result<Number, Error>>>,
}

/// Plays `data` and checks what every call was told.
pub(crate) fn run(data: &[u8]) {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O")
        // All happens in one poll, and tokio makes a task that did much in one look idle.
        .block_on(tokio::task::unconstrained(play(data)));
}

async fn play(data: &[u8]) {
    let Some((&[window, pipe], script)) = data.split_first_chunk() else {
        return;
    };
    let (sender, mut incoming) = mpsc::unbounded_channel();
    let options = Options::new()
        .window_max(u16::from(window % 6) + 1)
        .waiting_max(WAITING_MAX)
        // So that a replay goes the same way: no pause, no jitter.
        .backoff(Duration::ZERO, Duration::ZERO)
        .connect_timeout(HEARTBEAT)
        .drain_max(HEARTBEAT * 4);
    let pipe = Pipe(32 + usize::from(pipe) * 8, sender);
    let client = Client::<Numbers>::new(pipe, options);
    let window = usize::from(window % 6) + 1;
    let mut world = World::default();

    for step in script.chunks_exact(2).take(STEPS_MAX) {
        while let Ok(io) = incoming.try_recv() {
            world.accept(io);
        }
        world.step(&client, step[0], step[1]).await;
        settle().await;
        let seen = client.snapshot();
        let connections = seen.connected - seen.ended;
        assert!(
            seen.in_flight <= connections.max(1) * window as u64,
            "{seen:?}"
        );
        assert!(seen.overdue <= seen.in_flight, "{seen:?}");
        assert!(seen.waiting <= WAITING_MAX as u64, "{seen:?}");
        // One in use, two that drain, and one whose end is not over.
        assert!(connections <= 4, "{seen:?}");
    }

    // Longer than any deadline: whoever still waits was forgotten.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    for peer in 0..world.peers.len() {
        world.read(peer);
    }
    for call in std::mem::take(&mut world.calls) {
        let Some(task) = call.task else { continue };
        let told = task.now_or_never().expect("a call outlived its deadline");
        let told = told.expect("a call panicked");
        world.judge(call.number, told);
    }
    let seen = client.snapshot();
    assert_eq!(seen.waiting, 0, "{seen:?}");
    drop(client);
    tokio::time::sleep(Duration::from_secs(60)).await;
    for peer in &mut world.peers {
        let Some(io) = &mut peer.io else { continue };
        let mut rest = Vec::new();
        let end = io.read_to_end(&mut rest).now_or_never();
        assert!(end.is_some(), "a connection outlived its client");
    }
}

impl World {
    async fn step(&mut self, client: &Client<Numbers>, what: u8, arg: u8) {
        let newest = self.peers.len().wrapping_sub(1);
        // The newest connection most of the time, an older one now and then.
        let peer = newest.wrapping_sub(usize::from(what >> 6 == 3));
        match what % 16 {
            0 | 1 => self.call(client, arg),
            2 => self.leave(arg),
            3 => tokio::time::advance(Duration::from_millis(u64::from(arg) * 20)).await,
            4 => self.greet(peer, arg),
            5 | 6 => self.read(peer),
            7 | 8 => self.answer(peer, arg),
            9 => self.fault(peer, arg),
            10 => self.stray(peer, arg),
            11 => self.go_away(peer, arg),
            12 => self.close(peer),
            13 => self.ping(peer),
            14 => self.garbage(peer, arg),
            _ => self.half(peer),
        }
        self.flush(peer);
    }

    fn accept(&mut self, io: DuplexStream) {
        self.peers.push(Peer {
            io: Some(io),
            codec: Codec::new(Numbers::LAYOUT),
            input: BytesMut::new(),
            output: BytesMut::new(),
            window: usize::MAX,
            last_id: 0,
            open: BTreeMap::new(),
            all: BTreeMap::new(),
            goaway: None,
        });
    }

    fn call(&mut self, client: &Client<Numbers>, arg: u8) {
        let number = self.calls.len() as u64;
        let limit = Duration::from_millis(u64::from(arg) * 50);
        let client = client.clone();
        let task = tokio::spawn(async move {
            let context = CallContext::new("", limit);
            client.call(&Number(number), &context).await
        });
        let task = Some(task);
        self.calls.push(Call { number, task });
        self.deeds.insert(number, Deed::default());
    }

    fn leave(&mut self, arg: u8) {
        let living: Vec<_> = self.calls.iter_mut().filter(|c| c.task.is_some()).collect();
        let count = living.len();
        if let Some(call) = living.into_iter().nth(usize::from(arg) % count.max(1))
            && let Some(task) = call.task.take()
        {
            task.abort();
        }
    }

    fn greet(&mut self, peer: usize, arg: u8) {
        self.read(peer);
        let window = u16::from(arg % 8);
        if let Some(peer) = self.peers.get_mut(peer) {
            // The first word counts, also where it comes before the greeting did; none lets no call through.
            if peer.window == usize::MAX {
                peer.window = window.into();
            }
            let ack = HelloAck {
                version: 1,
                payload_bytes_max: 1 << 20,
                window,
                heartbeat_ms: HEARTBEAT.as_millis() as u32,
            };
            peer.say(1, &ack);
        }
    }

    /// Reads all that has come, and remembers which calls it were.
    fn read(&mut self, at: usize) {
        let Some(peer) = self.peers.get_mut(at) else {
            return;
        };
        let Some(io) = &mut peer.io else { return };
        while let Some(Ok(1..)) = io.read_buf(&mut peer.input).now_or_never() {}
        while let Ok(Some(frame)) = peer.codec.decode(&mut peer.input) {
            let id = frame.head.id;
            match frame.head.kind {
                control::PONG => continue,
                control::PING => {}
                control::HELLO => assert_eq!(id, 1, "the greeting comes first"),
                _ => {
                    let Number(number) = Number::decode(frame.head.kind, &frame.payload)
                        .expect("the client writes what can be read");
                    assert!(frame.head.deadline_ms > 0);
                    peer.open.insert(id, number);
                    peer.all.insert(id, number);
                    assert!(peer.open.len() <= peer.window, "beyond the window");
                    let deed = self.deeds.get_mut(&number).expect("a call that was made");
                    deed.arrived.push(at);
                    assert_eq!(deed.arrived.len(), 1, "a call was sent twice");
                    deed.gone_away |= peer.goaway.is_some_and(|last| id > last);
                }
            }
            assert!(id > peer.last_id, "ids rise");
            peer.last_id = id;
        }
    }

    fn pick(&mut self, at: usize, arg: u8) -> Option<(u64, u64)> {
        let peer = self.peers.get_mut(at)?;
        let count = peer.open.len();
        let (&id, &number) = peer.open.iter().nth(usize::from(arg) % count.max(1))?;
        peer.open.remove(&id);
        Some((id, number))
    }

    fn answer(&mut self, at: usize, arg: u8) {
        let Some((id, number)) = self.pick(at, arg) else {
            return;
        };
        self.deeds.entry(number).or_default().answered = true;
        self.peers[at].say(id, &Number(number));
        if arg > 200 {
            self.peers[at].say(id, &Number(number));
        }
    }

    fn fault(&mut self, at: usize, arg: u8) {
        let Some((id, number)) = self.pick(at, arg) else {
            return;
        };
        let class = [Class::Rejected, Class::NotApplied, Class::Unknown][usize::from(arg % 3)];
        let deed = self.deeds.entry(number).or_default();
        deed.said.insert(name(class));
        self.peers[at].say(id, &Fault::new(1, class, "fuzz"));
    }

    /// An answer under an id that has none open. One that is on its way, or will
    /// be, would be a lie that nobody can see through.
    fn stray(&mut self, at: usize, arg: u8) {
        self.read(at);
        let Some(peer) = self.peers.get_mut(at) else {
            return;
        };
        let id = match u64::from(arg) {
            id if id <= peer.last_id => id,
            id => u64::MAX - id,
        };
        if !peer.open.contains_key(&id) && id != 1 {
            peer.say(id, &Number(u64::MAX));
        }
    }

    fn go_away(&mut self, at: usize, arg: u8) {
        let Some(peer) = self.peers.get_mut(at) else {
            return;
        };
        let last = u64::from(arg % 16);
        peer.goaway = Some(peer.goaway.map_or(last, |before| before.min(last)));
        for number in peer.all.range(last + 1..).map(|(_, number)| number) {
            self.deeds.entry(*number).or_default().gone_away = true;
        }
        let reason = String::new();
        peer.say(
            0,
            &GoAway {
                last_accepted_id: last,
                reason,
            },
        );
    }

    fn close(&mut self, at: usize) {
        // What was in the pipe has arrived; what comes after has not.
        self.read(at);
        if let Some(peer) = self.peers.get_mut(at) {
            peer.io = None;
        }
    }

    fn ping(&mut self, at: usize) {
        if let Some(peer) = self.peers.get_mut(at) {
            peer.send(control::PING, 0, &[]);
        }
    }

    fn garbage(&mut self, at: usize, arg: u8) {
        if let Some(peer) = self.peers.get_mut(at) {
            peer.output.extend_from_slice(&[arg; 40]);
        }
    }

    fn half(&mut self, at: usize) {
        if let Some(peer) = self.peers.get_mut(at) {
            let start = peer.output.len();
            peer.say(u64::MAX, &Number(u64::MAX));
            peer.output.truncate(start + 30);
        }
    }

    fn flush(&mut self, at: usize) {
        let Some(peer) = self.peers.get_mut(at) else {
            return;
        };
        let Some(io) = &mut peer.io else { return };
        while !peer.output.is_empty() {
            match io.write(&peer.output).now_or_never() {
                Some(Ok(taken)) => peer.output.advance(taken),
                Some(Err(_)) => peer.output.clear(),
                None => break,
            }
        }
    }

    /// Whether what the call was told is so.
    fn judge(&self, number: u64, told: Result<Number, Error>) {
        let deed = &self.deeds[&number];
        match told {
            Ok(Number(answer)) => {
                assert_eq!(answer, number, "another call's answer");
                assert!(deed.answered, "call {number} was never answered");
            }
            Err(error) => match error.class() {
                Class::Rejected => assert!(deed.said.contains("rejected"), "{number}: {error:?}"),
                Class::NotApplied => assert!(
                    deed.arrived.is_empty() || deed.gone_away || deed.said.contains("not applied"),
                    "call {number} arrived, {deed:?}, and was told {error:?}"
                ),
                Class::Unknown => assert!(!error.is_local()),
                Class::Protocol => panic!("{number}: {error:?}, {deed:?}"),
            },
        }
    }
}

impl Peer {
    fn say(&mut self, id: u64, message: &impl Message) {
        let (kind, payload) = message.encode().expect("it fits");
        self.send(kind, id, &payload);
    }

    fn send(&mut self, kind: u8, id: u64, payload: &[u8]) {
        let head = Head {
            kind,
            id,
            deadline_ms: 0,
        };
        let written = self.codec.write(head, payload, &mut self.output);
        written.expect("it fits");
    }
}

const fn name(class: Class) -> &'static str {
    match class {
        Class::Rejected => "rejected",
        Class::NotApplied => "not applied",
        Class::Unknown | Class::Protocol => "unknown",
    }
}

/// Lets every task do what it can without time passing.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}
