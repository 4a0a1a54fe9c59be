//! Where a partner is.

use http::HeaderValue;
use url::{Host, Url};

use crate::Error;

/// The parts of a base URL, each in the form in which it is used.
#[derive(Clone, Debug)]
pub(super) struct Base {
    #[cfg(feature = "tls")]
    pub(super) tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    /// What the `Host` header says.
    pub(super) authority: HeaderValue,
    /// What stands before every path; no slash at its end.
    pub(super) prefix: String,
}

impl Base {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let refused = |why: &str| Error::local(format!("the URL {text:?} {why}"));
        let url = Url::parse(text).map_err(|error| {
            // The text is shown: with no scheme and host, there is no place for a secret in it.
            refused("cannot be used").with_source(error)
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            // Not shown: it would end up in a log.
            return Err(Error::local("the URL must not hold a user or a password"));
        }
        match url.scheme() {
            "http" => {}
            "https" if cfg!(feature = "tls") => {}
            "https" => return Err(refused("needs the feature tls")),
            _ => return Err(refused("is neither http nor https")),
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused("must have neither query nor fragment"));
        }
        let (host, shown) = match url.host() {
            Some(Host::Domain(name)) => (name.to_owned(), name.to_owned()),
            Some(Host::Ipv4(address)) => (address.to_string(), address.to_string()),
            Some(Host::Ipv6(address)) => (address.to_string(), format!("[{address}]")),
            None => return Err(refused("has no host")),
        };
        let authority = match url.port() {
            Some(port) => format!("{shown}:{port}"),
            None => shown,
        };
        Ok(Self {
            #[cfg(feature = "tls")]
            tls: url.scheme() == "https",
            host,
            port: url
                .port_or_known_default()
                .ok_or_else(|| refused("has no port"))?,
            authority: HeaderValue::try_from(authority)
                .map_err(|error| refused("has a host that HTTP cannot name").with_source(error))?,
            prefix: url.path().trim_end_matches('/').to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_url() {
        for (url, host, port, authority, prefix) in [
            (
                "http://localhost:5001",
                "localhost",
                5001,
                "localhost:5001",
                "",
            ),
            ("http://ros.example/", "ros.example", 80, "ros.example", ""),
            (
                "http://ros.example:80/v1/",
                "ros.example",
                80,
                "ros.example",
                "/v1",
            ),
            ("http://[::1]:5003/a/b", "::1", 5003, "[::1]:5003", "/a/b"),
            ("http://127.0.0.1", "127.0.0.1", 80, "127.0.0.1", ""),
            #[cfg(feature = "tls")]
            ("https://ros.example", "ros.example", 443, "ros.example", ""),
        ] {
            let base = Base::parse(url).unwrap();
            #[cfg(feature = "tls")]
            assert_eq!(base.tls, url.starts_with("https"), "{url}");
            let parts = (&*base.host, base.port, &*base.prefix);
            assert_eq!(parts, (host, port, prefix), "{url}");
            assert_eq!(base.authority, authority, "{url}");
        }
    }

    #[test]
    fn what_is_no_base_is_refused_by_name() {
        for url in [
            "",
            "ros.example",
            "ftp://ros.example",
            "http://",
            "http://h:99999",
            "http://h/?q=1",
            "http://h/#f",
        ] {
            let error = Base::parse(url).unwrap_err();
            assert!(error.is_local(), "{url}");
            assert!(error.to_string().contains(&format!("{url:?}")), "{error}");
        }
        let error = Base::parse("http://user:secret@h").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
