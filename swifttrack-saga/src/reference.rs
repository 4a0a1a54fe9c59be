//! References to what earlier steps will have given.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::erased::{Value, get};
use crate::graph::{Expr, Graph};

/// Stands for an output that will exist when the step that takes it runs.
///
/// It comes from [`step`](crate::SagaBuilder::step) and its siblings, so it names
/// an earlier node; `'saga` is a different lifetime in every `define`, so it
/// names a node of this definition and no other. (Used in another one, rustc says
/// "borrowed data escapes outside of closure" or "lifetime may not live long enough".)
pub struct StepRef<'saga, T> {
    pub(crate) graph: &'saga Graph,
    pub(crate) expr: usize,
    brand: Brand<'saga>,
    output: PhantomData<fn() -> T>,
}

/// Invariant: one definition's lifetime cannot shrink into another's.
pub(crate) type Brand<'saga> = PhantomData<fn(&'saga ()) -> &'saga ()>;

impl<'saga, T: Clone + Send + Sync + 'static> StepRef<'saga, T> {
    pub(crate) fn new(graph: &'saga Graph, expr: usize) -> Self {
        Self {
            graph,
            expr,
            brand: PhantomData,
            output: PhantomData,
        }
    }

    /// Refers to a part of the output, or to something computed from it.
    ///
    /// `part` is a function pointer: it can capture nothing, so it depends on
    /// the output alone and gives the same after a restart.
    pub fn map<U: Clone + Send + Sync + 'static>(self, part: fn(&T) -> U) -> StepRef<'saga, U> {
        let part = move |whole: &Value| Arc::new(part(get(whole))) as Value;
        let expr = Expr::Map(self.expr, Arc::new(part));
        StepRef::new(self.graph, self.graph.expr(expr))
    }
}

impl<T> Clone for StepRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for StepRef<'_, T> {}

impl<T> fmt::Debug for StepRef<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StepRef({})", self.expr)
    }
}

/// Makes a step's input of what its saga has.
pub(crate) type Bind<In> = Box<dyn Fn(&Scope<'_>) -> Arc<In> + Send + Sync>;
/// Makes one part of it.
pub(crate) type BindPart<T> = Box<dyn Fn(&Scope<'_>) -> T + Send + Sync>;

/// What the references of one saga resolve to at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'s> {
    pub(crate) exprs: &'s [Expr],
    pub(crate) input: &'s Value,
    pub(crate) outputs: &'s [Option<Value>],
}

impl Scope<'_> {
    pub(crate) fn value(&self, expr: usize) -> Value {
        match &self.exprs[expr] {
            Expr::Input => Arc::clone(self.input),
            Expr::Output(node) => self.outputs[*node].clone().expect("it ran before"),
            Expr::Map(of, part) => part(&self.value(*of)),
        }
    }
}
