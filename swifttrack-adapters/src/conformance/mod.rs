//! For authors of adapters: partners that misbehave on demand.

#[cfg(feature = "http")]
mod scripted_http;

#[cfg(feature = "http")]
pub use self::scripted_http::{Act, Received, ScriptedHttp};
