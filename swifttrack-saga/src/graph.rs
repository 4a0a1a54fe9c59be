//! What a definition is made of while it grows.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::definition::{Node, Undo};
use crate::erased::{Codec, ErasedStep, ErasedUndo, Value};
use crate::error::clip;
use crate::saga::{DefineError, check_name};

/// No definition has more nodes.
pub(crate) const NODES_MAX: usize = 256;
/// How long one attempt may be allowed to take.
const ATTEMPT_TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_hours(30 * 24);

/// The nodes so far. Cells, since references and builder share it.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: RefCell<Vec<Node>>,
    pub(crate) work: RefCell<Vec<Work>>,
    pub(crate) exprs: RefCell<Vec<Expr>>,
    stages: Cell<u16>,
    open: Cell<bool>,
    fault: RefCell<Option<DefineError>>,
}

/// What a reference stands for.
pub(crate) enum Expr {
    Input,
    Output(usize),
    Map(usize, Arc<dyn Fn(&Value) -> Value + Send + Sync>),
}

/// What the engine does for a node.
pub(crate) struct Work {
    pub(crate) codec: Codec,
    pub(crate) action: Action,
}

#[derive(Clone)]
pub(crate) enum Action {
    Step(Arc<dyn ErasedStep>, Option<Arc<dyn ErasedUndo>>),
    Sleep,
    /// What to go on with when the limit is over; none if the saga turns back. And how the
    /// words of a signal become the output.
    Signal {
        absent: Option<fn() -> Value>,
        hear: fn(&[u8]) -> serde_json::Result<Value>,
    },
}

/// What a definition is made of.
pub(crate) type Parts = (Vec<Node>, Vec<Work>, Vec<Expr>);

/// A node on its way into a graph.
pub(crate) struct Draft {
    pub(crate) node: Node,
    pub(crate) work: Work,
}

impl Graph {
    /// Adds an expression and returns its place.
    pub(crate) fn expr(&self, expr: Expr) -> usize {
        let mut exprs = self.exprs.borrow_mut();
        exprs.push(expr);
        exprs.len() - 1
    }

    /// Adds a node after all before it and returns the place of its output.
    pub(crate) fn node(&self, draft: Draft, refs: &[usize]) -> usize {
        if self.open.get() {
            self.fail(DefineError::in_group(&draft.node.name));
        }
        let stage = self.stages.get();
        self.stages.set(stage.saturating_add(1));
        self.push(draft, refs, stage)
    }

    /// Opens a group: its members run together.
    pub(crate) fn open(&self) {
        if self.open.replace(true) {
            self.fail(DefineError::in_group("parallel"));
        }
    }

    /// Adds a member to the open group.
    pub(crate) fn member(&self, draft: Draft, refs: &[usize]) -> usize {
        self.push(draft, refs, self.stages.get())
    }

    /// Closes the group.
    pub(crate) fn close(&self) {
        let stage = self.stages.get();
        let grown = self
            .nodes
            .borrow()
            .last()
            .is_some_and(|node| node.stage == stage);
        if grown {
            self.stages.set(stage.saturating_add(1));
        }
        self.open.set(false);
    }

    pub(crate) fn finish(self) -> Result<Parts, DefineError> {
        match self.fault.into_inner() {
            Some(fault) => Err(fault),
            None => Ok((
                self.nodes.into_inner(),
                self.work.into_inner(),
                self.exprs.into_inner(),
            )),
        }
    }

    fn push(&self, draft: Draft, refs: &[usize], stage: u16) -> usize {
        let Draft { mut node, work } = draft;
        let mut nodes = self.nodes.borrow_mut();
        if let Err(fault) = check_name(&node.name) {
            self.fail(fault);
        }
        if nodes.iter().any(|other| other.name == node.name) {
            self.fail(DefineError::duplicate(&node.name));
        }
        if nodes.len() >= NODES_MAX {
            self.fail(DefineError::too_many(clip(&node.name, 100)));
        }
        if let Err(fault) = check_policies(&node) {
            self.fail(fault);
        }
        node.refs = refs.to_vec();
        node.stage = stage;
        nodes.push(node);
        let place = nodes.len() - 1;
        drop(nodes);
        self.work.borrow_mut().push(work);
        self.expr(Expr::Output(place))
    }

    /// Keeps the first fault.
    fn fail(&self, fault: DefineError) {
        self.fault.borrow_mut().get_or_insert(fault);
    }
}

/// Refuses times in which nothing can be done, and those that no clock can hold.
fn check_policies(node: &Node) -> Result<(), DefineError> {
    let undo = match node.undo {
        Undo::By { policy, .. } => Some(policy),
        _ => None,
    };
    let mut policies = node.policy.into_iter().chain(undo);
    policies.try_for_each(|policy| {
        let timeout = policy.attempt_timeout;
        match ATTEMPT_TIMEOUTS.contains(&timeout) {
            true => Ok(()),
            false => Err(DefineError::attempt_timeout(&node.name, timeout)),
        }
    })
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input => f.write_str("Input"),
            Self::Output(node) => write!(f, "Output({node})"),
            Self::Map(of, _) => write!(f, "Map({of})"),
        }
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.action {
            Action::Step(..) => "Step",
            Action::Sleep => "Sleep",
            Action::Signal { .. } => "Signal",
        })
    }
}
