//! What a connection to Kafka is secured with, and whether this build has it.
//!
//! librdkafka is compiled with or without OpenSSL. Without it a secured listener would be refused
//! where the first client is made, in words that name no feature of this crate; here it is refused
//! where it is asked for.

use rdkafka::config::ClientConfig;

use crate::error::Error;

/// What librdkafka may have been built without, by its own name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Tls,
    Scram,
    OauthBearer,
    Kerberos,
}

impl Part {
    /// The word for it in `builtin.features`.
    const fn builtin(self) -> &'static str {
        match self {
            Self::Tls => "ssl",
            Self::Scram => "sasl_scram",
            Self::OauthBearer => "sasl_oauthbearer",
            Self::Kerberos => "sasl_gssapi",
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::Tls | Self::Scram | Self::OauthBearer => {
                "enable the feature `kafka-tls` of swifttrack-outbox"
            }
            Self::Kerberos => {
                "depend on rdkafka with its feature `gssapi`, or use PLAIN or SCRAM-SHA-512"
            }
        }
    }
}

/// What a property asks for.
fn asked_for(name: &str, value: &str) -> Option<Part> {
    let is = |word: &str| value.eq_ignore_ascii_case(word);
    match name {
        "security.protocol" => (is("ssl") || is("sasl_ssl")).then_some(Part::Tls),
        "sasl.mechanism" | "sasl.mechanisms" if is("GSSAPI") => Some(Part::Kerberos),
        "sasl.mechanism" | "sasl.mechanisms" if is("OAUTHBEARER") => Some(Part::OauthBearer),
        "sasl.mechanism" | "sasl.mechanisms" => value
            .to_ascii_uppercase()
            .starts_with("SCRAM-")
            .then_some(Part::Scram),
        "enable.ssl.certificate.verification" => Some(Part::Tls),
        _ if name.starts_with("ssl.") => Some(Part::Tls),
        _ if name.starts_with("sasl.kerberos.") => Some(Part::Kerberos),
        _ if name.starts_with("sasl.oauthbearer.") => Some(Part::OauthBearer),
        _ => None,
    }
}

/// Refuses a property for which librdkafka would have to be built otherwise.
pub(crate) fn check_property(name: &str, value: &str) -> Result<(), Error> {
    check_against(&builtin_features(), name, value)
}

fn check_against(builtin: &str, name: &str, value: &str) -> Result<(), Error> {
    let Some(part) = asked_for(name, value) else {
        return Ok(());
    };
    if builtin.split(',').any(|word| word == part.builtin()) {
        return Ok(());
    }
    // The value of another property may be a secret.
    let asked = match name {
        "security.protocol" | "sasl.mechanism" | "sasl.mechanisms" => format!("{name}={value}"),
        _ => name.to_owned(),
    };
    Err(Error::config(format!(
        "{asked} is not in this build: {}",
        part.remedy()
    )))
}

/// Refuses what no single property shows: SASL without a mechanism is Kerberos to librdkafka.
pub(crate) fn check_whole(config: &ClientConfig) -> Result<(), Error> {
    let sasl = config
        .get("security.protocol")
        .is_some_and(|protocol| protocol.to_ascii_lowercase().starts_with("sasl_"));
    let named = ["sasl.mechanism", "sasl.mechanisms"]
        .iter()
        .any(|name| config.get(name).is_some());
    if sasl && !named && check_property("sasl.mechanism", "GSSAPI").is_err() {
        return Err(Error::config(
            "security.protocol asks for SASL and sasl.mechanism is not set: \
             set it to PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
        ));
    }
    Ok(())
}

/// `gzip,snappy,ssl,sasl,…`: what librdkafka says of itself, so that a feature which somebody else
/// in the dependency tree switched on counts too.
fn builtin_features() -> String {
    ClientConfig::new()
        .create_native_config()
        .and_then(|config| config.get("builtin.features"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHOUT: &str = "gzip,snappy,sasl,regex,lz4,sasl_plain,plugins";
    const WITH: &str = "gzip,snappy,ssl,sasl,regex,lz4,sasl_plain,sasl_scram,sasl_oauthbearer";

    #[test]
    fn what_needs_openssl_is_refused_without_it_and_names_the_feature() {
        for (name, value) in [
            ("security.protocol", "SSL"),
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.mechanisms", "OAUTHBEARER"),
            ("ssl.ca.location", "/etc/kafka/ca.pem"),
            ("enable.ssl.certificate.verification", "false"),
        ] {
            let refused = check_against(WITHOUT, name, value).unwrap_err();
            assert!(refused.is_config(), "{refused}");
            let said = refused.to_string();
            assert!(
                said.contains(name) && said.contains("`kafka-tls`"),
                "{said}"
            );
            check_against(WITH, name, value).unwrap();
        }
    }

    #[test]
    fn what_every_build_has_is_taken() {
        for (name, value) in [
            ("security.protocol", "plaintext"),
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "app"),
            ("compression.type", "lz4"),
        ] {
            check_against(WITHOUT, name, value).unwrap();
        }
    }

    #[test]
    fn no_secret_is_told() {
        let refused = check_against(WITHOUT, "ssl.key.password", "hunter2").unwrap_err();
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
    }

    /// What librdkafka says of itself is read, and the feature does what it promises.
    #[test]
    fn this_build_has_what_its_features_say() {
        let builtin = builtin_features();
        let has = |word: &str| builtin.split(',').any(|it| it == word);
        assert!(has("sasl_plain"), "{builtin}");
        if cfg!(feature = "kafka-tls") {
            assert!(has("ssl") && has("sasl_scram"), "{builtin}");
        }
    }

    #[test]
    fn sasl_needs_a_mechanism() {
        let mut config = ClientConfig::new();
        config.set("security.protocol", "SASL_PLAINTEXT");
        let refused = check_whole(&config).unwrap_err();
        assert!(refused.is_config() && refused.to_string().contains("sasl.mechanism"));
        config.set("sasl.mechanisms", "PLAIN");
        check_whole(&config).unwrap();
        check_whole(&ClientConfig::new()).unwrap();
    }
}
