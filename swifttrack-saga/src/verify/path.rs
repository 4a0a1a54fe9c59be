//! One path: the shipped core and the user's steps, with every choice made.

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::choice::{Plan, hash};
use super::explorer::{Explorer, Seen};
use super::running::{Running, Step};
use super::world::{Lost, Model, Sender};
use crate::core::{self, Given, Input, Limits, Phase, Status};
use crate::definition::Undo;
use crate::engine::attempt::Work;
use crate::engine::live::Live;
use crate::engine::shared::StartRequest;
use crate::erased::Value;
use crate::hook::End;
use crate::policy::Late;
use crate::store::{Command, Timestamp};

/// A step or an undo that fails more often in a row never works.
const FAILURES_MAX: u32 = 10;
/// A path with more choices does not end.
const CHOICES_MAX: usize = 10_000;

pub(super) enum Verdict {
    Fine,
    Broken(String),
}

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Next {
    /// Something becomes of what this attempt asks.
    Call(usize),
    /// Time passes until something is due.
    Wait,
    /// A signal comes.
    Hear(usize),
    /// A late request arrives.
    Arrive(usize),
    /// A frozen process goes on with this attempt.
    Thaw(usize),
    Cancel,
    /// The saga's time is over while an attempt is under way.
    Deadline,
    /// The process dies, and another takes over.
    Crash,
    /// The process is frozen until another has taken over.
    Freeze,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fate {
    Answered,
    NotSent,
    LostBefore,
    LostAfter,
    Late,
    CrashAfter,
    Refused,
}

/// One run of the saga.
pub(super) struct Path<'e, M: Model> {
    explorer: &'e Explorer<M>,
    runtime: &'e Runtime,
    live: Live,
    running: Vec<Running<M>>,
    now: Timestamp,
    /// The runtime's time at the beginning: steps may sleep.
    began: tokio::time::Instant,
    cancelled: bool,
    heard: Vec<bool>,
    /// The outputs so far.
    outputs: u64,
    told: u32,
}

impl<'e, M: Model> Path<'e, M> {
    /// Runs a path to its end, or to a state that was seen before.
    pub(super) fn run(
        explorer: &'e Explorer<M>,
        runtime: &'e Runtime,
        plan: Plan,
        seen: &mut Seen,
    ) -> Verdict {
        let definition = &explorer.registered.definition;
        let stands = |undo| matches!(undo, Undo::Irrevocable(_));
        let makers = definition.nodes.iter().any(|node| stands(node.undo));
        explorer.world.begin(plan, makers);
        let (reply, _answer) = oneshot::channel();
        let request = StartRequest {
            registered: explorer.registered.clone(),
            id: "saga".into(),
            value: explorer.input.clone(),
            bytes: explorer.bytes.clone(),
            hash: [0; 32],
            attachment: None,
            trace: None,
            reply,
        };
        let guard = runtime.enter();
        let began = tokio::time::Instant::now();
        drop(guard);
        let mut path = Self {
            explorer,
            runtime,
            live: Live::started(Uuid::nil(), 0, request),
            running: Vec::new(),
            now: Timestamp(0),
            began,
            cancelled: false,
            heard: vec![false; explorer.signals.len()],
            outputs: 0,
            told: 0,
        };
        path.feed(Input::Start {
            input: explorer.bytes.clone(),
        });
        path.go_on(seen)
    }

    fn go_on(&mut self, seen: &mut Seen) -> Verdict {
        for _ in 0..CHOICES_MAX {
            if let Some(broken) = self.explorer.world.lock().model.broken() {
                return Verdict::Broken(broken);
            }
            if self.live.state.ended() {
                return self.at_end();
            }
            if self.live.state.parked.is_some() && !self.acts() {
                // A person goes on from here.
                return Verdict::Fine;
            }
            if let Some(what) = self.hopeless() {
                return Verdict::Broken(what);
            }
            if self.known(seen) {
                return Verdict::Fine;
            }
            let Some(next) = self.choose() else {
                return Verdict::Broken("it waits for something that never comes".to_owned());
            };
            self.happen(next);
            let inner = self.explorer.world.lock();
            if inner.hasty || inner.chooser.diverged {
                return Verdict::Fine;
            }
        }
        Verdict::Broken(format!("it has not ended after {CHOICES_MAX} choices"))
    }

    fn happen(&mut self, next: Next) {
        match next {
            Next::Call(which) => self.call(which),
            Next::Wait => self.wait(),
            Next::Hear(which) => self.hear(which),
            Next::Arrive(which) => self.explorer.world.lock().arrive(which),
            Next::Thaw(which) => self.thaw(which),
            Next::Cancel => self.cancel(),
            Next::Deadline => {
                let due = self.live.state.open_deadline();
                self.now = self.now.max(due.unwrap_or(self.now));
                self.tell("the saga's time is over");
                self.feed(Input::Deadline);
            }
            Next::Crash => {
                self.tell("the process dies, and another takes over");
                self.running.retain(|running| running.stale);
                self.interrupt();
            }
            Next::Freeze => {
                self.tell("the process freezes, and another takes over");
                for running in &mut self.running {
                    running.stale = true;
                }
                self.interrupt();
            }
        }
    }

    /// Whether an attempt is under way whose result counts.
    fn acts(&self) -> bool {
        self.running.iter().any(|running| !running.stale)
    }

    fn hopeless(&self) -> Option<String> {
        let nodes = self.live.definition().nodes.iter();
        let mut nodes = nodes.zip(self.live.state.nodes.iter());
        let (plan, node) = nodes.find(|(_, node)| node.tries > FAILURES_MAX)?;
        let (name, tries) = (&plan.name, node.tries);
        Some(format!(
            "it has not ended: {name} has failed {tries} times in a row"
        ))
    }

    /// Whether this state was seen before, with as few faults, beyond what was given.
    fn known(&self, seen: &mut Seen) -> bool {
        let inner = self.explorer.world.lock();
        if !inner.chooser.beyond() {
            return false;
        }
        let running: Vec<u64> = self.running.iter().map(Running::identity).collect();
        let partners = (&inner.model, &inner.late, &inner.makers);
        let outside = (self.now, self.elapsed(), self.cancelled, &self.heard);
        let state = hash(&(&self.live.state, self.outputs, running, partners, outside));
        let faults = inner.chooser.faults;
        match seen.get(&state) {
            // Whoever was here goes on with every choice that there is.
            Some(before) if *before <= faults => true,
            _ => {
                seen.insert(state, faults);
                false
            }
        }
    }

    /// How long steps have slept.
    fn elapsed(&self) -> std::time::Duration {
        let _guard = self.runtime.enter();
        self.began.elapsed()
    }

    fn choose(&mut self) -> Option<Next> {
        let state = &self.live.state;
        let mut options: Vec<(Next, bool)> = Vec::new();
        let places = 0..self.running.len();
        let (stale, fresh): (Vec<usize>, Vec<usize>) =
            places.partition(|place| self.running[*place].stale);
        options.extend(fresh.iter().map(|place| (Next::Call(*place), false)));
        if fresh.is_empty() && state.next_due().is_some() {
            options.push((Next::Wait, false));
        }
        let signals = self.heard.iter().enumerate();
        let signals = signals.filter(|(_, heard)| !**heard);
        options.extend(signals.map(|(which, _)| (Next::Hear(which), false)));
        if options.is_empty() {
            return None;
        }
        let late = self.explorer.world.lock().late.len();
        options.extend((0..late).map(|which| (Next::Arrive(which), false)));
        options.extend(stale.iter().map(|place| (Next::Thaw(*place), false)));
        let open = state.phase == Phase::Forward && !state.past_pivot;
        if self.explorer.cancels && !self.cancelled && open {
            options.push((Next::Cancel, true));
        }
        if !fresh.is_empty() {
            if state.may_start() && state.open_deadline().is_some() {
                options.push((Next::Deadline, true));
            }
            options.push((Next::Crash, true));
            options.push((Next::Freeze, true));
        }
        self.choice(&options)
    }

    /// Chooses among options; true is a fault.
    fn choice<T: Copy + std::hash::Hash>(&self, options: &[(T, bool)]) -> Option<T> {
        let running: Vec<u64> = self.running.iter().map(Running::identity).collect();
        let faults = options.iter().map(|(_, fault)| *fault).collect();
        let what: Vec<T> = options.iter().map(|(what, _)| *what).collect();
        let seen = (what, running, self.live.state.seq, self.elapsed());
        let mut inner = self.explorer.world.lock();
        let chosen = inner.chooser.choose(faults, seen);
        options.get(chosen).map(|(what, _)| *what)
    }

    /// Something becomes of what an attempt asks.
    fn call(&mut self, which: usize) {
        let request = self.running[which].call.clone();
        let sender = self.running[which].sender;
        let refusal = self.explorer.world.lock().model.refusal(&request);
        let mut fates = vec![
            (Fate::Answered, false),
            (Fate::NotSent, true),
            (Fate::LostBefore, true),
            (Fate::LostAfter, true),
            (Fate::Late, true),
            (Fate::CrashAfter, true),
        ];
        if refusal.is_some() {
            fates.push((Fate::Refused, true));
        }
        let fate = self.choice(&fates).unwrap_or(Fate::Answered);
        let mut inner = self.explorer.world.lock();
        let (note, told) = match fate {
            Fate::Answered => {
                let answer = inner.deliver(sender, &request);
                (format!("is answered {answer:?}"), Some(Ok(answer)))
            }
            Fate::NotSent => ("is not sent".to_owned(), Some(Err(Lost::NotSent))),
            Fate::LostBefore => ("is lost on its way".to_owned(), Some(Err(Lost::Unknown))),
            Fate::LostAfter => {
                let answer = inner.deliver(sender, &request);
                let note = format!("arrives, and the answer {answer:?} is lost");
                (note, Some(Err(Lost::Unknown)))
            }
            Fate::Late => {
                inner.late.push((sender, request.clone()));
                let note = "is on its way for longer than anybody waits".to_owned();
                (note, Some(Err(Lost::Unknown)))
            }
            Fate::CrashAfter => {
                inner.deliver(sender, &request);
                let note = "arrives; the process dies, and another takes over";
                (note.to_owned(), None)
            }
            Fate::Refused => {
                let told = refusal.map(Ok);
                (format!("is refused: {told:?}"), told)
            }
        };
        inner.story.push(format!("    {request:?} {note}"));
        drop(inner);
        let Some(told) = told else {
            self.running.retain(|running| running.stale);
            return self.interrupt();
        };
        let attempt = self.running.remove(which);
        let (node, number) = (sender.node, attempt.attempt);
        match attempt.tell(&self.explorer.world, self.runtime, told) {
            Step::Asks(attempt) => self.running.insert(which, attempt),
            Step::Ended(verdict) => self.ended(node, number, verdict),
        }
    }

    /// A frozen process goes on: what it asks arrives, and it is answered.
    fn thaw(&mut self, which: usize) {
        let attempt = self.running.remove(which);
        let name = &self.live.definition().nodes[usize::from(attempt.sender.node)].name;
        let told = {
            let mut inner = self.explorer.world.lock();
            let answer = inner.deliver(attempt.sender, &attempt.call);
            let (number, call) = (attempt.attempt, &attempt.call);
            let note = format!(
                "the frozen process goes on with {name}, attempt {number}: {call:?} is answered {answer:?}"
            );
            inner.story.push(note);
            Ok(answer)
        };
        if let Step::Asks(attempt) = attempt.tell(&self.explorer.world, self.runtime, told) {
            self.running.insert(which, attempt);
        }
    }

    /// An attempt has ended, and its process is there to hear of it.
    fn ended(&mut self, node: u16, attempt: u32, verdict: crate::engine::attempt::Verdict) {
        let plan = &self.live.definition().nodes[usize::from(node)];
        let timeout = plan.policy.map(|policy| policy.attempt_timeout);
        let until = self.now.saturating_add(timeout.unwrap_or_default());
        match verdict.into_input(node, attempt, until) {
            Ok((input, value)) => self.feed_value(input, value),
            Err((_, retry_after)) => {
                let due = self.now.saturating_add(retry_after);
                self.feed(Input::Deferred { node, due });
            }
        }
    }

    /// Time passes until something is due.
    fn wait(&mut self) {
        let Some((due, node)) = self.live.state.next_due() else {
            return;
        };
        self.now = self.now.max(due);
        let Some(node) = node else {
            self.tell("the saga's time is over");
            return self.feed(Input::Deadline);
        };
        self.feed(Input::Due { node });
    }

    /// A quiet period is over: within it, all forward requests of this node have arrived.
    fn arrive_in_time(&mut self, node: u16) {
        let forward = Sender { node, undo: false };
        let late = |path: &Self| {
            let inner = path.explorer.world.lock();
            inner.late.iter().position(|(of, _)| *of == forward)
        };
        while let Some(which) = late(self) {
            self.explorer.world.lock().arrive(which);
        }
        let stale = |path: &Self| {
            let mut running = path.running.iter();
            running.position(|running| running.stale && running.sender == forward)
        };
        while let Some(which) = stale(self) {
            self.thaw(which);
        }
    }

    fn hear(&mut self, which: usize) {
        self.heard[which] = true;
        let (name, words) = &self.explorer.signals[which];
        let number = i64::try_from(which).unwrap_or(i64::MAX).saturating_add(1);
        self.tell(format!("{name} is heard"));
        self.feed(Input::Heard {
            number,
            name: name.clone(),
            words: words.clone(),
        });
    }

    fn cancel(&mut self) {
        self.cancelled = true;
        self.tell("somebody cancels it");
        self.feed(Input::Command(Command {
            n: 1,
            verb: "cancel".to_owned(),
            who: "somebody".to_owned(),
            reason: "any".to_owned(),
            body: None,
        }));
    }

    /// Another process finds what was under way.
    fn interrupt(&mut self) {
        let until = self.live.could_send_until(self.now);
        self.feed(Input::Interrupted { until });
    }

    fn feed(&mut self, input: Input) {
        self.feed_value(input, None);
    }

    fn feed_value(&mut self, input: Input, value: Option<Value>) {
        let given = Given {
            at: self.now,
            noise: u32::MAX,
            hold: false,
        };
        let limits = Limits {
            attention_failures: u32::MAX,
        };
        // What does not fit any more is stale, as in the engine.
        if self.live.feed(input, value, given, limits).is_err() {
            return;
        }
        let Some(pending) = self.live.pending.take() else {
            return;
        };
        for row in &pending.rows {
            let output = (row.kind, row.node, &row.payload);
            self.outputs = match row.payload {
                Some(_) => hash(&(self.outputs, output)),
                None => self.outputs,
            };
        }
        for transition in &pending.transitions {
            if self.told < transition.seq {
                self.told = transition.seq;
                let what = super::report::phrase(&transition.what);
                self.tell(format!("  journal {}: {what}", transition.seq));
            }
        }
        for node in pending.starts.into_iter().chain(pending.undoes) {
            self.begin(node);
        }
    }

    /// Runs an attempt that a durable transition has allowed up to its first call.
    fn begin(&mut self, node: u16) {
        let state = self.live.node(node);
        let undo = match state.status {
            Status::Running => false,
            Status::UndoRunning => true,
            // An earlier one of the same transition has ended, and turned the saga round.
            _ => return,
        };
        let (attempt, maybe) = (state.attempt, state.maybe);
        if undo && self.was_quiet(node) {
            self.arrive_in_time(node);
        }
        let name = self.live.definition().nodes[usize::from(node)].name.clone();
        let what = if undo { "undo of " } else { "" };
        self.tell(format!("{what}{name}, attempt {attempt}"));
        let guard = self.runtime.enter();
        let work = Work::of(&self.live, node, undo);
        drop(guard);
        let sender = Sender { node, undo };
        let from = hash(&(maybe, self.outputs));
        let world = &self.explorer.world;
        match Running::begin(world, self.runtime, work, (sender, attempt), from) {
            Step::Asks(running) => self.running.push(running),
            Step::Ended(verdict) => self.ended(node, attempt, verdict),
        }
    }

    /// It has ended: whatever is still on its way arrives, and must change nothing.
    fn at_end(&mut self) -> Verdict {
        let late = |path: &Self| {
            let inner = path.explorer.world.lock();
            let mut late = inner.late.iter();
            late.position(|(sender, _)| !path.believed(*sender))
        };
        while let Some(which) = late(self) {
            self.explorer.world.lock().arrive(which);
        }
        let mut verdict = self.judge();
        while let Verdict::Fine = verdict {
            let mut running = self.running.iter();
            let Some(which) = running.position(|running| !self.believed(running.sender)) else {
                break;
            };
            self.thaw(which);
            verdict = self.judge();
        }
        verdict
    }

    /// Whether what this attempt sent has arrived by the end, as its definition says.
    fn believed(&self, sender: Sender) -> bool {
        let undone = self.live.node(sender.node).status == Status::Undone;
        !sender.undo && undone && self.was_quiet(sender.node)
    }

    /// Whether the undo of this node waits until what its attempts sent has arrived.
    fn was_quiet(&self, node: u16) -> bool {
        let undo = self.live.definition().nodes[usize::from(node)].undo;
        let quiet = matches!(
            undo,
            Undo::By {
                late: Late::Quiet(_),
                ..
            }
        );
        quiet && self.live.node(node).until > Timestamp(0)
    }

    fn judge(&self) -> Verdict {
        let inner = self.explorer.world.lock();
        if let Some(broken) = inner.model.broken() {
            return Verdict::Broken(broken);
        }
        let definition = self.live.definition();
        match core::end_of(definition, &self.live.state, || b""[..].into()) {
            Some(End::Completed { .. }) => match inner.model.completed() {
                Ok(()) => Verdict::Fine,
                Err(what) => Verdict::Broken(format!("it completed, and {what}")),
            },
            Some(End::Compensated { irrevocable, .. }) => {
                let mut effects = inner.model.effects();
                if let Some(makers) = &inner.makers {
                    effects.retain(|effect| {
                        let maker = makers.iter().find(|(made, _)| made == effect);
                        let name =
                            maker.map(|(_, node)| &definition.nodes[usize::from(*node)].name);
                        name.is_none_or(|name| !irrevocable.contains(name))
                    });
                }
                match effects.is_empty() {
                    true => Verdict::Fine,
                    false => {
                        let what = format!("it was compensated, and these stand: {effects:?}");
                        Verdict::Broken(what)
                    }
                }
            }
            _ => Verdict::Fine,
        }
    }

    fn tell(&self, what: impl Into<String>) {
        self.explorer.world.lock().story.push(what.into());
    }
}
