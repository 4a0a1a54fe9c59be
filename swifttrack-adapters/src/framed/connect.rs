//! How a client reaches its partner.

use std::fmt;
use std::io;
use std::str::FromStr;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A byte stream both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Opens a connection. [`Endpoint`] is the usual one; a test brings a pipe.
///
/// # Cancel safety
///
/// The future may be dropped at any point; no half-open connection may remain.
#[async_trait]
pub trait Connect: fmt::Debug + Send + Sync + 'static {
    /// Opens one connection.
    ///
    /// # Errors
    ///
    /// When there is none to be had. Nothing was sent.
    async fn connect(&self) -> io::Result<Box<dyn Duplex>>;
}

/// A host and port, by TCP or TLS: `tcp://wms.example:5002`, `tls://wms.example:5002`.
#[derive(Clone, Debug)]
pub struct Endpoint {
    host: String,
    port: u16,
    #[cfg(feature = "tls")]
    tls: Option<crate::Tls>,
}

impl Endpoint {
    /// Plain TCP.
    #[must_use]
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// TLS by these rules.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(host: impl Into<String>, port: u16, tls: crate::Tls) -> Self {
        Self {
            tls: Some(tls),
            ..Self::tcp(host, port)
        }
    }

    /// The same place under other rules of TLS, if it is by TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(self, tls: crate::Tls) -> Self {
        let tls = self.tls.is_some().then_some(tls);
        Self { tls, ..self }
    }
}

#[async_trait]
impl Connect for Endpoint {
    async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await?;
        // Frames are small and batched by us: waiting for more only adds latency.
        socket.set_nodelay(true)?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return Ok(Box::new(tls.connect(&self.host, socket).await?));
        }
        Ok(Box::new(socket))
    }
}

/// An address is a scheme (`tcp` or `tls`), a host and a port.
#[derive(Debug, thiserror::Error)]
#[error("not an address of the form tcp://host:port or tls://host:port: {0}")]
pub struct EndpointError(String);

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let wrong = || EndpointError(text.to_owned());
        let (scheme, place) = text.split_once("://").ok_or_else(wrong)?;
        let (host, port) = place
            .strip_suffix('/')
            .unwrap_or(place)
            .rsplit_once(':')
            .ok_or_else(wrong)?;
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let port = port.parse().map_err(|_| wrong())?;
        let legal = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if host.is_empty() || !host.chars().all(legal) {
            return Err(wrong());
        }
        match scheme {
            "tcp" => Ok(Self::tcp(host, port)),
            #[cfg(feature = "tls")]
            "tls" => Ok(Self::tls(host, port, crate::Tls::webpki())),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_scheme_host_and_port() {
        for (text, host, port) in [
            ("tcp://localhost:5002", "localhost", 5002),
            ("tcp://[::1]:5002/", "::1", 5002),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.host.as_str(), endpoint.port), (host, port));
        }
        for wrong in [
            "localhost:5002",
            "tcp://localhost",
            "tcp://:5002",
            "tcp://localhost:70000",
            "ftp://localhost:5002",
            "tcp://user@localhost:5002",
            "tcp://localhost:5002/path",
        ] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }
}
