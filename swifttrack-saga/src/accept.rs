//! What a definition takes, before its pivot, as its pivot and after it.

use std::sync::Arc;

use crate::definition::{Kind, Undo};
use crate::erased::{Bound, BoundForward, Codec};
use crate::graph::{Action, Draft, Work};
use crate::reference::Bind;
use crate::step::{Compensate, ForwardStep, Payload, Step};
use crate::tune::{ByUndo, Irrevocable, Onward, ReadOnly, Tuned};

/// A [`Step`], [tuned](crate::Tune) or not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a step",
    label = "a step is expected here"
)]
pub trait Task {
    /// What it needs.
    type In;
    /// What it gives.
    type Out: Payload;
}

/// A [`ForwardStep`], [tuned](crate::TuneForward) or not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not allowed after the pivot",
    label = "this may fail for good, and there is no way back any more",
    note = "add it before the pivot",
    note = "or, if repeating it always succeeds in the end, implement `ForwardStep` for it instead of `Step`"
)]
pub trait ForwardTask {
    /// What it needs.
    type In;
    /// What it gives.
    type Out: Payload;
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn into_draft(self, input: Bind<Self::In>) -> Draft;
}

impl<S: Step> Task for S {
    type In = S::In;
    type Out = S::Out;
}

impl<S: Step> Task for Tuned<S, ByUndo> {
    type In = S::In;
    type Out = S::Out;
}

impl<S: Step> Task for Tuned<S, Irrevocable> {
    type In = S::In;
    type Out = S::Out;
}

impl<S: Step> Task for Tuned<S, ReadOnly> {
    type In = S::In;
    type Out = S::Out;
}

/// A step of which it is settled what happens when the saga turns back: one with
/// [`Compensate`], or one that is called [`irrevocable`](crate::Tune::irrevocable) or
/// [`read_only`](crate::Tune::read_only).
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no undo",
    label = "a step before the pivot needs an undo",
    note = "implement `Compensate` for the step",
    note = "or say why it needs none: `.irrevocable(\"reason\")`, or `.read_only()` if it changes nothing"
)]
pub trait Undoable: Task {
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn into_draft(self, input: Bind<Self::In>) -> Draft;
}

/// The point of no return: any [`Step`], since it is never undone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a step",
    label = "a step is expected here"
)]
pub trait PivotTask: Task {
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn into_pivot(self, input: Bind<Self::In>) -> Draft;
}

#[diagnostic::do_not_recommend]
impl<S: Compensate> Undoable for S {
    #[allow(private_interfaces)]
    fn into_draft(self, input: Bind<S::In>) -> Draft {
        Tuned::new(self).into_draft(input)
    }
}

#[diagnostic::do_not_recommend]
impl<S: Compensate> Undoable for Tuned<S> {
    #[allow(private_interfaces)]
    fn into_draft(self, input: Bind<S::In>) -> Draft {
        let undo = self.undo();
        self.draft(Kind::Step, undo, |step| {
            let step = Arc::new(Bound { step, input });
            Action::Step(step.clone(), Some(step))
        })
    }
}

#[diagnostic::do_not_recommend]
impl<S: Step> Undoable for Tuned<S, Irrevocable> {
    #[allow(private_interfaces)]
    fn into_draft(self, input: Bind<S::In>) -> Draft {
        let undo = Undo::Irrevocable(self.reason);
        self.without_undo(Kind::Step, undo, input)
    }
}

#[diagnostic::do_not_recommend]
impl<S: Step> Undoable for Tuned<S, ReadOnly> {
    #[allow(private_interfaces)]
    fn into_draft(self, input: Bind<S::In>) -> Draft {
        self.without_undo(Kind::Step, Undo::Nothing, input)
    }
}

#[diagnostic::do_not_recommend]
impl<S: Step> PivotTask for S {
    #[allow(private_interfaces)]
    fn into_pivot(self, input: Bind<S::In>) -> Draft {
        Tuned::new(self).into_pivot(input)
    }
}

#[diagnostic::do_not_recommend]
impl<S: Step> PivotTask for Tuned<S> {
    #[allow(private_interfaces)]
    fn into_pivot(self, input: Bind<S::In>) -> Draft {
        self.without_undo(Kind::Pivot, Undo::Never, input)
    }
}

#[diagnostic::do_not_recommend]
impl<S: ForwardStep> ForwardTask for S {
    type In = S::In;
    type Out = S::Out;

    #[allow(private_interfaces)]
    fn into_draft(self, input: Bind<S::In>) -> Draft {
        ForwardTask::into_draft(Tuned::onward(self), input)
    }
}

#[diagnostic::do_not_recommend]
impl<S: ForwardStep> ForwardTask for Tuned<S, Onward> {
    type In = S::In;
    type Out = S::Out;

    #[allow(private_interfaces)]
    fn into_draft(self, input: Bind<S::In>) -> Draft {
        let node = self.node(Kind::Forward, Undo::Never);
        let step = Arc::new(BoundForward {
            step: self.step,
            input,
        });
        Draft {
            node,
            work: Work {
                codec: Codec::of::<S::Out>(),
                action: Action::Step(step, None),
            },
        }
    }
}

impl<S: Step, U> Tuned<S, U> {
    fn without_undo(self, kind: Kind, undo: Undo, input: Bind<S::In>) -> Draft {
        self.draft(kind, undo, |step| {
            Action::Step(Arc::new(Bound { step, input }), None)
        })
    }

    fn draft(self, kind: Kind, undo: Undo, action: impl FnOnce(S) -> Action) -> Draft {
        Draft {
            node: self.node(kind, undo),
            work: Work {
                codec: Codec::of::<S::Out>(),
                action: action(self.step),
            },
        }
    }
}
