//! How attempts begin.

use std::sync::Arc;

use tokio::time::Instant;
use uuid::Uuid;

use super::Lane;
use crate::core::Status;
use crate::definition::Undo;
use crate::engine::attempt::{Backward, Forward, backward, forward};
use crate::engine::gate::{Gate, Ticket};
use crate::engine::live::{InFlight, Live, Waiting};
use crate::engine::shared::{Event, Report, Shared};
use crate::graph::Action;
use crate::step::{Attempt, Evidence};

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
        let work = work(live, node, status == Status::UndoRunning);
        let run = async move {
            let (verdict, until) = match work {
                Work::Forward(work) => forward(work).await,
                Work::Backward(work) => backward(work).await,
            };
            drop(pass);
            let report = Report {
                saga,
                node,
                attempt: number,
                verdict,
                until: shared.clock.at(until),
                began,
            };
            shared.send(lane, Event::Report(Box::new(report)));
        };
        let task = tokio::spawn(run).abort_handle();
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

enum Work {
    Forward(Forward),
    Backward(Backward),
}

fn work(live: &Live, place: u16, undo: bool) -> Work {
    let plan = &live.definition().nodes[usize::from(place)];
    let node = live.node(place);
    let name = &plan.name;
    let policy = match (undo, plan.undo) {
        (true, Undo::By { policy, .. }) => policy,
        _ => plan.policy.expect("what runs is a step"),
    };
    let attempt = Attempt {
        key: match undo {
            true => format!("{}:{name}:undo", live.id),
            false => format!("{}:{name}", live.id),
        },
        number: node.attempt,
        deadline: Instant::now() + policy.attempt_timeout,
        saga: live.saga,
        id: live.id.clone(),
    };
    let work = &live.registered.code.work[usize::from(place)];
    let Action::Step(step, compensate) = &work.action else {
        unreachable!("what runs is a step")
    };
    let input = step.input(&live.registered.scope(&live.input, &live.values));
    if undo {
        let known = live.values[usize::from(place)].clone();
        return Work::Backward(Backward {
            undo: compensate.clone().expect("what is undone has an undo"),
            attempt,
            input,
            evidence: match known.filter(|_| !node.maybe) {
                Some(output) => Evidence::Done(output),
                None => Evidence::Maybe,
            },
        });
    }
    Work::Forward(Forward {
        step: step.clone(),
        codec: work.codec,
        attempt,
        input,
        ask: node.maybe,
        timeout: policy.attempt_timeout,
    })
}

fn gate_of(live: &Live, node: u16) -> Option<Arc<Gate>> {
    live.registered.gates[usize::from(node)].clone()
}
