//! How a relay ends.

use std::time::Duration;

use super::{Action, Core, FLUSH_MAX, Moment, Producer, Stopping};

impl<P: Clone> Core<P> {
    pub(super) fn drive_stop(&mut self, now: Moment, todo: &mut Vec<Action<P>>) {
        match self.stopping {
            Stopping::Draining { until } => {
                let late = now >= until;
                let idle =
                    self.in_flight.is_empty() && !self.has_writes() && self.writing.is_none();
                if !idle && !late {
                    return;
                }
                match self.producer {
                    Producer::Open => {
                        self.close(if late { Duration::ZERO } else { FLUSH_MAX }, todo)
                    }
                    Producer::Closing => {}
                    Producer::Absent if !self.keeping => {
                        // Rows that may still be on their way keep their slots until the lease
                        // runs out.
                        self.stopping = Stopping::Leaving { clean: idle };
                        if idle && self.registered {
                            self.keeping = true;
                            todo.push(Action::Leave { life: self.life });
                        } else {
                            self.stopping = Stopping::Done;
                            todo.push(Action::Stopped { clean: idle });
                        }
                    }
                    Producer::Absent => {
                        if late {
                            self.stopping = Stopping::Done;
                            todo.push(Action::Stopped { clean: false });
                        }
                    }
                }
            }
            Stopping::Leaving { clean } if !self.keeping => {
                self.stopping = Stopping::Done;
                todo.push(Action::Stopped { clean });
            }
            _ => {}
        }
    }
}
