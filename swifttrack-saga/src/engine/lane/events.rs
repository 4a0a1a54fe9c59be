//! What a lane does about what it hears.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use super::{EVICT_AFTER, Held, Lane, SHARD_WAIT};
use crate::core::{Input, Status};
use crate::engine::attempt::Verdict;
use crate::engine::gate::Ticket;
use crate::engine::live::{Live, Waiting};
use crate::engine::shared::{Event, Report, StartRequest};
use crate::store::{ShardLease, StoreError, Timestamp};

/// How long a refused attempt stays out of a crowded memory, at least.
const DEFER_LEAST: Duration = Duration::from_secs(5);

impl Lane {
    pub(super) fn on_event(&mut self, event: Event) {
        match event {
            Event::Report(report) => self.on_report(report),
            Event::Admit(ticket) => self.admit(ticket),
            Event::Go(ticket) => {
                self.forget_waiting(ticket.saga, ticket.node);
                self.begin(ticket.saga, ticket.node);
            }
            Event::Wake(on) => self.on_wake(&on),
            Event::Take(loaded) => {
                for loaded in loaded {
                    self.take(loaded);
                }
            }
            Event::Look(saga) => {
                if self.sagas.contains_key(&saga) {
                    self.reload.insert(saga);
                }
            }
            Event::Lease(lease) => self.on_lease(lease),
            Event::Drain(lease, reply) => self.on_drain(&lease, reply),
            Event::Lost => self.lose_all(),
            Event::Stop => (),
        }
    }

    fn on_report(&mut self, report: Report) {
        let Report {
            saga,
            node,
            attempt,
            verdict,
            until,
            began,
        } = report;
        let Some(live) = self.sagas.get_mut(&saga) else {
            return;
        };
        if live.node(node).attempt != attempt {
            return;
        }
        live.attempts.retain(|attempt| attempt.node != node);
        if !matches!(verdict, Verdict::Blocked { .. }) {
            live.patience.retain(|(place, ..)| *place != node);
        }
        let (input, value) = match verdict.into_input(node, attempt, until) {
            Ok(told) => told,
            Err((on, retry_after)) => {
                return self.on_blocked(saga, node, on, retry_after, began);
            }
        };
        self.feed(saga, input, value);
        let live = self.sagas.get(&saga);
        if live.is_none_or(|live| live.crashes == 0 || !live.state.running()) {
            self.shared.not_alone(saga);
        }
    }

    /// Nothing was sent: no row, no attempt used up.
    fn on_blocked(
        &mut self,
        saga: Uuid,
        node: u16,
        on: Arc<str>,
        retry_after: Duration,
        began: u64,
    ) {
        let now = self.shared.clock.now();
        let ticket = Ticket {
            lane: self.index,
            saga,
            node,
        };
        let patience_max = self.shared.settings.attention_blocked;
        let draining = self.holds(saga);
        let Some(live) = self.sagas.get_mut(&saga) else {
            return;
        };
        let known = live.patience.iter().find(|(place, ..)| *place == node);
        let (turn, since) = match known {
            Some((_, turn, since)) => (*turn, *since),
            None => {
                let turn = self.shared.blocked.turn();
                live.patience.push((node, turn, now));
                (turn, now)
            }
        };
        if live.pointless(node) || draining {
            return self.feed(saga, Input::Withdrawn { node }, None);
        }
        if self.shared.crowded() {
            // Memory is for those who can go on: this one comes back by time.
            let due = now.saturating_add(retry_after.max(DEFER_LEAST));
            return self.feed(saga, Input::Deferred { node, due }, None);
        }
        if !self.shared.blocked.wait(&on, turn, ticket, began) {
            return self.begin(saga, node);
        }
        // A pause of nothing would be a hot loop.
        let until = now.saturating_add(retry_after.max(Duration::from_millis(1)));
        let too_long = now.since(since) >= patience_max && !live.state.attention;
        live.waiting.push(Waiting {
            node,
            on: Some((on.clone(), turn, until)),
        });
        if too_long {
            let name = &live.definition().nodes[usize::from(node)].name;
            let reason = format!("{name} has been blocked on {on} for {patience_max:?}").into();
            self.feed(saga, Input::Attention { reason }, None);
        }
        self.set_timer(saga);
    }

    /// Ends the pauses of what calls `on`, oldest first.
    fn on_wake(&mut self, on: &str) {
        let mut found: Vec<(Timestamp, Uuid, u16)> = Vec::new();
        for live in self.sagas.values() {
            for (place, plan) in (0_u16..).zip(&live.definition().nodes) {
                let node = live.node(place);
                let waits = match node.status {
                    Status::Waiting => true,
                    // A quiet period is not hurried.
                    Status::UndoWaiting => node.attempt > 0,
                    _ => false,
                };
                if waits && plan.on == Some(on) {
                    found.push((live.state.started, live.saga, place));
                }
            }
        }
        found.sort_unstable();
        for (_, saga, node) in found {
            self.feed(saga, Input::Due { node }, None);
        }
    }

    pub(super) fn on_start(&mut self, start: StartRequest) {
        if start.reply.is_closed() {
            return;
        }
        let key = (start.registered.definition.name.clone(), start.id.clone());
        if self.starting.contains(&key) {
            self.again.push(start);
            return;
        }
        let group = &start.registered.group;
        let shards = self.open.get(group).filter(|shards| !shards.is_empty());
        let Some(shards) = shards else {
            let until = Instant::now() + SHARD_WAIT;
            self.shardless.push_back((until, start));
            return;
        };
        let shard = shards[self.rng.random_range(0..shards.len())];
        let saga = self.shared.new_saga(&mut self.rng);
        let input = start.bytes.clone();
        let hold = self.shared.room() == 0;
        self.starting.insert(key);
        let mut live = Live::started(saga, shard, start);
        live.tells = self.shared.tells;
        self.insert(live);
        self.feed_held(saga, Input::Start { input }, None, hold);
    }

    /// Timers, and whatever waits for time to pass.
    pub(super) fn on_time(&mut self) {
        let now = self.shared.clock.now();
        while let Some(Reverse((at, saga))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            self.on_timer(saga, now);
        }
        self.begin_postponed();
        let instant = Instant::now();
        while let Some((until, _)) = self.shardless.front() {
            let open = |start: &StartRequest, lane: &Self| {
                let shards = lane.open.get(&start.registered.group);
                shards.is_some_and(|shards| !shards.is_empty())
            };
            let late = *until <= instant;
            let Some((until, start)) = self.shardless.pop_front() else {
                break;
            };
            if open(&start, self) {
                self.again.push(start);
            } else if late {
                Self::refuse(start, StoreError::unavailable("no shard came free in time"));
            } else {
                self.shardless.push_front((until, start));
                break;
            }
        }
    }

    fn on_timer(&mut self, saga: Uuid, now: Timestamp) {
        let Some(live) = self.sagas.get_mut(&saga) else {
            return;
        };
        live.timer = None;
        if live.stuck.is_some() {
            return;
        }
        let waiting = live.waiting.iter();
        let over: Vec<u16> = waiting
            .filter(|waiting| waiting.on.as_ref().is_some_and(|(.., until)| *until <= now))
            .map(|waiting| waiting.node)
            .collect();
        for node in over {
            self.stop_waiting(saga, node);
            self.begin(saga, node);
        }
        // Each input makes one node go on, so this ends.
        let rounds = self
            .sagas
            .get(&saga)
            .map_or(0, |live| live.state.nodes.len() + 1);
        for _ in 0..rounds {
            let due = self.sagas.get(&saga).and_then(|live| live.state.next_due());
            let input = match due {
                Some((at, Some(node))) if at <= now => Input::Due { node },
                Some((at, None)) if at <= now => Input::Deadline,
                _ => break,
            };
            self.feed(saga, input, None);
        }
        self.set_timer(saga);
    }

    fn on_lease(&mut self, lease: ShardLease) {
        let key = (lease.group.clone(), lease.shard);
        let shards = self.open.entry(lease.group.clone()).or_default();
        if !shards.contains(&lease.shard) {
            shards.push(lease.shard);
        }
        self.leases.insert(
            key,
            Held {
                lease,
                draining: None,
            },
        );
    }

    fn on_drain(&mut self, lease: &ShardLease, reply: oneshot::Sender<()>) {
        let key = (lease.group.clone(), lease.shard);
        let Some(held) = self.leases.get_mut(&key) else {
            let _ = reply.send(());
            return;
        };
        held.draining = Some(reply);
        if let Some(shards) = self.open.get_mut(&lease.group) {
            shards.retain(|shard| *shard != lease.shard);
        }
        let of_shard: Vec<Uuid> = self
            .sagas
            .values()
            .filter(|live| live.shard == lease.shard && live.registered.group == lease.group)
            .map(|live| live.saga)
            .collect();
        for saga in of_shard {
            let waiting = self.sagas[&saga].waiting.iter();
            let waiting: Vec<u16> = waiting.map(|waiting| waiting.node).collect();
            for node in waiting {
                self.withdraw(saga, node);
            }
        }
    }

    /// Gives quiet shards back.
    pub(super) fn finish_drains(&mut self) {
        let draining: Vec<(Arc<str>, u16)> = self
            .leases
            .iter()
            .filter(|(_, held)| held.draining.is_some())
            .map(|(key, _)| key.clone())
            .collect();
        for key in draining {
            let of_shard: Vec<Uuid> = self
                .sagas
                .values()
                .filter(|live| live.shard == key.1 && live.registered.group == key.0)
                .map(|live| live.saga)
                .collect();
            let idle: Vec<Uuid> = of_shard
                .iter()
                .copied()
                .filter(|saga| self.sagas[saga].idle() && !self.reload.contains(saga))
                .collect();
            for saga in &idle {
                self.remove(*saga);
            }
            if idle.len() == of_shard.len()
                && let Some(held) = self.leases.remove(&key)
                && let Some(reply) = held.draining
            {
                let _ = reply.send(());
            }
        }
    }

    /// Everything here belongs to somebody else now.
    pub(super) fn lose_all(&mut self) {
        self.leases.clear();
        self.open.clear();
        self.dirty.clear();
        self.reload.clear();
        self.stuck.clear();
        self.postponed.clear();
        let all: Vec<Uuid> = self.sagas.keys().copied().collect();
        for saga in all {
            if let Some(mut live) = self.remove(saga)
                && let Some(starter) = live.starter.take()
            {
                let error = StoreError::fenced("the lease was lost during the start");
                Self::refuse(*starter, error);
            }
        }
    }

    /// Lets a saga leave memory that has nothing to do for long.
    pub(super) fn evict_if_idle(&mut self, saga: Uuid) {
        let now = self.shared.clock.now();
        let Some(live) = self.sagas.get(&saga) else {
            return;
        };
        if !live.idle() || live.state.running() || self.reload.contains(&saga) {
            return;
        }
        let horizon = now.saturating_add(EVICT_AFTER);
        let soon = live.state.next_due().is_some_and(|(due, _)| due <= horizon);
        let soon = soon && !self.shared.crowded();
        if live.state.held() || !soon {
            self.remove(saga);
        }
    }
}
