use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::builder::{BeforePivot, Finished, SagaBuilder};
use crate::definition::Definition;
use crate::erased::{Codec, Value};
use crate::graph::{Expr, Graph, NODES_MAX, Work};
use crate::reference::{Scope, StepRef};
use crate::step::Payload;

/// No name of a definition, a step or a signal is longer.
pub(crate) const NAME_BYTES_MAX: usize = 100;

/// A saga that takes an `I` and gives an `O`. Cheap to clone.
pub struct Saga<I, O = ()> {
    pub(crate) definition: Arc<Definition>,
    pub(crate) code: Arc<Code>,
    types: PhantomData<fn(I) -> O>,
}

/// What a definition does, beside what it says.
pub(crate) struct Code {
    pub(crate) work: Vec<Work>,
    pub(crate) exprs: Vec<Expr>,
    pub(crate) input: Codec,
    pub(crate) output: Codec,
    pub(crate) result: Box<dyn Fn(&Scope<'_>) -> Value + Send + Sync>,
}

impl<I: Payload> Saga<I> {
    /// Writes a saga down. The closure gets a builder and a reference to the
    /// saga's input; it runs once, now. References are of this saga alone: one of another saga is
    /// refused by the compiler, in the words "borrowed data escapes outside of closure" (see
    /// [`StepRef`](crate::StepRef)).
    ///
    /// # Errors
    ///
    /// When two nodes have one name, when a name has characters that a key cannot have, when
    /// there are more than 256 nodes, when a step is added beside an open group, or when an
    /// attempt is allowed less than 1 ms or more than 30 days.
    pub fn define<O, F>(name: &str, version: u32, write: F) -> Result<Saga<I, O>, DefineError>
    where
        O: Payload,
        F: for<'saga> FnOnce(
            SagaBuilder<'saga, BeforePivot>,
            StepRef<'saga, I>,
        ) -> Finished<'saga, O>,
    {
        check_name(name)?;
        let graph = Graph::default();
        let input = graph.expr(Expr::Input);
        let finished = write(SagaBuilder::new(&graph), StepRef::new(&graph, input));
        let (output, refs) = (finished.output, finished.refs);
        let (nodes, work, exprs) = graph.finish()?;
        let mut definition = Definition {
            name: name.into(),
            version,
            stages: Definition::divide(&nodes),
            nodes,
            deadline: None,
            fingerprint: 0,
            shape: "".into(),
        };
        definition.seal(&exprs, &refs);
        Ok(Saga {
            definition: Arc::new(definition),
            code: Arc::new(Code {
                work,
                exprs,
                input: Codec::of::<I>(),
                output: Codec::of::<O>(),
                result: Box::new(move |scope| output(scope) as Value),
            }),
            types: PhantomData,
        })
    }
}

impl<I, O> Saga<I, O> {
    /// Turns back if the pivot may not start (or, without one, if it has not ended) in this
    /// time from its start.
    #[must_use]
    pub fn deadline(mut self, limit: Duration) -> Self {
        Arc::make_mut(&mut self.definition).deadline = Some(limit);
        self
    }

    /// The saga as data.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }
}

impl<I, O> Clone for Saga<I, O> {
    fn clone(&self) -> Self {
        Self {
            definition: Arc::clone(&self.definition),
            code: Arc::clone(&self.code),
            types: PhantomData,
        }
    }
}

impl<I, O> fmt::Debug for Saga<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saga")
            .field("definition", &self.definition)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code")
            .field("work", &self.work)
            .finish_non_exhaustive()
    }
}

/// Why a definition was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DefineError(String);

impl DefineError {
    pub(crate) fn duplicate(name: &str) -> Self {
        Self(format!(
            "two nodes are named {name:?}: call `.named(…)` on one, since the name is in its idempotency key"
        ))
    }

    pub(crate) fn in_group(name: &str) -> Self {
        Self(format!(
            "{name:?} was added to the saga while a group was open: add it to the group"
        ))
    }

    pub(crate) fn attempt_timeout(name: &str, timeout: Duration) -> Self {
        Self(format!(
            "an attempt of {name:?} may take {timeout:?}: allow it 1 ms to 30 days"
        ))
    }

    pub(crate) fn too_many(name: &str) -> Self {
        Self(format!(
            "{name:?} is one too many: a saga has at most {NODES_MAX} nodes"
        ))
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), DefineError> {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
    if fits {
        return Ok(());
    }
    Err(DefineError(format!(
        "{name:?} is not a name: 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 - _ . /"
    )))
}
