//! The same services in containers, where the machine has Docker instead of them.

use std::process::Command;
use std::time::Duration;

use super::{Place, free_port, metadata, wait_for};
use crate::Result;
use crate::shell::{output, quote};

const POSTGRES_IMAGE: &str = "postgres:17";
const KAFKA_IMAGE: &str = "apache/kafka:4.1.0";
/// Fetching the image is not counted.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// Starts Postgres and returns its URL.
pub(super) fn postgres(place: &mut Place<'_>) -> Result<String> {
    answers()?;
    let port = free_port()?;
    let name = run(
        place,
        "postgres",
        POSTGRES_IMAGE,
        &[format!("{port}:5432")],
        &[("POSTGRES_HOST_AUTH_METHOD".to_owned(), "trust".to_owned())],
        &["-c", "max_connections=300", "-c", "wal_level=logical"],
    )?;
    wait_for("Postgres in Docker", READY_LIMIT, || {
        // Over TCP: the server that the image runs for its own set-up has a socket only.
        Ok(output(Command::new("docker").args([
            "exec",
            &name,
            "pg_isready",
            "-q",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
        ]))
        .is_ok())
    })?;
    Ok(format!("postgres://postgres@127.0.0.1:{port}/postgres"))
}

/// Starts one Kafka node with these properties, of which the listeners name `port`.
pub(super) fn kafka(
    place: &mut Place<'_>,
    port: u16,
    properties: &[(String, String)],
) -> Result<()> {
    answers()?;
    let environment: Vec<(String, String)> = properties
        .iter()
        .map(|(name, value)| {
            (
                format!("KAFKA_{}", name.to_uppercase().replace('.', "_")),
                value.clone(),
            )
        })
        .collect();
    run(
        place,
        "kafka",
        KAFKA_IMAGE,
        &[format!("{port}:{port}")],
        &environment,
        &[],
    )?;
    wait_for("Kafka in Docker", READY_LIMIT, || {
        Ok(metadata::brokers(port) == Some(1))
    })
}

fn answers() -> Result<()> {
    output(Command::new("docker").arg("info"))
        .map(drop)
        .map_err(|_| "Docker does not answer".to_owned())
}

/// Starts a container that is removed at the end, and returns its name.
fn run(
    place: &mut Place<'_>,
    service: &str,
    image: &str,
    ports: &[String],
    environment: &[(String, String)],
    arguments: &[&str],
) -> Result<String> {
    let name = format!("swifttrack-{service}-{}", std::process::id());
    place.janitor.at_end(format!(
        "docker rm --force {} >/dev/null 2>&1",
        quote(&name)
    ))?;
    eprintln!("starting {image} in Docker");
    let mut docker = Command::new("docker");
    docker.args(["run", "--detach", "--name", &name]);
    for port in ports {
        docker.arg("--publish").arg(format!("127.0.0.1:{port}"));
    }
    for (variable, value) in environment {
        docker.arg("--env").arg(format!("{variable}={value}"));
    }
    output(docker.arg(image).args(arguments))?;
    Ok(name)
}
