//! The limits of a server.

use std::time::Duration;

/// What a server grants its clients.
///
/// # Defaults
///
/// | option | default |
/// |---|---|
/// | [`window`](Self::window) | 256 |
/// | [`payload_bytes_max`](Self::payload_bytes_max) | 1 MiB |
/// | [`heartbeat`](Self::heartbeat) | 5 s |
/// | [`hello_timeout`](Self::hello_timeout) | 5 s |
/// | [`connections_max`](Self::connections_max) | 1,024 |
/// | [`drain_max`](Self::drain_max) | 10 s |
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    pub(super) window: u16,
    pub(super) payload_bytes_max: u32,
    pub(super) heartbeat: Duration,
    pub(super) hello_timeout: Duration,
    pub(super) connections_max: usize,
    pub(super) drain_max: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerOptions {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            window: 256,
            payload_bytes_max: 1024 * 1024,
            heartbeat: Duration::from_secs(5),
            hello_timeout: Duration::from_secs(5),
            connections_max: 1024,
            drain_max: Duration::from_secs(10),
        }
    }

    /// The most requests of a connection that may be unanswered. Beyond it nothing is read.
    ///
    /// # Panics
    ///
    /// When it is 0.
    #[must_use]
    #[track_caller]
    pub const fn window(self, window: u16) -> Self {
        assert!(window > 0, "a window of 0 lets no request through");
        Self { window, ..self }
    }

    /// The largest request that is taken.
    #[must_use]
    pub const fn payload_bytes_max(self, payload_bytes_max: u32) -> Self {
        Self {
            payload_bytes_max,
            ..self
        }
    }

    /// After how long a silence a side asks whether the other lives.
    ///
    /// # Panics
    ///
    /// When it is below a millisecond.
    #[must_use]
    #[track_caller]
    pub const fn heartbeat(self, heartbeat: Duration) -> Self {
        assert!(heartbeat.as_millis() > 0, "the wire counts in milliseconds");
        Self { heartbeat, ..self }
    }

    /// How long a client may take to greet.
    #[must_use]
    pub const fn hello_timeout(self, hello_timeout: Duration) -> Self {
        Self {
            hello_timeout,
            ..self
        }
    }

    /// The most connections at a time; further ones wait in the listener's queue.
    #[must_use]
    pub const fn connections_max(self, connections_max: usize) -> Self {
        Self {
            connections_max,
            ..self
        }
    }

    /// How long requests in flight may take once the server goes away.
    #[must_use]
    pub const fn drain_max(self, drain_max: Duration) -> Self {
        Self { drain_max, ..self }
    }
}
