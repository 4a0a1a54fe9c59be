//! One path: the shipped core and the user's steps, with every choice made.

use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::pin;
use std::task::Poll;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::explorer::{Explorer, Seen};
use super::world::Model;
use crate::core::{self, Given, Input, Limits, Phase, Status};
use crate::definition::Undo;
use crate::engine::attempt::Work;
use crate::engine::live::Live;
use crate::engine::shared::StartRequest;
use crate::hook::End;
use crate::store::{Command, Timestamp};

/// A step or an undo that fails more often in a row never works.
const FAILURES_MAX: u32 = 10;

pub(super) enum Verdict {
    Fine,
    Broken(String),
}

/// What may happen next between attempts.
enum Next {
    Run(u16),
    Wait,
    Arrive(usize),
    Cancel,
    Crash,
}

pub(super) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing")
}

/// One run of the saga.
struct Path<'e, M: Model> {
    explorer: &'e Explorer<M>,
    live: Live,
    /// Attempts that are allowed and have not begun.
    tasks: Vec<u16>,
    now: Timestamp,
    cancelled: bool,
    told: u32,
}

impl<M: Model> Explorer<M> {
    pub(super) fn path(&self, runtime: &Runtime, given: &[u8], seen: &mut Seen) -> Verdict {
        self.world.begin(given);
        let (reply, _answer) = oneshot::channel();
        let request = StartRequest {
            registered: self.registered.clone(),
            id: "saga".into(),
            value: self.input.clone(),
            bytes: self.bytes.clone(),
            hash: [0; 32],
            attachment: None,
            trace: None,
            reply,
        };
        let mut path = Path {
            explorer: self,
            live: Live::started(Uuid::nil(), 0, request),
            tasks: Vec::new(),
            now: Timestamp(0),
            cancelled: false,
            told: 0,
        };
        path.feed(Input::Start {
            input: self.bytes.clone(),
        });
        path.run(runtime, seen)
    }
}

impl<M: Model> Path<'_, M> {
    fn run(&mut self, runtime: &Runtime, seen: &mut Seen) -> Verdict {
        loop {
            if let Some(broken) = self.explorer.world.lock().model.broken() {
                return Verdict::Broken(broken);
            }
            if self.live.state.ended() {
                return self.at_end();
            }
            if self.live.state.parked.is_some() && self.tasks.is_empty() {
                // A person goes on from here.
                return Verdict::Fine;
            }
            let nodes = self.live.definition().nodes.iter();
            let mut nodes = nodes.zip(self.live.state.nodes.iter());
            if let Some((plan, node)) = nodes.find(|(_, node)| node.tries > FAILURES_MAX) {
                let (name, tries) = (&plan.name, node.tries);
                let what = format!("it has not ended: {name} has failed {tries} times in a row");
                return Verdict::Broken(what);
            }
            if self.known(seen) {
                return Verdict::Fine;
            }
            let Some(next) = self.choose() else {
                return Verdict::Broken("it waits for something that never comes".to_owned());
            };
            match next {
                Next::Run(node) => self.attempt(runtime, node),
                Next::Arrive(which) => self.explorer.world.lock().arrive(which),
                Next::Wait => self.wait(),
                Next::Cancel => self.cancel(),
                Next::Crash => {
                    self.tell("the process dies before anything is sent");
                    self.crash();
                }
            }
        }
    }

    /// Whether this state was seen before, with as few faults, beyond what was given.
    fn known(&self, seen: &mut Seen) -> bool {
        let inner = self.explorer.world.lock();
        let mut hasher = DefaultHasher::new();
        self.live.state.hash(&mut hasher);
        self.tasks.hash(&mut hasher);
        self.now.hash(&mut hasher);
        self.cancelled.hash(&mut hasher);
        inner.model.hash(&mut hasher);
        inner.late.hash(&mut hasher);
        let state = hasher.finish();
        let faults = inner.chooser.faults;
        if !inner.chooser.beyond() {
            return false;
        }
        match seen.get(&state) {
            // Whoever was here goes on with every choice that there is.
            Some(before) if *before <= faults => true,
            _ => {
                seen.insert(state, faults);
                false
            }
        }
    }

    fn choose(&mut self) -> Option<Next> {
        let state = &self.live.state;
        let mut options: Vec<(Next, bool)> = Vec::new();
        options.extend(self.tasks.iter().map(|node| (Next::Run(*node), false)));
        if self.tasks.is_empty() && state.next_due().is_some() {
            options.push((Next::Wait, false));
        }
        let late = self.explorer.world.lock().late.len();
        options.extend((0..late).map(|which| (Next::Arrive(which), false)));
        if options.is_empty() {
            return None;
        }
        let open = state.phase == Phase::Forward && !state.past_pivot;
        if self.explorer.cancels && !self.cancelled && open {
            options.push((Next::Cancel, true));
        }
        if !self.tasks.is_empty() {
            options.push((Next::Crash, true));
        }
        let faults = options.iter().map(|(_, fault)| *fault).collect();
        let choice = self.explorer.world.lock().chooser.choose(faults);
        Some(options.swap_remove(choice).0)
    }

    fn attempt(&mut self, runtime: &Runtime, node: u16) {
        self.tasks.retain(|task| *task != node);
        let state = self.live.node(node);
        let (attempt, undo) = (state.attempt, state.status == Status::UndoRunning);
        let name = self.live.definition().nodes[usize::from(node)].name.clone();
        let what = if undo { "undo of " } else { "" };
        self.tell(format!("{what}{name}, attempt {attempt}"));
        let world = &self.explorer.world;
        world.lock().node = node;
        let live = &self.live;
        let verdict = runtime.block_on(async {
            let mut run = pin!(Work::of(live, node, undo).run());
            poll_fn(|cx| match run.as_mut().poll(cx) {
                Poll::Ready((verdict, _)) => Poll::Ready(Some(verdict)),
                Poll::Pending if world.lock().crashed => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            })
            .await
        });
        let Some(verdict) = verdict else {
            world.lock().crashed = false;
            return self.crash();
        };
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
            return self.feed(Input::Deadline);
        };
        let state = self.live.node(node);
        if state.status == Status::UndoWaiting && state.attempt == 0 {
            // It was the quiet period, within which late requests arrive.
            let mut inner = self.explorer.world.lock();
            while let Some(which) = inner.late.iter().position(|(of, _)| *of == node) {
                inner.arrive(which);
            }
        }
        self.feed(Input::Due { node });
    }

    fn cancel(&mut self) {
        self.cancelled = true;
        self.tell("somebody cancels it");
        let command = Command {
            n: 1,
            verb: "cancel".to_owned(),
            who: "somebody".to_owned(),
            reason: "any".to_owned(),
            body: None,
        };
        self.feed(Input::Command(command));
        // What has not begun does not begin any more.
        for node in std::mem::take(&mut self.tasks) {
            if self.live.pointless(node) {
                self.feed(Input::Withdrawn { node });
            } else {
                self.tasks.push(node);
            }
        }
    }

    fn crash(&mut self) {
        self.tasks.clear();
        let until = self.now.saturating_add(std::time::Duration::from_secs(20));
        self.feed(Input::Interrupted { until });
    }

    fn feed(&mut self, input: Input) {
        self.feed_value(input, None);
    }

    fn feed_value(&mut self, input: Input, value: Option<crate::erased::Value>) {
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
        for transition in &pending.transitions {
            if self.told < transition.seq {
                self.told = transition.seq;
                let what = super::report::phrase(&transition.what);
                self.tell(format!("  journal {}: {what}", transition.seq));
            }
        }
        self.tasks.extend(pending.starts);
        self.tasks.extend(pending.undoes);
    }

    fn at_end(&mut self) -> Verdict {
        let mut inner = self.explorer.world.lock();
        let definition = self.live.definition();
        // Requests of steps with a quiet period have arrived by then, as was believed.
        while let Some(which) = inner.late.iter().position(|(node, _)| {
            let plan = &definition.nodes[usize::from(*node)];
            !matches!(
                plan.undo,
                Undo::By {
                    late: crate::Late::Quiet(_),
                    ..
                }
            ) || self.live.node(*node).status != Status::Undone
        }) {
            inner.arrive(which);
        }
        let end = core::end_of(definition, &self.live.state, || b""[..].into());
        let effects = inner.model.effects();
        let broken = inner.model.broken();
        match end {
            _ if broken.is_some() => Verdict::Broken(broken.unwrap_or_default()),
            Some(End::Compensated { irrevocable, .. }) if effects.len() > irrevocable.len() => {
                Verdict::Broken(format!("it was compensated, and these stand: {effects:?}"))
            }
            Some(End::Completed { .. }) => match inner.model.completed() {
                Ok(()) => Verdict::Fine,
                Err(what) => Verdict::Broken(format!("it completed, and {what}")),
            },
            _ => Verdict::Fine,
        }
    }

    fn tell(&self, what: impl Into<String>) {
        self.explorer.world.lock().story.push(what.into());
    }
}
