//! Durable sagas: steps forward, undo in reverse, every transition in your own database.
