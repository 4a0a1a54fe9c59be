//! Steps that run together.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::accept::{ForwardTask, Undoable};
use crate::builder::{AfterPivot, BeforePivot, refs, sleep};
use crate::graph::{Draft, Graph};
use crate::inputs::Inputs;
use crate::reference::{Brand, StepRef};
use crate::signal::{Await, AwaitForward};
use crate::step::Payload;

/// Takes the members of one group. Made by [`SagaBuilder::parallel`](crate::SagaBuilder::parallel).
#[derive(Debug)]
pub struct Group<'saga, P> {
    graph: &'saga Graph,
    brand: Brand<'saga>,
    phase: PhantomData<P>,
}

/// What a member of a group will give: no input to anything until the group is closed.
#[must_use = "return it from the group's closure to use what it gives"]
pub struct Member<'saga, T>(StepRef<'saga, T>);

impl<'saga> Group<'saga, BeforePivot> {
    /// Adds a step that runs beside the others.
    pub fn step<S: Undoable>(
        &self,
        step: S,
        inputs: impl Inputs<'saga, S::In>,
    ) -> Member<'saga, S::Out> {
        let refs = refs(&inputs);
        self.member(step.into_draft(inputs.bind()), &refs)
    }

    /// Waits for a word from outside beside the others.
    pub fn await_signal<S: Await>(&self, signal: S) -> Member<'saga, S::Out> {
        self.member(signal.into_draft(), &[])
    }
}

impl<'saga> Group<'saga, AfterPivot> {
    /// Adds a step that runs beside the others.
    pub fn step<S: ForwardTask>(
        &self,
        step: S,
        inputs: impl Inputs<'saga, S::In>,
    ) -> Member<'saga, S::Out> {
        let refs = refs(&inputs);
        self.member(step.into_draft(inputs.bind()), &refs)
    }

    /// Waits for a word from outside beside the others.
    pub fn await_signal<S: AwaitForward>(&self, signal: S) -> Member<'saga, S::Out> {
        self.member(signal.into_draft(), &[])
    }
}

impl<'saga, P> Group<'saga, P> {
    pub(crate) fn new(graph: &'saga Graph) -> Self {
        Self {
            graph,
            brand: PhantomData,
            phase: PhantomData,
        }
    }

    /// Lasts at least so long.
    pub fn sleep(&self, name: &'static str, pause: Duration) {
        self.graph.member(sleep(name, pause), &[]);
    }

    fn member<T: Payload>(&self, draft: Draft, refs: &[usize]) -> Member<'saga, T> {
        Member(StepRef::new(self.graph, self.graph.member(draft, refs)))
    }
}

/// What a group's closure may return: nothing, a [`Member`], or a tuple of up to eight.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a group gives",
    label = "return what `step` gave, or a tuple of up to eight of them"
)]
pub trait Members<'saga> {
    /// The references outside of the group.
    type Refs;
    #[doc(hidden)]
    fn close(self) -> Self::Refs;
}

impl<'saga, T> Members<'saga> for Member<'saga, T> {
    type Refs = StepRef<'saga, T>;

    fn close(self) -> Self::Refs {
        self.0
    }
}

macro_rules! tuple {
    ($($member:ident),*) => {
        impl<'saga, $($member),*> Members<'saga> for ($(Member<'saga, $member>,)*) {
            type Refs = ($(StepRef<'saga, $member>,)*);

            #[allow(non_snake_case, clippy::unused_unit)]
            fn close(self) -> Self::Refs {
                let ($($member,)*) = self;
                ($($member.0,)*)
            }
        }
    };
}

tuple!();
tuple!(A);
tuple!(A, B);
tuple!(A, B, C);
tuple!(A, B, C, D);
tuple!(A, B, C, D, E);
tuple!(A, B, C, D, E, F);
tuple!(A, B, C, D, E, F, G);
tuple!(A, B, C, D, E, F, G, H);

impl<T> fmt::Debug for Member<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Member({})", self.0.expr)
    }
}
