//! Where a definition is written down.

use std::marker::PhantomData;
use std::time::Duration;

use crate::accept::{ForwardTask, PivotTask, Undoable};
use crate::definition::{Kind, Node};
use crate::erased::Codec;
use crate::graph::{Action, Draft, Graph, Work};
use crate::group::{Group, Members};
use crate::inputs::{Inputs, Refs};
use crate::reference::{Bind, Brand, StepRef};
use crate::signal::{Await, AwaitForward};

/// Takes the steps of one definition, in the order in which they run.
///
/// `P` says whether there is still a way back.
#[derive(Debug)]
pub struct SagaBuilder<'saga, P> {
    graph: &'saga Graph,
    brand: Brand<'saga>,
    phase: PhantomData<P>,
}

/// The saga can still turn back: every step has its undo settled.
#[derive(Debug)]
pub enum BeforePivot {}

/// The saga can only go on: every step succeeds if it is repeated.
#[derive(Debug)]
pub enum AfterPivot {}

/// A definition that is complete. Made by [`SagaBuilder::finish`].
#[must_use = "return it from the closure"]
pub struct Finished<'saga, O> {
    pub(crate) output: Bind<O>,
    pub(crate) refs: Vec<usize>,
    brand: Brand<'saga>,
}

impl<'saga> SagaBuilder<'saga, BeforePivot> {
    pub(crate) fn new(graph: &'saga Graph) -> Self {
        Self {
            graph,
            brand: PhantomData,
            phase: PhantomData,
        }
    }

    /// Adds a step. It starts when the one before it is done.
    pub fn step<S: Undoable>(
        &self,
        step: S,
        inputs: impl Inputs<'saga, S::In>,
    ) -> StepRef<'saga, S::Out> {
        let refs = refs(&inputs);
        let place = self.graph.node(step.into_draft(inputs.bind()), &refs);
        StepRef::new(self.graph, place)
    }

    /// Adds the point of no return.
    ///
    /// Up to the moment at which it may start the saga can be cancelled; from then on it can
    /// only go on, unless this step is rejected for certain.
    pub fn pivot<S: PivotTask>(
        self,
        step: S,
        inputs: impl Inputs<'saga, S::In>,
    ) -> (SagaBuilder<'saga, AfterPivot>, StepRef<'saga, S::Out>) {
        let refs = refs(&inputs);
        let place = self.graph.node(step.into_pivot(inputs.bind()), &refs);
        let after = SagaBuilder {
            graph: self.graph,
            brand: PhantomData,
            phase: PhantomData,
        };
        (after, StepRef::new(self.graph, place))
    }

    /// Waits for a word from outside.
    pub fn await_signal<S: Await>(&self, signal: S) -> StepRef<'saga, S::Out> {
        StepRef::new(self.graph, self.graph.node(signal.into_draft(), &[]))
    }
}

impl<'saga> SagaBuilder<'saga, AfterPivot> {
    /// Adds a step that succeeds if it is only repeated for long enough.
    pub fn step<S: ForwardTask>(
        &self,
        step: S,
        inputs: impl Inputs<'saga, S::In>,
    ) -> StepRef<'saga, S::Out> {
        let refs = refs(&inputs);
        let place = self.graph.node(step.into_draft(inputs.bind()), &refs);
        StepRef::new(self.graph, place)
    }

    /// Waits for a word from outside.
    pub fn await_signal<S: AwaitForward>(&self, signal: S) -> StepRef<'saga, S::Out> {
        StepRef::new(self.graph, self.graph.node(signal.into_draft(), &[]))
    }
}

impl<'saga, P> SagaBuilder<'saga, P> {
    /// Opens a group: its members start together, in the order in which they are written, and
    /// what comes after it waits for all of them.
    ///
    /// A member cannot take what another gives: inside the closure there is only a
    /// [`Member`](crate::Member), which becomes a reference when the group closes.
    ///
    /// ```text
    /// let (label, invoice) = s.parallel(|g| (g.step(Print, order), g.step(Bill, order)));
    /// ```
    pub fn parallel<M: Members<'saga>>(
        &self,
        write: impl FnOnce(&Group<'saga, P>) -> M,
    ) -> M::Refs {
        self.graph.open();
        let members = write(&Group::new(self.graph));
        self.graph.close();
        members.close()
    }

    /// Waits for this long. It costs no thread, no memory and no polling.
    pub fn sleep(&self, name: &'static str, pause: Duration) {
        self.graph.node(sleep(name, pause), &[]);
    }

    /// Says what the saga gives, and ends the definition.
    ///
    /// The result is not stored: it is put together again from the outputs, each of which has
    /// passed the limit of a [`Payload`](crate::Payload), and so has no limit of its own.
    pub fn finish<O>(self, output: impl Inputs<'saga, O>) -> Finished<'saga, O> {
        Finished {
            refs: refs(&output),
            output: output.bind(),
            brand: PhantomData,
        }
    }
}

pub(crate) fn sleep(name: &'static str, pause: Duration) -> Draft {
    Draft {
        node: Node::named(name, Kind::Sleep(pause)),
        work: Work {
            codec: Codec::of::<()>(),
            action: Action::Sleep,
        },
    }
}

pub(crate) fn refs<'saga>(from: &impl Refs<'saga>) -> Vec<usize> {
    let mut refs = Vec::new();
    from.exprs(&mut refs);
    refs
}

impl<O> std::fmt::Debug for Finished<'_, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Finished").field(&self.refs).finish()
    }
}
