//! Durable sagas: steps forward, undo in reverse, every transition in your own database.

pub mod hook;
pub mod store;
