//! Exchanges written down once and answered from the record ever after.
//!
//! ```text
//!   rest::Client ─► Recorder ─► http::Client ─► partner      once, against the real one
//!                      └──────► Cassette (redacted)
//!   rest::Client ─► Player ◄── Cassette                      in every test since
//! ```
//!
//! A cassette is a text file to be read and reviewed: one JSON object a line.
//! What is secret or differs from run to run is struck out on the way in, and on
//! the way to a comparison as well, so a replay matches.

mod cassette;
mod player;
mod recorder;
mod redaction;

pub use self::cassette::{Cassette, CassetteError, Recorded};
pub use self::player::Player;
pub use self::recorder::Recorder;
pub use self::redaction::Redaction;
