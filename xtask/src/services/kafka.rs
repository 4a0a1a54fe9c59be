//! A throw-away Apache Kafka.

use std::collections::hash_map::RandomState;
use std::fmt::Write;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Place, Service, docker, free_port, jars, metadata, wait_for};
use crate::Result;
use crate::args::KafkaNodes;
use crate::shell::{output, stop_line, tail};

const VARIABLE: &str = "TEST_KAFKA_BROKERS";
const READY_LIMIT: Duration = Duration::from_secs(120);
/// How many sets of ports are tried before giving up.
const STARTS_MAX: usize = 3;

type Properties = Vec<(String, String)>;

pub(super) fn provide(nodes: KafkaNodes, place: &mut Place<'_>) -> Result<Service> {
    if let Ok(address) = std::env::var(VARIABLE) {
        return Ok(service(address, format!("Kafka of {VARIABLE}")));
    }
    let mut reasons = Vec::new();
    match jars::java().and_then(|java| Ok((java, jars::fetch()?))) {
        Ok((java, jars)) => return start(java, &jars, nodes, place),
        Err(why) => reasons.push(why),
    }
    match nodes {
        KafkaNodes::One => match in_docker(place) {
            Ok(service) => return Ok(service),
            Err(why) => reasons.push(why),
        },
        KafkaNodes::Three => reasons.push("in Docker there is one node only".to_owned()),
    }
    Err(format!(
        "No Kafka: {}; or set {VARIABLE}.",
        reasons.join("; ")
    ))
}

fn service(address: String, origin: String) -> Service {
    Service {
        variable: VARIABLE,
        address,
        origin,
    }
}

/// Where a node listens.
#[derive(Clone, Copy, Debug)]
struct Ports {
    broker: u16,
    controller: u16,
}

impl Ports {
    fn choose() -> Result<Self> {
        Ok(Self {
            broker: free_port()?,
            controller: free_port()?,
        })
    }
}

fn in_docker(place: &mut Place<'_>) -> Result<Service> {
    let ports = Ports::choose()?;
    let mut properties = node(0, &[ports]);
    for (name, value) in &mut properties {
        if name == "listeners" {
            // Within its container it has to listen on all addresses to be reached at all.
            *value = value.replace("127.0.0.1", "0.0.0.0");
        }
    }
    docker::kafka(place, ports.broker, &properties)?;
    Ok(service(
        format!("127.0.0.1:{}", ports.broker),
        "Apache Kafka in Docker".to_owned(),
    ))
}

fn start(java: u32, jars: &Path, nodes: KafkaNodes, place: &mut Place<'_>) -> Result<Service> {
    let mut last = String::new();
    for attempt in 0..STARTS_MAX {
        let ports = (0..nodes.count())
            .map(|_| Ports::choose())
            .collect::<Result<Vec<Ports>>>()?;
        let folder = place.folder.join(format!("kafka-{attempt}"));
        match serve(jars, &ports, &folder, place) {
            Ok(()) => {
                let brokers: Vec<String> = ports
                    .iter()
                    .map(|ports| format!("127.0.0.1:{}", ports.broker))
                    .collect();
                let count = match nodes {
                    KafkaNodes::One => "one node",
                    KafkaNodes::Three => "three nodes",
                };
                let version = jars::KAFKA_VERSION;
                return Ok(service(
                    brokers.join(","),
                    format!("Apache Kafka {version} on Java {java}, {count}"),
                ));
            }
            Err(why) if why.contains("Address already in use") => last = why,
            Err(why) => return Err(why),
        }
    }
    Err(last)
}

/// A node that was started.
#[derive(Debug)]
struct Node {
    process: Child,
    port: u16,
    log: PathBuf,
}

impl Node {
    fn is_ready(&mut self, nodes: usize) -> Result<bool> {
        match self.process.try_wait() {
            Ok(None) => Ok(metadata::brokers(self.port) == Some(nodes)),
            _ => {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                // What went wrong is far above the end of the log, before the shutdown.
                let cause = log
                    .lines()
                    .find(|line| line.contains("Address already in use"));
                Err(format!(
                    "Kafka ended at once: {}",
                    cause.map_or_else(|| tail(&log), str::to_owned)
                ))
            }
        }
    }
}

fn serve(jars: &Path, ports: &[Ports], folder: &Path, place: &mut Place<'_>) -> Result<()> {
    let cluster = cluster_id();
    let mut nodes = Vec::new();
    for index in 0..ports.len() {
        let folder = folder.join(format!("node-{}", index + 1));
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let (file, log) = (folder.join("node.properties"), folder.join("log"));
        let mut properties = node(index, ports);
        properties.push((
            "log.dirs".to_owned(),
            folder.join("data").display().to_string(),
        ));
        fs::write(&file, text(&properties))
            .map_err(|error| format!("{}: {error}", file.display()))?;
        output(
            jvm(jars, 128)
                .args(["kafka.tools.StorageTool", "format", "-t", &cluster, "-c"])
                .arg(&file),
        )?;

        let out = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let errors = out
            .try_clone()
            .map_err(|error| format!("{}: {error}", log.display()))?;
        let process = jvm(jars, 384)
            .arg("kafka.Kafka")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|error| format!("java does not start: {error}"))?;
        // A controlled shutdown would take seconds and save what nobody reads again.
        place
            .janitor
            .at_end(stop_line(process.id(), "KILL", &file))?;
        nodes.push(Node {
            process,
            port: ports[index].broker,
            log,
        });
    }
    let count = nodes.len();
    nodes
        .iter_mut()
        .try_for_each(|node| wait_for("Kafka", READY_LIMIT, || node.is_ready(count)))
}

fn jvm(jars: &Path, heap_mib: u32) -> Command {
    let mut java = Command::new("java");
    java.arg(format!("-Xms{heap_mib}m"))
        .arg(format!("-Xmx{heap_mib}m"))
        .arg("-cp")
        .arg(jars.join("*"));
    java
}

/// The properties of one node of a KRaft cluster, all of whose nodes are broker and controller.
fn node(index: usize, ports: &[Ports]) -> Properties {
    let Ports { broker, controller } = ports[index];
    let voters: Vec<String> = ports
        .iter()
        .enumerate()
        .map(|(i, ports)| format!("{}@127.0.0.1:{}", i + 1, ports.controller))
        .collect();
    let replicas = ports.len();
    let in_sync_min = replicas.div_ceil(2);
    let mut properties: Properties = vec![
        ("process.roles".into(), "broker,controller".into()),
        ("node.id".into(), (index + 1).to_string()),
        ("controller.quorum.voters".into(), voters.join(",")),
        (
            "listeners".into(),
            format!("PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}"),
        ),
        (
            "advertised.listeners".into(),
            format!("PLAINTEXT://127.0.0.1:{broker}"),
        ),
        ("controller.listener.names".into(), "CONTROLLER".into()),
        (
            "listener.security.protocol.map".into(),
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".into(),
        ),
        // A consumer of a test need not wait for others to join its group.
        ("group.initial.rebalance.delay.ms".into(), "0".into()),
        ("default.replication.factor".into(), replicas.to_string()),
        ("min.insync.replicas".into(), in_sync_min.to_string()),
        (
            "offsets.topic.replication.factor".into(),
            replicas.to_string(),
        ),
        // The default of 50 makes the first consumer wait for 50 logs to be created.
        ("offsets.topic.num.partitions".into(), "5".into()),
        ("transaction.state.log.num.partitions".into(), "5".into()),
    ];
    for log in ["transaction.state.log", "share.coordinator.state.topic"] {
        properties.push((format!("{log}.replication.factor"), replicas.to_string()));
        properties.push((format!("{log}.min.isr"), in_sync_min.to_string()));
    }
    properties
}

fn text(properties: &[(String, String)]) -> String {
    properties
        .iter()
        .fold(String::new(), |mut text, (name, value)| {
            let _ = writeln!(text, "{name}={value}");
            text
        })
}

/// 16 random bytes as Kafka writes them, in base64 of 22 characters, so that no two clusters
/// are taken for one.
fn cluster_id() -> String {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let random = RandomState::new();
    let letter = |position: usize| {
        let mut hasher = random.build_hasher();
        hasher.write_usize(position);
        char::from(LETTERS[usize::try_from(hasher.finish() % 62).unwrap_or_default()])
    };
    // The last character holds two bits of the last byte; 'A' leaves the rest zero.
    (0..21).map(letter).chain(['A']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(properties: &Properties, name: &str) -> String {
        properties
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.clone())
            .unwrap()
    }

    #[test]
    fn three_nodes_replicate_to_three_and_need_two() {
        let ports = [1, 2, 3].map(|n| Ports {
            broker: 9090 + n,
            controller: 19090 + n,
        });
        let second = node(1, &ports);
        assert_eq!(value(&second, "node.id"), "2");
        assert_eq!(
            value(&second, "controller.quorum.voters"),
            "1@127.0.0.1:19091,2@127.0.0.1:19092,3@127.0.0.1:19093"
        );
        assert_eq!(value(&second, "offsets.topic.replication.factor"), "3");
        assert_eq!(value(&second, "transaction.state.log.min.isr"), "2");
    }

    #[test]
    fn a_cluster_id_is_a_uuid_of_its_own() {
        let id = cluster_id();
        assert_eq!(id.len(), 22);
        assert_ne!(id, cluster_id());
    }
}
