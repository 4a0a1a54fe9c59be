//! The definitions that an engine knows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::definition::Definition;
use crate::engine::gate::Gate;
use crate::erased::Value;
use crate::reference::Scope;
use crate::saga::{Code, Saga};

/// A definition, what it does, and where its sagas are filed.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) definition: Arc<Definition>,
    pub(crate) code: Arc<Code>,
    pub(crate) group: Arc<str>,
    /// One for each node that has a limit.
    pub(crate) gates: Vec<Option<Arc<Gate>>>,
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
        }
    }

    pub(crate) fn scope<'s>(&'s self, input: &'s Value, outputs: &'s [Option<Value>]) -> Scope<'s> {
        Scope {
            exprs: &self.code.exprs,
            input,
            outputs,
        }
    }
}

/// By name and version.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry {
    names: HashMap<Arc<str>, BTreeMap<u32, Arc<Registered>>>,
}

impl Registry {
    /// False if another definition has this name and version.
    pub(crate) fn add(&mut self, new: Registered) -> bool {
        let definition = &new.definition;
        let versions = self.names.entry(definition.name.clone()).or_default();
        if let Some(known) = versions.get(&definition.version) {
            return known.definition.fingerprint == definition.fingerprint;
        }
        versions.insert(definition.version, Arc::new(new));
        true
    }

    pub(crate) fn get(&self, name: &str, version: u32) -> Option<&Arc<Registered>> {
        self.names.get(name)?.get(&version)
    }

    /// The newest version of a name.
    pub(crate) fn newest(&self, name: &str) -> Option<&Arc<Registered>> {
        self.names.get(name)?.values().next_back()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Registered>> {
        self.names.values().flat_map(BTreeMap::values)
    }
}
