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
//!
//! A framed protocol has a [`FrameRecorder`] and a [`FramePlayer`], which take the
//! place of its [`Endpoint`](crate::framed::Endpoint) (with the feature `framed`).

mod cassette;
#[cfg(feature = "framed")]
mod frames;
mod lines;
mod player;
mod recorder;
mod redaction;

pub use self::cassette::{Cassette, Recorded};
#[cfg(feature = "framed")]
pub use self::frames::{
    FramePlayer, FrameRecorder, FrameRedaction, RecordedCall, RecordedFrame, Reel,
};
pub use self::lines::CassetteError;
pub use self::player::Player;
pub use self::recorder::Recorder;
pub use self::redaction::Redaction;
