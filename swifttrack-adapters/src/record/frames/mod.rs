//! The same for framed protocols: calls written down at the socket, and answered from the record.

mod player;
mod recorder;
mod redaction;
mod reel;

pub use self::player::FramePlayer;
pub use self::recorder::FrameRecorder;
pub use self::redaction::FrameRedaction;
pub use self::reel::{RecordedCall, RecordedFrame, Reel};
