//! What makes one binary protocol differ from another.

use std::ops::RangeInclusive;

use super::{Layout, Message};

/// A protocol of requests and answers: a header, messages, and the names of its errors.
///
/// Greeting, heartbeat, window, going away and errors are the same for all
/// (see [`control`](super::control)); this is what remains, and it is a page
/// of code. The types `01`, `03`, `05`, `81`, `83` and `FF` are taken.
pub trait Protocol: Send + Sync + 'static {
    /// The frame's header.
    type Layout: Layout;
    /// What is asked.
    type Request: Message + Send + 'static;
    /// What is answered.
    type Answer: Message + Send + 'static;

    /// The header with its magic.
    const LAYOUT: Self::Layout;
    /// The versions that both sides agree on one of in their greeting.
    const VERSIONS: RangeInclusive<u8> = 1..=1;

    /// The name of an error code, for [`Error::code`](crate::Error::code); `None` keeps the number.
    #[must_use]
    fn code_name(code: u16) -> Option<&'static str> {
        let _ = code;
        None
    }
}
