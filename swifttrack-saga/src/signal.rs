//! Words from outside that a saga waits for.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::definition::{Kind, Node};
use crate::erased::{Codec, Value};
use crate::graph::{Action, Draft, Work};
use crate::step::Payload;

/// The name of a signal and the type of what it says.
///
/// A constant that the definition and the sender share, so that they cannot
/// disagree:
///
/// ```
/// use swifttrack_saga::Signal;
///
/// const DRIVER_ACK: Signal<String> = Signal::new("driver-ack");
/// ```
#[derive(Debug)]
pub struct Signal<T> {
    name: &'static str,
    says: PhantomData<fn() -> T>,
}

impl<T: Payload> Signal<T> {
    /// Names a signal, and the node that waits for it.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            says: PhantomData,
        }
    }

    /// The saga turns back if nothing is heard for this long.
    #[must_use]
    pub const fn within(self, limit: Duration) -> Within<T> {
        Within(self, limit)
    }

    /// The saga goes on with `None` if nothing is heard for this long.
    #[must_use]
    pub const fn or_none_after(self, limit: Duration) -> OrNone<T> {
        OrNone(self, limit)
    }

    /// What the signal is called.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// A signal that must come in time. Made by [`Signal::within`].
#[derive(Debug)]
pub struct Within<T>(Signal<T>, Duration);

/// A signal that may stay away. Made by [`Signal::or_none_after`].
#[derive(Debug)]
pub struct OrNone<T>(Signal<T>, Duration);

/// A signal, with or without a limit.
pub trait Await {
    /// What the saga goes on with.
    type Out: Payload;
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn into_draft(self) -> Draft;
}

/// A wait that cannot make the saga turn back.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not allowed after the pivot",
    label = "if this signal is late the saga turns back, and there is no way back any more",
    note = "wait without a limit, or go on without it: `.or_none_after(…)`"
)]
pub trait AwaitForward: Await {}

impl<T: Payload> Await for Signal<T> {
    type Out = T;
    #[allow(private_interfaces)]
    fn into_draft(self) -> Draft {
        draft::<T, T, Plain>(self.name, None, None)
    }
}

impl<T: Payload> Await for Within<T> {
    type Out = T;
    #[allow(private_interfaces)]
    fn into_draft(self) -> Draft {
        draft::<T, T, Plain>(self.0.name, Some(self.1), None)
    }
}

impl<T: Payload> Await for OrNone<T> {
    type Out = Option<T>;
    #[allow(private_interfaces)]
    fn into_draft(self) -> Draft {
        let absent: fn() -> Value = || Arc::new(None::<T>) as Value;
        draft::<T, Option<T>, Maybe>(self.0.name, Some(self.1), Some(absent))
    }
}

#[diagnostic::do_not_recommend]
impl<T: Payload> AwaitForward for Signal<T> {}
#[diagnostic::do_not_recommend]
impl<T: Payload> AwaitForward for OrNone<T> {}

/// How a signal's words become a node's output.
trait Hear<T, U> {
    fn hear(words: T) -> U;
}

/// As they are.
struct Plain;
/// As those that may have stayed away.
struct Maybe;

impl<T> Hear<T, T> for Plain {
    fn hear(words: T) -> T {
        words
    }
}

impl<T> Hear<T, Option<T>> for Maybe {
    fn hear(words: T) -> Option<T> {
        Some(words)
    }
}

fn draft<T: Payload, U: Payload, H: Hear<T, U>>(
    name: &'static str,
    limit: Option<Duration>,
    absent: Option<fn() -> Value>,
) -> Draft {
    let kind = Kind::Signal {
        limit,
        optional: absent.is_some(),
    };
    Draft {
        node: Node::named(name, kind),
        work: Work {
            codec: Codec::of::<U>(),
            action: Action::Signal {
                absent,
                hear: |bytes| Ok(Arc::new(H::hear(serde_json::from_slice::<T>(bytes)?)) as Value),
            },
        },
    }
}
