//! The partners over real sockets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cms;
mod control;
mod http;
mod interop;
mod judge;
mod line;
mod load;
mod modes;
mod planted;
mod process;
mod rig;
mod ros;
mod rules;
mod wms;
