//! How attempts begin.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Lane;
use crate::core::Status;
use crate::engine::attempt::Work;
use crate::engine::gate::{Gate, Ticket};
use crate::engine::live::{InFlight, Live, Waiting};
use crate::engine::shared::{Event, Report, Shared};

/// A place inside a gate; when it is dropped, the next goes in.
struct Pass {
    gate: Arc<Gate>,
    shared: Arc<Shared>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(next) = self.gate.leave() {
            self.shared.send(next.lane, Event::Admit(next));
        }
    }
}

impl Lane {
    /// Begins an attempt that a durable transition has allowed, or has it wait its turn.
    pub(super) fn begin(&mut self, saga: Uuid, node: u16) {
        self.begin_inside(saga, node, None);
    }

    /// The same, for one that was let in at its gate.
    pub(super) fn admit(&mut self, ticket: Ticket) {
        let known = self.sagas.get(&ticket.saga);
        let Some(gate) = known.and_then(|live| gate_of(live, ticket.node)) else {
            // Its saga has left, and with it the knowledge of the gate.
            return self.pass_on(ticket);
        };
        let pass = Pass {
            gate,
            shared: self.shared.clone(),
        };
        self.forget_waiting(ticket.saga, ticket.node);
        self.begin_inside(ticket.saga, ticket.node, Some(pass));
    }

    fn begin_inside(&mut self, saga: Uuid, node: u16, pass: Option<Pass>) {
        let may_act = self.shared.clock.may_act();
        let lane = self.index;
        let Some(live) = self.sagas.get_mut(&saga) else {
            return;
        };
        let status = live.node(node).status;
        if !matches!(status, Status::Running | Status::UndoRunning) || live.under_way(node) {
            return;
        }
        if !may_act {
            self.postponed.push((saga, node));
            return;
        }
        let pass = match (pass, gate_of(live, node)) {
            (Some(pass), _) => Some(pass),
            (None, None) => None,
            (None, Some(gate)) => {
                if !gate.enter(Ticket { lane, saga, node }) {
                    live.waiting.push(Waiting { node, on: None });
                    return;
                }
                Some(Pass {
                    gate,
                    shared: self.shared.clone(),
                })
            }
        };
        let shared = self.shared.clone();
        let number = live.node(node).attempt;
        let began = shared.blocked.wakes();
        let work = Work::of(live, node, status == Status::UndoRunning);
        let registered = live.registered.clone();
        let started = Instant::now();
        // Not an async block, which would hold the attempt's future twice.
        let run = work.run().map(move |(verdict, until)| {
            drop(pass);
            if let Some(meter) = &registered.meter {
                meter.attempted(node, started, &verdict);
            }
            let report = Report {
                saga,
                node,
                attempt: number,
                verdict,
                until: shared.clock.at(until),
                began,
            };
            shared.send(lane, Event::Report(report));
        });
        let span = tracing::info_span!(
            parent: &live.span,
            "attempt",
            step = %live.definition().nodes[usize::from(node)].name,
            attempt = number,
            undo = status == Status::UndoRunning,
        );
        let task = tokio::spawn(run.instrument(span)).abort_handle();
        live.attempts.push(InFlight { node, task });
    }

    /// Attempts that had to wait for the lease.
    pub(super) fn begin_postponed(&mut self) {
        if self.postponed.is_empty() || !self.shared.clock.may_act() {
            return;
        }
        for (saga, node) in std::mem::take(&mut self.postponed) {
            self.begin(saga, node);
        }
    }

    /// Takes a waiting attempt out of the queues it stands in.
    pub(super) fn stop_waiting(&mut self, saga: Uuid, node: u16) {
        if let Some(waiting) = self.forget_waiting(saga, node)
            && let Some(live) = self.sagas.get(&saga)
        {
            self.leave_queue(live, &waiting);
        }
    }

    pub(super) fn forget_waiting(&mut self, saga: Uuid, node: u16) -> Option<Waiting> {
        let live = self.sagas.get_mut(&saga)?;
        let mut waiting = live.waiting.iter();
        let place = waiting.position(|waiting| waiting.node == node)?;
        Some(live.waiting.swap_remove(place))
    }

    pub(super) fn leave_queue(&self, live: &Live, waiting: &Waiting) {
        match &waiting.on {
            Some((on, turn, _)) => self.shared.blocked.give_up(on, *turn),
            None => {
                let ticket = Ticket {
                    lane: self.index,
                    saga: live.saga,
                    node: waiting.node,
                };
                if let Some(gate) = gate_of(live, waiting.node)
                    && !gate.give_up(ticket)
                {
                    // It had been let in: the place goes to the next.
                    drop(Pass {
                        gate,
                        shared: self.shared.clone(),
                    });
                }
            }
        }
    }

    /// A place came free for a saga that is gone: `leave_queue` passed it on already.
    fn pass_on(&self, ticket: Ticket) {
        tracing::trace!(saga = %ticket.saga, "a gate opened for a saga that has left");
    }
}

fn gate_of(live: &Live, node: u16) -> Option<Arc<Gate>> {
    live.registered.gates[usize::from(node)].clone()
}
