//! TLS for those who ask for it: one set of rules for every protocol here.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whom a client trusts, and how it shows itself.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

/// A certificate or a key could not be used.
#[derive(Debug, thiserror::Error)]
#[error("the {what} cannot be used")]
pub struct TlsError {
    what: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Tls {
    /// Trusts the public authorities.
    #[must_use]
    pub fn webpki() -> Self {
        let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Self(Arc::new(
            builder()
                .with_root_certificates(roots)
                .with_no_client_auth(),
        ))
    }

    /// Trusts these authorities (PEM) and no others.
    ///
    /// # Errors
    ///
    /// When the PEM holds no certificate, or one that cannot be used.
    pub fn trusting(authorities_pem: &[u8]) -> Result<Self, TlsError> {
        let roots = roots(authorities_pem)?;
        Ok(Self(Arc::new(
            builder()
                .with_root_certificates(roots)
                .with_no_client_auth(),
        )))
    }

    /// Trusts these authorities (PEM), and shows a certificate of its own (PEM chain and key).
    ///
    /// # Errors
    ///
    /// When any of them cannot be used.
    pub fn mutual(
        authorities_pem: &[u8],
        chain_pem: &[u8],
        key_pem: &[u8],
    ) -> Result<Self, TlsError> {
        let roots = roots(authorities_pem)?;
        let chain = certificates(chain_pem)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(wrong("private key"))?;
        let config = builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(wrong("client certificate"))?;
        Ok(Self(Arc::new(config)))
    }

    pub(crate) async fn connect<S>(&self, host: &str, socket: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        TlsConnector::from(Arc::clone(&self.0))
            .connect(name, socket)
            .await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// With the provider named, so that another crate's choice of a default is not ours.
#[allow(clippy::missing_panics_doc, clippy::expect_used)]
fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the protocol versions that rustls defaults to")
}

fn roots(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(wrong("authority"))?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(wrong("certificate"))?;
    if certificates.is_empty() {
        return Err(wrong("certificate")("the PEM holds none"));
    }
    Ok(certificates)
}

fn wrong<E>(what: &'static str) -> impl Fn(E) -> TlsError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |error| TlsError {
        what,
        source: error.into(),
    }
}
