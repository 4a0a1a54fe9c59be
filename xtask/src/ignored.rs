//! Which tests are left out for want of a service.
//!
//! A test that needs a service says so where it is ignored, `#[ignore = "needs Kafka: …"]`. The
//! test harness cannot choose by that reason, so the sources are read for the names.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Result, workspace};

/// What is given to the test programs to leave out what cannot run.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    names: Vec<String>,
    pub(crate) postgres: usize,
    pub(crate) kafka: usize,
}

impl LeftOut {
    /// Reads the sources if something is missing.
    pub(crate) fn without(postgres: bool, kafka: bool) -> Result<Self> {
        let mut left_out = Self::default();
        if postgres || kafka {
            for file in sources(&workspace())? {
                let text = fs::read_to_string(&file)
                    .map_err(|error| format!("{}: {error}", file.display()))?;
                left_out.add(&without_comments(&text), postgres, kafka);
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

    fn add(&mut self, text: &str, postgres: bool, kafka: bool) {
        for (reason, name) in ignored(text) {
            let needs_postgres = postgres && reason.contains("Postgres");
            let needs_kafka = kafka && reason.contains("Kafka");
            self.postgres += usize::from(needs_postgres);
            self.kafka += usize::from(needs_kafka);
            if needs_postgres || needs_kafka {
                self.names.push(name.to_owned());
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

/// The reason and the name of each ignored test.
fn ignored(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("#[ignore = \"").skip(1).filter_map(|rest| {
        let (reason, rest) = rest.split_once('"')?;
        let (_, rest) = rest.split_once("fn ")?;
        let (name, _) = rest.split_once('(')?;
        Some((reason, name.trim()))
    })
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
        fn needs_nothing() {}
    "#;

    fn names(postgres: bool, kafka: bool) -> Vec<String> {
        let mut left_out = LeftOut::default();
        left_out.add(SOURCE, postgres, kafka);
        left_out.names
    }

    #[test]
    fn a_test_is_left_out_for_what_it_needs() {
        assert!(names(false, false).is_empty());
        assert_eq!(
            names(true, false),
            ["a_lease_is_fenced", "an_event_arrives"]
        );
        assert_eq!(names(false, true), ["a_record_is_read", "an_event_arrives"]);
        assert_eq!(names(true, true).len(), 3);
    }
}
