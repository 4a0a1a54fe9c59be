//! How sagas come into memory, and come in again.

use uuid::Uuid;

use super::Lane;
use crate::core::{Input, Output, State};
use crate::engine::live::{Live, Restored, value_of};
use crate::erased::Value;
use crate::guard::Guard;
use crate::store::{Command, Loaded, StoredSignal, Timestamp};

impl Lane {
    /// The store says that this one needs somebody.
    pub(super) fn take(&mut self, loaded: Loaded) {
        if let Some(live) = self.sagas.get_mut(&loaded.saga) {
            if loaded.ctl > live.ctl {
                // What was asked comes first, before what is not durable yet.
                self.reload.insert(loaded.saga);
            }
            return;
        }
        let known = self.shared.registry.get(&loaded.definition, loaded.version);
        let Some(registered) = known.cloned() else {
            return;
        };
        let key = (registered.group.clone(), loaded.shard);
        let Some(held) = self.leases.get(&key).filter(|held| held.draining.is_none()) else {
            return;
        };
        let unclean = held.lease.unclean;
        if self.shared.room() == 0 {
            return;
        }
        let saga = loaded.saga;
        let readable = Restored::from(&registered, loaded.saga, &loaded.journal);
        let (restored, fault) = match readable {
            Ok(restored) => (restored, None),
            Err(error) => {
                tracing::error!(%saga, %error, "a saga cannot be read and is parked");
                (unread(&registered, &loaded), Some(error))
            }
        };
        // What an attempt of it may take, if nobody knows which attempts run.
        let policies = registered.definition.nodes.iter();
        let policies = policies.filter_map(|node| node.policy);
        let longest = policies.map(|policy| policy.attempt_timeout * 2).max();
        let longest = longest.unwrap_or_default();
        let span = registered.span(saga, &loaded.id, restored.trace.as_deref());
        let mut live = Live {
            saga,
            id: loaded.id.as_str().into(),
            registered,
            shard: loaded.shard,
            state: restored.state,
            input: restored.input,
            values: restored.values,
            ctl: loaded.ctl,
            crashes: loaded.crashes,
            at: restored.at,
            pending: None,
            stuck: None,
            attempts: Vec::new(),
            waiting: Vec::new(),
            patience: Vec::new(),
            timer: None,
            starter: None,
            foreign: false,
            span,
            tells: self.shared.tells,
        };
        let running = live.state.running();
        live.foreign = running;
        if running && unclean {
            live.crashes = live.crashes.saturating_add(1);
        }
        let until = live.could_send_until(self.shared.clock.now());
        let crashes = live.crashes;
        self.insert(live);
        if let Some(fault) = fault {
            let reason = fault.to_string().into();
            let until = self.shared.clock.now().saturating_add(longest);
            self.feed_held(saga, Input::Quarantine { reason, until }, None, true);
            return;
        }
        let crashes_max = self.shared.settings.crashes_max;
        if running && crashes > crashes_max {
            let reason = format!("its process died {crashes} times while it ran").into();
            self.feed_held(saga, Input::Quarantine { reason, until }, None, true);
        } else if running {
            self.interrupt(saga);
        }
        self.ask(saga, loaded.commands, loaded.signals);
        // One suspect at a time: if the process dies again, it is known which one it was. The
        // others stay in the store, due, until a sweep finds the place free.
        if crashes < crashes_max || self.shared.run_alone(saga) {
            self.feed(saga, Input::Release, None);
        }
        self.set_timer(saga);
        self.evict_if_idle(saga);
    }

    /// What another process ran may have happened.
    fn interrupt(&mut self, saga: Uuid) {
        if Guard::Interrupted.stands() {
            let until = self.sagas[&saga].could_send_until(self.shared.clock.now());
            return self.feed_held(saga, Input::Interrupted { until }, None, true);
        }
        for node in self.sagas[&saga].running() {
            self.feed_held(saga, Input::Withdrawn { node }, None, true);
        }
    }

    /// Takes in what was asked of a saga, holding what it would start.
    fn ask(&mut self, saga: Uuid, commands: Vec<Command>, signals: Vec<StoredSignal>) {
        for command in commands {
            let n = command.n;
            let command = self.checked(saga, command);
            self.feed_held(saga, Input::Command(command), None, true);
            self.with_pending(saga, |pending| pending.requests_until = n);
        }
        for signal in signals {
            let n = signal.n;
            let signal = self.opened(saga, signal);
            let input = Input::Heard {
                number: n,
                name: self.heard(saga, &signal),
                words: signal.payload,
            };
            self.feed_held(saga, input, None, true);
            self.with_pending(saga, |pending| pending.signals.push(n));
        }
    }

    fn with_pending(&mut self, saga: Uuid, change: impl FnOnce(&mut crate::engine::live::Pending)) {
        let live = self.sagas.get_mut(&saga);
        if let Some(pending) = live.and_then(|live| live.pending.as_mut()) {
            change(pending);
        }
    }

    /// A signal whose words are what they were, or whose name is nobody's.
    fn opened(&self, saga: Uuid, signal: StoredSignal) -> StoredSignal {
        let Some(live) = self.sagas.get(&saga) else {
            return signal;
        };
        match live.registered.open(saga, signal.payload.clone()) {
            Ok(payload) => StoredSignal { payload, ..signal },
            Err(error) => {
                tracing::error!(%saga, signal = %signal.name, %error, "a signal cannot be read");
                StoredSignal {
                    name: String::new(),
                    ..signal
                }
            }
        }
    }

    /// The name under which a signal is heard: none if nobody can read its words.
    fn heard(&self, saga: Uuid, signal: &StoredSignal) -> std::sync::Arc<str> {
        let readable = self.sagas.get(&saga).is_some_and(|live| {
            let place = live.definition().place(&signal.name);
            let place = place.and_then(|place| u16::try_from(place).ok());
            place.is_some_and(|place| {
                let output = Output::Heard(signal.payload.clone());
                value_of(&live.registered, place, &output).is_ok()
            })
        });
        match readable {
            true => signal.name.as_str().into(),
            false => {
                tracing::warn!(%saga, signal = %signal.name, "a signal that nobody understands");
                "".into()
            }
        }
    }

    /// A verb that brings an output which is not one is refused in the journal.
    fn checked(&self, saga: Uuid, command: Command) -> Command {
        if command.verb != "resolve" {
            return command;
        }
        let mut command = command;
        let readable = self.sagas.get(&saga).is_some_and(|live| {
            let body = command.body.as_deref().unwrap_or("{}");
            let Ok(mut body) = serde_json::from_str::<crate::core::Body>(body) else {
                return false;
            };
            if let Some(sealed) = body.sealed.take() {
                let opened = live.registered.open(saga, sealed.into());
                body.output = opened
                    .ok()
                    .and_then(|plain| String::from_utf8(plain.to_vec()).ok());
                if body.output.is_none() {
                    return false;
                }
                command.body = serde_json::to_string(&body).ok();
            }
            let place = match &body.step {
                Some(step) => live.definition().place(step),
                None => live.state.stuck().map(usize::from),
            };
            match (place, &body.output) {
                (Some(place), Some(output)) => {
                    let work = &live.registered.code.work[place];
                    (work.codec.decode)(output.as_bytes()).is_ok()
                }
                (_, None) => true,
                (None, _) => false,
            }
        });
        match readable {
            true => command,
            false => Command {
                verb: "resolve-unreadable".to_owned(),
                ..command
            },
        }
    }

    /// Reads sagas again whose commit conflicted, and decides again.
    pub(super) async fn read_again(&mut self) {
        if self.reload.is_empty() {
            return;
        }
        let sagas: Vec<Uuid> = self.reload.iter().copied().take(super::BATCH_MAX).collect();
        let loaded = match self.shared.store.load(&sagas).await {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::warn!(%error, "sagas could not be read again yet");
                tokio::time::sleep(super::AGAIN_AFTER).await;
                return;
            }
        };
        for saga in &sagas {
            self.reload.remove(saga);
            self.dirty.retain(|dirty| dirty != saga);
            self.stuck.retain(|(_, stuck)| stuck != saga);
        }
        for saga in &sagas {
            match loaded.iter().position(|loaded| loaded.saga == *saga) {
                None => self.drop_saga(*saga),
                Some(place) => self.replace(loaded[place].clone()),
            }
        }
    }

    fn replace(&mut self, loaded: Loaded) {
        let saga = loaded.saga;
        let Some(live) = self.sagas.get_mut(&saga) else {
            return;
        };
        let restored = match Restored::from(&live.registered, saga, &loaded.journal) {
            Ok(restored) => restored,
            Err(error) => {
                tracing::error!(%saga, %error, "a saga cannot be read again");
                return self.drop_saga(saga);
            }
        };
        let mut inputs: Vec<(Input, Option<Value>)> = Vec::new();
        if let Some(pending) = live.pending.take() {
            inputs.extend(pending.inputs);
        }
        if let Some(stuck) = live.stuck.take() {
            inputs.extend(stuck.deferred);
        }
        live.state = restored.state;
        live.values = restored.values;
        live.at = restored.at;
        live.ctl = loaded.ctl;
        let crashed = live.foreign && live.crashes > loaded.crashes;
        live.crashes = loaded.crashes + i16::from(crashed);
        let known: Vec<u16> = inputs
            .iter()
            .filter_map(|(input, _)| node_of(input))
            .collect();
        // Allowed by a transition that is durable after all, and not begun: unless it was
        // another process that was allowed.
        let foreign = live.foreign;
        let orphans: Vec<u16> = live
            .running()
            .into_iter()
            .filter(|node| !foreign && !live.under_way(*node) && !known.contains(node))
            .collect();
        if foreign && live.state.running() {
            self.interrupt(saga);
        }
        self.ask(saga, loaded.commands, loaded.signals);
        for (input, value) in inputs {
            self.feed(saga, input, value);
        }
        for node in orphans {
            match self.sagas.get(&saga) {
                Some(live) if live.pointless(node) => self.withdraw(saga, node),
                _ => self.begin(saga, node),
            }
        }
        self.feed(saga, Input::Release, None);
        self.set_timer(saga);
        self.evict_if_idle(saga);
    }
}

/// The node whose attempt an input is the result of.
fn node_of(input: &Input) -> Option<u16> {
    match input {
        Input::Done { node, .. }
        | Input::Failed { node, .. }
        | Input::UndoDone { node, .. }
        | Input::UndoFailed { node, .. } => Some(*node),
        _ => None,
    }
}

/// What stands for a saga whose journal cannot be read, so that it can be parked.
fn unread(registered: &crate::engine::registry::Registered, loaded: &Loaded) -> Restored {
    let mut state = State::new(&registered.definition);
    state.seq = loaded.seq;
    // Nobody may cancel what can no longer be cancelled.
    state.past_pivot = loaded.past_pivot;
    Restored {
        state,
        input: std::sync::Arc::new(()),
        values: vec![None; registered.definition.nodes.len()],
        at: loaded.journal.last().map_or(Timestamp(0), |row| row.at),
        trace: None,
        erased: false,
    }
}
