//! Apache Kafka's own jars, by Maven, once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Service;
use crate::shell::{find, output};
use crate::{Result, scratch};

pub(super) const KAFKA_VERSION: &str = "4.3.1";
const VARIABLE: &str = "TEST_KAFKA_JARS";
const JAVA_MIN: u32 = 17;

/// What a test starts a broker of its own from. Nothing is fetched for it: where Kafka itself was
/// started by Java the jars are there.
pub(super) fn provide() -> Result<Service> {
    java()?;
    let (folder, origin) = match std::env::var(VARIABLE) {
        Ok(folder) => (PathBuf::from(folder), format!("jars of {VARIABLE}")),
        Err(_) => (cache()?, format!("Apache Kafka {KAFKA_VERSION}")),
    };
    if !folder.is_dir() {
        return Err(format!("no jars in {}", folder.display()));
    }
    Ok(Service {
        variable: VARIABLE,
        address: folder.display().to_string(),
        origin,
    })
}

fn cache() -> Result<PathBuf> {
    Ok(scratch()?.join(format!("kafka-{KAFKA_VERSION}")))
}

/// Says which Java there is, if it is new enough for Kafka.
pub(super) fn java() -> Result<u32> {
    let said = output(Command::new("java").arg("-version")).map_err(|_| "no Java".to_owned())?;
    // openjdk version "17.0.15" 2025-04-15
    let major = said
        .split('"')
        .nth(1)
        .and_then(|version| version.split(|c: char| !c.is_ascii_digit()).next())
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| format!("java does not tell its version: {said}"))?;
    if major < JAVA_MIN {
        return Err(format!("Java {major} is older than {JAVA_MIN}"));
    }
    Ok(major)
}

/// The folder with the broker and all that it needs; fetched when it is not there.
pub(super) fn fetch() -> Result<PathBuf> {
    let cache = cache()?;
    if cache.is_dir() {
        return Ok(cache);
    }
    find("mvn").ok_or("no Maven to fetch Kafka's jars with")?;
    eprintln!("fetching Apache Kafka {KAFKA_VERSION} by Maven");
    // In a folder of this process first: what stands under the final name is whole.
    let partial = cache.with_extension(format!("{}.partial", std::process::id()));
    let jars = partial.join("jars");
    fs::create_dir_all(&jars).map_err(|error| format!("{}: {error}", jars.display()))?;
    let pom = partial.join("pom.xml");
    fs::write(&pom, POM.replace("@VERSION@", KAFKA_VERSION))
        .map_err(|error| format!("{}: {error}", pom.display()))?;
    let fetched = maven(&pom, &jars);
    if fetched.is_ok() && fs::rename(&jars, &cache).is_err() && !cache.is_dir() {
        return Err(format!("{} cannot be made", cache.display()));
    }
    let _ = fs::remove_dir_all(&partial);
    fetched.map(|()| cache)
}

fn maven(pom: &Path, jars: &Path) -> Result<()> {
    let mut maven = Command::new("mvn");
    maven
        .args(["--quiet", "--batch-mode", "--file"])
        .arg(pom)
        .arg("org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", jars.display()))
        .arg("-DincludeScope=runtime");
    output(&mut maven).map(drop)
}

/// log4j-slf4j-impl is there so that a broker that does not start says why.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>swifttrack</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>@VERSION@</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.25.4</version>
    </dependency>
  </dependencies>
</project>
"#;
