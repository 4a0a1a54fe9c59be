//! Which tests are left out for want of a service.
//!
//! A test that needs a service says so where it is ignored, `#[ignore = "needs Kafka: …"]`. The
//! test harness cannot choose by that reason, so the sources are read for the names. The mark of a
//! function stands for that; where a macro names the functions, for the module around them; where
//! it is handed to a macro, for the module of the file, or of the name that a `cell!` begins with.
//!
//! A test that needs `any Kafka broker` makes do with the in-process one where there is no Kafka.
//! One that needs `Kafka's jars` starts a broker of its own, to stop it or to reach it otherwise.

use std::fs;
use std::path::{Path, PathBuf};

use crate::services::Services;
use crate::{Result, workspace};

/// What is given to the test programs to leave out what cannot run.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    names: Vec<String>,
    pub(crate) postgres: usize,
    pub(crate) kafka: usize,
    pub(crate) kafka_jars: usize,
    /// Not left out: on the in-process broker instead of Kafka.
    pub(crate) in_process: usize,
}

/// What cannot be had.
#[derive(Clone, Copy, Debug, Default)]
struct Missing {
    postgres: bool,
    kafka: bool,
    kafka_jars: bool,
}

impl LeftOut {
    /// Reads the sources if something is missing.
    pub(crate) fn without(services: &Services) -> Result<Self> {
        let missing = Missing {
            postgres: services.postgres.is_err(),
            kafka: services.kafka.is_err(),
            kafka_jars: services.kafka_jars.is_err(),
        };
        let mut left_out = Self::default();
        if missing.postgres || missing.kafka || missing.kafka_jars {
            for file in sources(&workspace())? {
                let text = fs::read_to_string(&file)
                    .map_err(|error| format!("{}: {error}", file.display()))?;
                left_out.add(&without_comments(&text), module(&file), missing);
            }
        }
        Ok(left_out)
    }

    /// For the test programs: run the ignored tests too, but not these.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--include-ignored".to_owned()];
        for name in &self.names {
            arguments.extend(["--skip".to_owned(), name.clone()]);
        }
        arguments
    }

    fn add(&mut self, text: &str, module: &str, missing: Missing) {
        for (reason, name) in ignored(text, module) {
            let any_broker = reason.contains("any Kafka broker");
            let jars = reason.contains("Kafka's jars");
            let kafka = reason.contains("Kafka") && !any_broker && !jars;
            let lacks = |is_needed: bool, is_missing: bool| usize::from(is_needed && is_missing);
            let postgres = lacks(reason.contains("Postgres"), missing.postgres);
            let kafka = lacks(kafka, missing.kafka);
            let jars = lacks(jars, missing.kafka_jars);
            self.postgres += postgres;
            self.kafka += kafka;
            self.kafka_jars += jars;
            if postgres + kafka + jars > 0 {
                self.names.push(name);
            } else if missing.kafka && any_broker {
                self.in_process += 1;
            }
        }
    }
}

fn without_comments(text: &str) -> String {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

/// The module that a file is.
fn module(file: &Path) -> &str {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    stem.unwrap_or_default()
}

/// The reason and the name of each ignored test in this module, or of a module of them.
fn ignored<'t>(text: &'t str, module: &str) -> impl Iterator<Item = (&'t str, String)> {
    const MARK: &str = "[ignore = \"";
    text.match_indices(MARK).filter_map(move |(at, _)| {
        let (before, rest) = (&text[..at], &text[at + MARK.len()..]);
        let (reason, rest) = rest.split_once("\"]")?;
        Some((reason, marked(before, rest.trim_start(), module)?))
    })
}

/// What is marked between these two texts.
fn marked(before: &str, after: &str, module: &str) -> Option<String> {
    let until = |text: &str, end: &str| Some(text.split_once(end)?.0.trim().to_owned());
    if !before.ends_with('#') {
        return until(before.rsplit_once("cell!(")?.1, ",");
    }
    if !["#", "async ", "fn "]
        .iter()
        .any(|start| after.starts_with(start))
    {
        return Some(format!("{module}::"));
    }
    let name = until(after.split_once("fn ")?.1, "(")?;
    if !name.starts_with('$') {
        return Some(name);
    }
    let around = until(before.rsplit_once("mod ")?.1, "{")?;
    Some(format!("{around}::"))
}

/// All Rust files of the workspace but this crate's own, which needs no service and holds
/// examples of what is looked for.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        if path.is_dir() && name != "target" && name != "xtask" && !name.starts_with('.') {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
        #[tokio::test]
        #[ignore = "needs Postgres: cargo xtask test"]
        async fn a_lease_is_fenced() {}

        #[ignore = "needs Kafka: cargo xtask test"]
        #[tokio::test]
        async fn a_record_is_read() {}

        #[test]
        #[ignore = "needs Postgres and Kafka: cargo xtask test"]
        fn an_event_arrives() {}

        #[test]
        #[ignore = "needs Postgres and any Kafka broker: cargo xtask test"]
        fn an_order_runs() {}

        #[test]
        #[ignore = "needs Kafka's jars: cargo xtask test"]
        fn a_broker_stops() {}

        #[test]
        fn needs_nothing() {}

        mod on_postgres {
            $(#[tokio::test]
            #[ignore = "needs Postgres: cargo xtask test"]
            async fn $law() {})+
        }

        crate::support::cell!(sqlite_memory, sqlite, memory, [test], $($law)+);
        crate::support::cell!(sqlite_kafka, sqlite, kafka,
            [ignore = "needs Kafka: cargo xtask test"], $($law)+);

        store_conformance!(
            #[ignore = "needs Postgres: cargo xtask test"]
            make
        );
    "#;

    fn without(postgres: bool, kafka: bool, kafka_jars: bool) -> LeftOut {
        let missing = Missing {
            postgres,
            kafka,
            kafka_jars,
        };
        let mut left_out = LeftOut::default();
        left_out.add(SOURCE, "laws", missing);
        left_out
    }

    fn names(postgres: bool, kafka: bool) -> Vec<String> {
        without(postgres, kafka, false).names
    }

    #[test]
    fn a_test_is_left_out_for_what_it_needs() {
        assert!(names(false, false).is_empty());
        assert_eq!(
            names(true, false),
            [
                "a_lease_is_fenced",
                "an_event_arrives",
                "an_order_runs",
                "on_postgres::",
                "laws::"
            ]
        );
        assert_eq!(
            names(false, true),
            ["a_record_is_read", "an_event_arrives", "sqlite_kafka"]
        );
        assert_eq!(names(true, true).len(), 7);
        assert_eq!(without(false, false, true).names, ["a_broker_stops"]);
    }

    #[test]
    fn a_broker_of_any_kind_is_had_without_kafka() {
        let count = |postgres, kafka| without(postgres, kafka, false).in_process;
        assert_eq!(count(false, true), 1);
        assert_eq!(count(true, true), 0);
        assert_eq!(count(false, false), 0);
    }

    /// Whoever marks a test in another way is not understood, and the test would fail where its
    /// service cannot be had.
    #[test]
    fn every_mark_in_the_workspace_is_understood() {
        for file in sources(&workspace()).unwrap() {
            let text = without_comments(&fs::read_to_string(&file).unwrap());
            let marks = text.matches("ignore = \"needs ").count();
            let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
            let understood = ignored(&text, module(&file))
                .filter(|(reason, name)| reason.starts_with("needs ") && name.chars().all(word))
                .count();
            assert_eq!(understood, marks, "{}", file.display());
        }
    }
}
