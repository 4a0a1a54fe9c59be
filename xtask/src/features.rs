//! The features of the crates, and which of them this machine can build.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::{Result, workspace};

/// What users take one by one; no other member of the workspace has features.
pub(crate) const CRATES: [&str; 4] = [
    "swifttrack-saga",
    "swifttrack-outbox",
    "swifttrack-breaker",
    "swifttrack-adapters",
];

/// The one feature for which more has to be there than a C compiler with make.
const NEEDS_OPENSSL: (&str, &str) = ("swifttrack-outbox", "kafka-tls");

/// The features of this crate that can be built here.
pub(crate) fn of(name: &str) -> Result<Vec<String>> {
    let mut found = in_manifest(name)?;
    if left_out().is_some() {
        found.retain(|feature| (name, feature.as_str()) != NEEDS_OPENSSL);
    }
    Ok(found)
}

/// For cargo: all features of these packages, as far as they can be built here.
pub(crate) fn all<'n>(packages: impl IntoIterator<Item = &'n str>) -> Result<Vec<String>> {
    if left_out().is_none() {
        return Ok(vec!["--all-features".to_owned()]);
    }
    let mut list = Vec::new();
    for name in packages.into_iter().filter(|name| CRATES.contains(name)) {
        list.extend(
            of(name)?
                .into_iter()
                .map(|feature| format!("{name}/{feature}")),
        );
    }
    Ok(vec!["--features".to_owned(), list.join(",")])
}

/// Says which feature cannot be built here, and what it needs; looks once.
pub(crate) fn left_out() -> Option<String> {
    static OPENSSL: OnceLock<bool> = OnceLock::new();
    let there = *OPENSSL.get_or_init(|| {
        // Where the crate that links it looks, too.
        std::env::var_os("OPENSSL_DIR").is_some()
            || Command::new("pkg-config")
                .args(["--exists", "openssl"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
    });
    let (name, feature) = NEEDS_OPENSSL;
    (!there).then(|| {
        format!(
            "The feature `{feature}` of {name} is left out: no OpenSSL to build against (on Debian: \
             apt-get install libssl-dev pkg-config)."
        )
    })
}

/// The names in the manifest's table of features.
fn in_manifest(name: &str) -> Result<Vec<String>> {
    let manifest = workspace().join(name).join("Cargo.toml");
    let text = fs::read_to_string(&manifest)
        .map_err(|error| format!("{}: {error}", manifest.display()))?;
    let table = text.split("\n[features]\n").nth(1).unwrap_or_default();
    let table = table.split("\n[").next().unwrap_or_default();
    let names = table.lines().filter_map(|line| line.split_once(" = ["));
    Ok(names
        .map(|(name, _)| name.to_owned())
        .filter(|name| name != "default")
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_of_the_outbox_is_found() {
        let found = in_manifest("swifttrack-outbox").unwrap();
        for feature in ["postgres", "sqlite", "kafka", "kafka-tls"] {
            assert!(found.iter().any(|name| name == feature), "{found:?}");
        }
        assert!(!found.iter().any(|name| name == "default"));
    }

    /// One that appears elsewhere would be left out of the tests where OpenSSL is.
    #[test]
    fn only_these_crates_have_features() {
        let root = fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
        let (_, members) = root.split_once("members = [").unwrap();
        let (members, _) = members.split_once(']').unwrap();
        for member in members.split('"').skip(1).step_by(2) {
            let has = !in_manifest(member).unwrap().is_empty();
            assert_eq!(has, CRATES.contains(&member), "{member}");
        }
    }
}
