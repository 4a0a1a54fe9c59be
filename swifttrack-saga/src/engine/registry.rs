//! The definitions that an engine knows.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use tracing::Span;
use uuid::Uuid;

use crate::core::Unreadable;

use crate::definition::{Definition, Kind};
use crate::engine::error::Error;
use crate::engine::gate::Gate;
use crate::engine::meter::Meter;
use crate::erased::Value;
use crate::fingerprint::difference;
use crate::payload::PayloadCodec;
use crate::reference::Scope;
use crate::saga::{Code, Saga};
use crate::store::{Row, Shape, Store};
use crate::trace::TraceLink;

/// A definition, what it does, and where its sagas are filed.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) definition: Arc<Definition>,
    pub(crate) code: Arc<Code>,
    pub(crate) group: Arc<str>,
    /// One for each node that has a limit.
    pub(crate) gates: Vec<Option<Arc<Gate>>>,
    pub(crate) with: With,
    pub(crate) meter: Option<Meter>,
}

/// What the engine adds to all definitions.
#[derive(Clone, Default)]
pub(crate) struct With {
    pub(crate) codec: Option<Arc<dyn PayloadCodec>>,
    pub(crate) trace: Option<Arc<dyn TraceLink>>,
}

impl fmt::Debug for With {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("With")
            .field("codec", &self.codec.is_some())
            .field("trace", &self.trace.is_some())
            .finish()
    }
}

impl Registered {
    pub(crate) fn new<I, O>(saga: &Saga<I, O>) -> Self {
        let definition = saga.definition.clone();
        let limits = definition.nodes.iter().map(|node| node.concurrency);
        Self {
            group: format!("{}@{}", definition.name, definition.version).into(),
            gates: limits
                .map(|limit| limit.map(|max| Arc::new(Gate::new(max))))
                .collect(),
            code: saga.code.clone(),
            definition,
            with: With::default(),
            meter: None,
        }
    }

    /// What is stored for a payload.
    pub(crate) fn seal(&self, saga: Uuid, plain: Arc<[u8]>) -> Arc<[u8]> {
        match &self.with.codec {
            None => plain,
            Some(codec) => codec.seal(saga, &plain).into(),
        }
    }

    /// What a stored payload was.
    pub(crate) fn open(&self, saga: Uuid, stored: Arc<[u8]>) -> Result<Arc<[u8]>, Unreadable> {
        match &self.with.codec {
            None => Ok(stored),
            Some(codec) => match codec.open(saga, &stored) {
                Ok(plain) => Ok(plain.into()),
                Err(error) => Err(Unreadable::new(error.to_string())),
            },
        }
    }

    /// A journal whose payloads are what they were.
    pub(crate) fn open_rows<'r>(
        &self,
        saga: Uuid,
        rows: &'r [Row],
    ) -> Result<Cow<'r, [Row]>, Unreadable> {
        if self.with.codec.is_none() {
            return Ok(Cow::Borrowed(rows));
        }
        let opened = rows.iter().map(|row| {
            let payload = row.payload.clone();
            let payload = payload.map(|stored| self.open(saga, stored)).transpose();
            Ok(Row {
                payload: payload
                    .map_err(|error| Unreadable::new(format!("row {}: {error}", row.seq)))?,
                ..row.clone()
            })
        });
        opened.collect::<Result<_, _>>().map(Cow::Owned)
    }

    /// A span for a saga's time in memory, linked to the trace that its starter was in.
    pub(crate) fn span(&self, saga: Uuid, id: &str, trace: Option<&str>) -> Span {
        let Definition { name, version, .. } = &*self.definition;
        let span =
            tracing::info_span!(parent: None, "saga", %saga, definition = %name, version, id);
        if let (Some(link), Some(trace)) = (&self.with.trace, trace)
            && !span.is_disabled()
        {
            link.link(&span, trace);
        }
        span
    }

    /// Refuses another definition of this name and version.
    pub(crate) fn same_as(&self, other: &Definition) -> Result<(), Error> {
        unchanged(other, &self.definition.shape, &other.shape)
    }

    /// Refuses to be another than the shape that is kept under this name and version.
    pub(crate) fn is_kept_as(&self, shape: &str) -> Result<(), Error> {
        unchanged(&self.definition, shape, &self.definition.shape)
    }

    pub(crate) fn scope<'s>(&'s self, input: &'s Value, outputs: &'s [Option<Value>]) -> Scope<'s> {
        Scope {
            exprs: &self.code.exprs,
            input,
            outputs,
        }
    }
}

fn unchanged(definition: &Definition, was: &str, is: &str) -> Result<(), Error> {
    let (name, version) = (&definition.name, definition.version);
    difference(was, is).map_or(Ok(()), |difference| {
        Err(Error::changed(name, version, &difference))
    })
}

/// By name and version.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry {
    names: HashMap<Arc<str>, BTreeMap<u32, Arc<Registered>>>,
}

impl Registry {
    /// Refuses another definition of a name and version that it has.
    pub(crate) fn add(&mut self, new: Registered) -> Result<(), Error> {
        let definition = &new.definition;
        let versions = self.names.entry(definition.name.clone()).or_default();
        if let Some(known) = versions.get(&definition.version) {
            return known.same_as(definition);
        }
        versions.insert(definition.version, Arc::new(new));
        Ok(())
    }

    /// Adds this to all of them.
    pub(crate) fn with(&mut self, with: &With) {
        for registered in self.names.values_mut().flat_map(BTreeMap::values_mut) {
            Arc::make_mut(registered).with = with.clone();
        }
    }

    /// Counts all of them, by the recorder that is there now.
    pub(crate) fn meter(&mut self) {
        for registered in self.names.values_mut().flat_map(BTreeMap::values_mut) {
            let registered = Arc::make_mut(registered);
            registered.meter = Some(Meter::new(&registered.definition));
        }
    }

    pub(crate) fn get(&self, name: &str, version: u32) -> Option<&Arc<Registered>> {
        self.names.get(name)?.get(&version)
    }

    /// Whether a saga of this name may wait for such a signal: if none of its versions is
    /// registered here, nobody knows.
    pub(crate) fn may_hear(&self, name: &str, signal: &str) -> bool {
        let Some(versions) = self.names.get(name) else {
            return true;
        };
        versions.values().any(|registered| {
            let nodes = &registered.definition.nodes;
            nodes
                .iter()
                .any(|node| matches!(node.kind, Kind::Signal { .. }) && *node.name == *signal)
        })
    }

    /// Refuses definitions that have changed under their versions since the store first saw
    /// them; keeps those that it has not seen, if it is to.
    pub(crate) async fn unchanged(&self, store: &dyn Store, keep: bool) -> Result<(), Error> {
        let all: Vec<_> = self.all().collect();
        let shapes = all.iter().map(|registered| Shape {
            definition: registered.definition.name.to_string(),
            version: registered.definition.version,
            text: registered.definition.shape.to_string(),
        });
        let shapes: Vec<Shape> = shapes.collect();
        let kept = store.describe(&shapes, keep).await?;
        let mut pairs = all.into_iter().zip(&kept);
        pairs.try_for_each(|(registered, kept)| registered.is_kept_as(kept))
    }

    /// The newest version of a name.
    pub(crate) fn newest(&self, name: &str) -> Option<&Arc<Registered>> {
        self.names.get(name)?.values().next_back()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Registered>> {
        self.names.values().flat_map(BTreeMap::values)
    }
}
