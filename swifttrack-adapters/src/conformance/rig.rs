//! What an author brings.

use async_trait::async_trait;

use crate::Adapter;

/// How the partner treats the next forward call, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// Says, in its own well-formed words, that it did not do it and may be asked again.
    Busy,
    /// Does it, and says nothing for as long as the connection lasts.
    Hang,
    /// Does nothing, and drops the connection.
    ResetBefore,
    /// Does it, and drops the connection.
    ResetAfter,
    /// Does it, and answers what is not its protocol.
    Garbage,
    /// Does it, answers half, and closes.
    HalfReply,
    /// Does it, and answers twice.
    DuplicateReply,
    /// Takes it in only after a while, as over a slow network: what comes meanwhile comes first.
    Late,
}

/// An adapter, and a partner for it that does as it is told.
///
/// `n` names an effect: each has a request, a subject and a key of its own.
#[async_trait]
pub trait Rig: Send + Sync {
    /// The adapter under test.
    type Adapter: Adapter;

    /// The adapter, connected to the partner.
    fn adapter(&self) -> &Self::Adapter;

    /// The same adapter for an address where nobody listens.
    fn adapter_of_nobody(&self) -> Self::Adapter;

    /// What asks for the `n`-th effect.
    fn request(&self, n: u32) -> <Self::Adapter as Adapter>::Request;

    /// What names the `n`-th effect.
    fn subject(&self, n: u32) -> <Self::Adapter as Adapter>::Subject;

    /// Whether an answer is that of the `n`-th effect, as far as it shows.
    fn answers(&self, answer: &<Self::Adapter as Adapter>::Response, n: u32) -> bool;

    /// Has the partner misbehave at the next forward call.
    async fn misbehave(&self, how: Misbehaviour);

    /// How many `n`-th effects stand, by the partner's own books: applied and not taken back.
    async fn live(&self, n: u32) -> usize;
}
