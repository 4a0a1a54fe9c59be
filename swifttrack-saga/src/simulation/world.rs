//! A world: who is in it, what happens, and what must hold when all is quiet again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::partner::{Act, Ledger, Onward};
use super::seat::Seat;
use crate::engine::{Engine, Status};
use crate::hook::{End, What};
use crate::policy::Retry;
use crate::saga::Saga;
use crate::signal::Signal;
use crate::store::memory::MemoryStore;
use crate::store::{Command, Request, Sighting, Store as _, StoredSignal};
use crate::tune::{Tune as _, TuneForward as _};

const LEASE: Duration = Duration::from_secs(3);
const SAGAS: u64 = 8;
const TROUBLE: Duration = Duration::from_secs(40);
/// In peace, everything ends within this.
const PEACE: Duration = Duration::from_mins(10);
const GO: Signal<u32> = Signal::new("go");

pub(crate) struct World {
    ledger: Ledger,
    store: MemoryStore,
    workers: Vec<(Seat, Engine)>,
    born: u32,
    calm: bool,
    /// The database's clock is set forward and back.
    restless: bool,
    /// Cancels that were accepted, by saga.
    cancelled: BTreeMap<String, ()>,
}

fn quick() -> Retry {
    Retry::exponential(Duration::from_millis(500)).times(2)
}

/// One after another; side by side; past a pivot.
fn sagas(ledger: &Ledger, seat: &Seat) -> [Saga<u32, u32>; 3] {
    let second = Duration::from_secs(1);
    let act = |name| {
        let act = Act(ledger.clone(), seat.clone()).named(name).retry(quick());
        act.attempt_timeout(second).undo_timeout(second).tombstone()
    };
    let line = Saga::<u32>::define("line", 1, |s, input| {
        let a = s.step(act("a"), input);
        let b = s.step(act("b"), a);
        let c = s.step(act("c"), b);
        s.finish(c)
    });
    let wide = Saga::<u32>::define("wide", 1, |s, input| {
        let (a, _) = s.parallel(|g| (g.step(act("a"), input), g.step(act("b"), input)));
        s.sleep("nap", second);
        let c = s.step(act("c"), a);
        s.finish(c)
    });
    let pivot = Saga::<u32>::define("pivot", 1, |s, input| {
        let a = s.step(act("a"), input);
        let word = s.await_signal(GO);
        let pivot = Act(ledger.clone(), seat.clone()).named("b").retry(quick());
        let (s, b) = s.pivot(pivot.attempt_timeout(second), a);
        let onward = Onward(ledger.clone(), seat.clone()).retry(quick().without_end());
        let c = s.step(onward.named("c").attempt_timeout(second), b);
        let _ = word;
        s.finish(c)
    });
    [line, wide, pivot].map(|saga| saga.expect("a definition"))
}

fn definition(saga: u64) -> (&'static str, usize) {
    [("line", 0), ("wide", 1), ("pivot", 2)][(saga % 3) as usize]
}

impl World {
    /// Runs a world to its end. How many sagas ended, or what went wrong, with the story.
    pub(crate) async fn run(seed: u64) -> Result<u32, String> {
        let ledger = Ledger::new(seed);
        let store = MemoryStore::new().hook({
            let ledger = ledger.clone();
            move |batch| {
                ledger.hook(batch);
                Ok(())
            }
        });
        let mut world = Self {
            ledger,
            store,
            workers: Vec::new(),
            born: 0,
            calm: seed.is_multiple_of(3),
            restless: seed.is_multiple_of(5),
            cancelled: BTreeMap::new(),
        };
        let workers = 2 + seed % 2;
        for _ in 0..workers {
            world.join().await;
        }
        world.trouble().await;
        world.peace(workers).await;
        world.judge().await
    }

    /// A new process.
    async fn join(&mut self) {
        self.born += 1;
        let name = format!("w{}", self.born);
        let seat = Seat::new(name.clone(), self.ledger.clone(), self.store.clone());
        self.ledger.tell(format!("{name} begins"));
        loop {
            let mut builder = Engine::builder(seat.clone()).lease(LEASE);
            for saga in sagas(&self.ledger, &seat) {
                builder = builder.register(&saga);
            }
            // A crash is no fault of a saga here.
            match builder.crashes_max(i16::MAX).spawn().await {
                Ok(engine) => return self.workers.push((seat, engine)),
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn trouble(&mut self) {
        let over = Instant::now() + TROUBLE;
        let mut next = 0;
        while Instant::now() < over {
            sleep(Duration::from_millis(self.ledger.below(600))).await;
            let which = self.ledger.below(self.workers.len() as u64) as usize;
            // In calm worlds nobody takes over what was forgotten.
            let event = self.ledger.below(16);
            if self.calm && (10..=12).contains(&event) {
                continue;
            }
            match event {
                0..=4 if next < SAGAS => {
                    self.start(next, which);
                    if self.ledger.chance(3) {
                        self.start(next, self.workers.len() - 1 - which);
                    }
                    next += 1;
                }
                5 | 6 => self.cancel(next).await,
                7..=9 => self.signal(next).await,
                10 => {
                    let (seat, engine) = self.workers.remove(which);
                    self.ledger.tell(format!("{} dies", seat.name));
                    engine.crash();
                    self.join().await;
                }
                11 => {
                    let (seat, engine) = self.workers.remove(which);
                    self.ledger.tell(format!("{} shuts down", seat.name));
                    engine
                        .shutdown(Duration::from_millis(self.ledger.below(3000)))
                        .await;
                    self.join().await;
                }
                12 => {
                    let seat = self.workers[which].0.clone();
                    let pause = Duration::from_millis(self.ledger.below(7000));
                    self.ledger
                        .tell(format!("{} freezes for {pause:?}", seat.name));
                    seat.freeze(true);
                    tokio::spawn(async move {
                        sleep(pause).await;
                        seat.freeze(false);
                        seat.tell("thaws");
                    });
                }
                13 => {
                    for (_, engine) in &self.workers {
                        engine.wake("partner");
                    }
                }
                14 if self.restless => {
                    // Beyond the lease, both ways.
                    let by = self.ledger.below(10_000) as i64 - 5_000;
                    self.ledger
                        .tell(format!("the database's clock is set by {by} ms"));
                    self.store.set_clock(by * 1_000);
                }
                _ => (),
            }
        }
        for saga in next..SAGAS {
            self.start(saga, 0);
        }
    }

    /// A caller who tries until it is told.
    fn start(&self, saga: u64, worker: usize) {
        let (seat, engine) = self.workers[worker].clone();
        let (ledger, id) = (self.ledger.clone(), format!("s{saga}"));
        let definitions = sagas(&ledger, &seat);
        let engines: Vec<Engine> = self
            .workers
            .iter()
            .map(|(_, engine)| engine.clone())
            .collect();
        tokio::spawn(async move {
            let which = &definitions[definition(saga).1];
            let mut engine = engine;
            for round in 0.. {
                ledger.tell(format!("{id} is started"));
                let started = engine.start(which, &id, &7).await;
                match started {
                    Ok(_) => return,
                    Err(error) if error.is_conflict() => {
                        return ledger.lock().fault(format!("{id}: {error}"));
                    }
                    Err(_) => sleep(Duration::from_millis(200)).await,
                }
                engine = engines[round % engines.len()].clone();
                if round > 20 {
                    return;
                }
            }
        });
    }

    /// Somebody outside of all workers asks: nobody here is hinted at it.
    async fn cancel(&mut self, known: u64) {
        if known == 0 {
            return;
        }
        let saga = self.ledger.below(known);
        let id = format!("s{saga}");
        let request = Request {
            definition: definition(saga).0.to_owned(),
            id: id.clone(),
            if_seq: None,
            before_pivot: true,
            command: Command {
                n: 0,
                verb: "cancel".to_owned(),
                who: "nobody".to_owned(),
                reason: "none".to_owned(),
                body: None,
            },
        };
        let sighting = self.store.request(request).await;
        self.ledger
            .tell(format!("{id} is to be cancelled: {sighting:?}"));
        if matches!(sighting, Ok(Sighting::Accepted { .. })) {
            self.cancelled.insert(id, ());
        }
    }

    async fn signal(&self, known: u64) {
        if known == 0 {
            return;
        }
        let saga = self.ledger.below(known);
        let signal = StoredSignal {
            n: 0,
            definition: definition(saga).0.to_owned(),
            id: format!("s{saga}"),
            name: GO.name().to_owned(),
            dedupe: "go".to_owned(),
            payload: b"1"[..].into(),
        };
        let outcome = self.store.signal(signal).await;
        self.ledger.tell(format!("s{saga} hears go: {outcome:?}"));
    }

    /// Faults are over, frozen processes go on, and whoever waits is told.
    async fn peace(&mut self, workers: u64) {
        self.ledger.tell("peace");
        self.ledger.lock().trouble = false;
        for (seat, _) in &self.workers {
            seat.freeze(false);
        }
        debug_assert_eq!(self.workers.len() as u64, workers);
        let over = Instant::now() + PEACE;
        while Instant::now() < over {
            sleep(Duration::from_secs(1)).await;
            for saga in (0..SAGAS).filter(|saga| definition(*saga).0 == "pivot") {
                let signal = StoredSignal {
                    n: 0,
                    definition: "pivot".to_owned(),
                    id: format!("s{saga}"),
                    name: GO.name().to_owned(),
                    dedupe: "peace".to_owned(),
                    payload: b"1"[..].into(),
                };
                let _ = self.store.signal(signal).await;
            }
            let running = self.store.list(crate::store::Page {
                limit: 1000,
                ..crate::store::Page::default()
            });
            // Parked ones wait for a person.
            let running = running.await.unwrap_or_default();
            if running.iter().all(|saga| saga.state == 2) {
                // Late requests are still on their way.
                sleep(Duration::from_secs(20)).await;
                return;
            }
        }
    }

    async fn judge(&self) -> Result<u32, String> {
        let mut ended = 0;
        let engine = &self.workers[0].1;
        for note in self.store.stale() {
            self.ledger.lock().fault(note);
        }
        for saga in 0..SAGAS {
            let (name, _) = definition(saga);
            let id = format!("s{saga}");
            let snapshot = match engine.get(name, &id).await {
                Ok(Some(snapshot)) => snapshot,
                // Its callers gave up before anybody took it.
                Ok(None) => continue,
                Err(error) => {
                    self.ledger
                        .lock()
                        .fault(format!("{id} cannot be read: {error:?}"));
                    continue;
                }
            };
            ended += self.judge_one(name, &id, &snapshot.status);
            let history = engine.history(name, &id, 0, 1000).await.unwrap_or_default();
            let begun = history
                .iter()
                .filter(|t| matches!(t.what, What::Started { .. }));
            if begun.count() != 1 {
                self.ledger
                    .lock()
                    .fault(format!("{id} began more or less than once"));
            }
        }
        for (_, engine) in &self.workers {
            engine.crash();
        }
        let inner = self.ledger.lock();
        match inner.broken.is_empty() {
            true => Ok(ended),
            false => Err(format!("{}\n{:#?}", inner.story.join("\n"), inner.broken)),
        }
    }

    /// Compares what a saga says with what the partner knows. One if it has ended.
    fn judge_one(&self, name: &str, id: &str, status: &Status) -> u32 {
        let mut ended = 0;
        let key = |step: &str| format!("{id}:{step}");
        let mut ledger = self.ledger.lock();
        let live: Vec<&str> = ["a", "b", "c"]
            .into_iter()
            .filter(|step| ledger.live.contains(&key(step)))
            .collect();
        match status {
            Status::Ended(End::Completed { .. }) => {
                ended += 1;
                if live != ["a", "b", "c"] {
                    ledger.fault(format!("{id} completed, and only {live:?} are done"));
                }
                if self.cancelled.contains_key(id) {
                    ledger.fault(format!("{id} completed although its cancel was accepted"));
                }
            }
            Status::Ended(End::Compensated { .. }) => {
                ended += 1;
                if !live.is_empty() {
                    ledger.fault(format!("{id} was compensated, and {live:?} still stand"));
                }
                let undone = ledger
                    .undone
                    .iter()
                    .filter(|key| key.starts_with(&format!("{id}:")));
                let undone: Vec<String> = undone.cloned().collect();
                if !undone.is_sorted_by(|first, second| first > second) {
                    ledger.fault(format!("{id} was undone in the order {undone:?}"));
                }
            }
            // A pivot that may have happened waits for a person.
            Status::Parked { .. } if name == "pivot" => ended += 1,
            status => ledger.fault(format!("{id} has not ended: {status:?}")),
        }
        ended
    }
}

impl Seat {
    fn tell(&self, what: &str) {
        self.ledger().tell(format!("{} {what}", self.name));
    }
}
