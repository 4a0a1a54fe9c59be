//! The limits of a client.

use std::time::Duration;

/// How a [`Client`](super::Client) behaves.
///
/// # Defaults
///
/// | option | default |
/// |---|---|
/// | [`name`](Self::name), [`token`](Self::token) | empty |
/// | [`window_max`](Self::window_max) | 1,024, or the server's if it is smaller |
/// | [`waiting_max`](Self::waiting_max) | 4,096 |
/// | [`payload_bytes_max`](Self::payload_bytes_max) | 1 MiB |
/// | [`connect_timeout`](Self::connect_timeout) | 5 s |
/// | [`backoff`](Self::backoff) | 100 ms, doubling to 10 s, each with a jitter down to its half |
/// | [`drain_max`](Self::drain_max) | 30 s |
#[derive(Clone)]
pub struct Options {
    pub(super) name: String,
    pub(super) token: String,
    pub(super) window_max: u16,
    pub(super) waiting_max: usize,
    pub(super) payload_bytes_max: u32,
    pub(super) connect_timeout: Duration,
    pub(super) backoff: Duration,
    pub(super) backoff_max: Duration,
    pub(super) drain_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: String::new(),
            token: String::new(),
            window_max: 1024,
            waiting_max: 4096,
            payload_bytes_max: 1024 * 1024,
            connect_timeout: Duration::from_secs(5),
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            drain_max: Duration::from_secs(30),
        }
    }
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How the client calls itself in its greeting.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..self
        }
    }

    /// The secret in its greeting.
    #[must_use]
    pub fn token(self, token: impl Into<String>) -> Self {
        Self {
            token: token.into(),
            ..self
        }
    }

    /// The most requests unanswered on a connection, whatever the server allows.
    ///
    /// # Panics
    ///
    /// When it is 0.
    #[must_use]
    #[track_caller]
    pub fn window_max(self, window_max: u16) -> Self {
        assert!(window_max > 0, "a window of 0 lets no call through");
        Self { window_max, ..self }
    }

    /// The most calls that wait for a connection or for the window; further ones are refused at once.
    #[must_use]
    pub fn waiting_max(self, waiting_max: usize) -> Self {
        Self {
            waiting_max,
            ..self
        }
    }

    /// The largest answer that is taken.
    #[must_use]
    pub fn payload_bytes_max(self, payload_bytes_max: u32) -> Self {
        Self {
            payload_bytes_max,
            ..self
        }
    }

    /// How long name, socket, TLS and greeting may take together.
    #[must_use]
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        Self {
            connect_timeout,
            ..self
        }
    }

    /// How long calls are refused after the first failed connect, doubling with each to `max`.
    /// A second connection in a row that ends before it gave an answer is a failed one too.
    #[must_use]
    pub fn backoff(self, first: Duration, max: Duration) -> Self {
        Self {
            backoff: first,
            backoff_max: max.max(first),
            ..self
        }
    }

    /// How long a connection that takes no more calls may keep those it has.
    #[must_use]
    pub fn drain_max(self, drain_max: Duration) -> Self {
        Self { drain_max, ..self }
    }

    /// The pause after this many failures; `jitter` is 0.0 to 1.0.
    pub(super) fn pause(&self, failures: u32, jitter: f64) -> Duration {
        let doubled = self
            .backoff
            .saturating_mul(1 << failures.saturating_sub(1).min(20));
        doubled.min(self.backoff_max).mul_f64(0.5 + jitter / 2.0)
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("name", &self.name)
            .field("window_max", &self.window_max)
            .field("waiting_max", &self.waiting_max)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_to_its_limit_and_jitters_down_to_half() {
        let options = Options::new();
        let ms = |failures, jitter| options.pause(failures, jitter).as_millis();
        assert_eq!((ms(1, 1.0), ms(1, 0.0)), (100, 50));
        assert_eq!((ms(2, 1.0), ms(7, 1.0)), (200, 6400));
        assert_eq!((ms(8, 1.0), ms(u32::MAX, 1.0)), (10_000, 10_000));
    }
}
