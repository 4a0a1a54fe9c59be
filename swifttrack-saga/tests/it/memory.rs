//! The laws of a store, on the one in memory.

use swifttrack_saga::store::memory::MemoryStore;

#[allow(clippy::unused_async)] // the suite's shape
async fn make() -> (MemoryStore, ()) {
    (MemoryStore::new(), ())
}

swifttrack_saga::store_conformance!(make);
