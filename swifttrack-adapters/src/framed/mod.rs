//! Binary protocols over TCP: frames, many calls in flight on one connection, answers in any order.
//!
//! | module's part | what it is for |
//! |---|---|
//! | [`Layout`], [`Checked`] | how a frame's header looks |
//! | [`Codec`], [`Frame`] | frames in and out of a byte stream |
//! | [`Message`], [`Reader`], [`Writer`] | fields in and out of a payload |

mod codec;
mod layout;
mod malformed;
mod payload;

pub use self::codec::{Codec, Frame};
pub use self::layout::{Checked, Head, Layout};
pub use self::malformed::Malformed;
pub use self::payload::{Message, Reader, Writer};
