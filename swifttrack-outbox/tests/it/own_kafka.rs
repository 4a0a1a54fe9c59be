//! An Apache Kafka of the test's own, which it may stop, or reach by listeners with a lock.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rdkafka::ClientConfig;

use crate::support::PATIENCE;

/// Another process may take a port between its choice and its use.
const STARTS_MAX: usize = 3;

/// The one user of the listeners with a lock.
pub(crate) const USER: &str = "orders";
pub(crate) const PASSWORD: &str = "not-to-be-seen";
/// Of the key store that `keytool` makes.
const STORE_PASSWORD: &str = "changeit";

/// What clients find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    Plain,
    /// SASL with PLAIN.
    Sasl,
    /// SASL with SCRAM behind TLS.
    SaslTls,
}

impl Listener {
    const fn protocol(self) -> &'static str {
        match self {
            Self::Plain => "PLAINTEXT",
            Self::Sasl => "SASL_PLAINTEXT",
            Self::SaslTls => "SASL_SSL",
        }
    }

    const fn mechanism(self) -> &'static str {
        match self {
            Self::Plain | Self::Sasl => "PLAIN",
            Self::SaslTls => "SCRAM-SHA-512",
        }
    }
}

pub(crate) struct OwnKafka {
    jars: PathBuf,
    folder: tempfile::TempDir,
    listener: Listener,
    port: u16,
    child: Option<Child>,
}

impl OwnKafka {
    pub(crate) async fn start(listener: Listener) -> Self {
        let jars = std::env::var("TEST_KAFKA_JARS").unwrap_or_else(|_| {
            panic!(
                "this test starts a Kafka of its own: run `cargo xtask test`, \
                 or set TEST_KAFKA_JARS to the folder of Kafka's jars"
            )
        });
        for _ in 0..STARTS_MAX {
            let mut kafka = Self {
                jars: jars.clone().into(),
                folder: tempfile::tempdir().unwrap(),
                listener,
                port: free_port(),
                child: None,
            };
            kafka.format();
            kafka.run();
            if kafka.is_up().await {
                return kafka;
            }
        }
        panic!("Kafka does not start");
    }

    pub(crate) fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What a client has to set to be let in, besides the brokers.
    pub(crate) fn properties(&self) -> Vec<(&'static str, String)> {
        let mut properties = Vec::new();
        if self.listener != Listener::Plain {
            properties.extend([
                ("security.protocol", self.listener.protocol().to_lowercase()),
                ("sasl.mechanism", self.listener.mechanism().to_owned()),
                ("sasl.username", USER.to_owned()),
                ("sasl.password", PASSWORD.to_owned()),
            ]);
        }
        if self.listener == Listener::SaslTls {
            let authority = self.file("broker.pem").display().to_string();
            properties.push(("ssl.ca.location", authority));
        }
        properties
    }

    /// For a client of the test's own.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers());
        for (name, value) in self.properties() {
            config.set(name, value);
        }
        config
    }

    /// On the data that it left.
    pub(crate) fn run(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.file("log"))
            .unwrap();
        let child = self
            .java()
            .arg("kafka.Kafka")
            .arg(self.file("node.properties"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Ends it by a signal: `-TERM` has it shut down as an operator would, `-KILL` as a machine
    /// that loses its power, but for the disk's cache.
    pub(crate) fn stop(&mut self, signal: &str) {
        let mut child = self.child.take().unwrap();
        let told = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        assert!(told.unwrap().success());
        child.wait().unwrap();
    }

    /// False: it has ended by itself.
    async fn is_up(&mut self) -> bool {
        let address = self.brokers();
        let mut ended = false;
        testkit::wait_until("Kafka listens", PATIENCE, async || {
            ended = self.child.as_mut().unwrap().try_wait().unwrap().is_some();
            ended || TcpStream::connect(&address).is_ok()
        })
        .await;
        if ended {
            let log = fs::read_to_string(self.file("log")).unwrap();
            assert!(log.contains("Address already in use"), "{log}");
        }
        !ended
    }

    fn format(&self) {
        if self.listener == Listener::SaslTls {
            self.make_certificate();
        }
        fs::write(self.file("node.properties"), self.node()).unwrap();
        let mut format = self.java();
        format
            .args(["kafka.tools.StorageTool", "format"])
            .args(["-t", "c3dpZnR0cmFjay10ZXN0cw"])
            .arg("-c")
            .arg(self.file("node.properties"));
        if self.listener == Listener::SaslTls {
            let credentials = format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]");
            format.args(["--add-scram", &credentials]);
        }
        must(&mut format);
    }

    fn node(&self) -> String {
        let (port, controller, internal) = (self.port, free_port(), free_port());
        let protocol = self.listener.protocol();
        // A broker speaks to itself too, to end transactions; it need not log in for that.
        let mut node = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             listeners=CLIENT://127.0.0.1:{port},INTERNAL://127.0.0.1:{internal},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=CLIENT://127.0.0.1:{port},INTERNAL://127.0.0.1:{internal}\n\
             inter.broker.listener.name=INTERNAL\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,CLIENT:{protocol}\n\
             log.dirs={}\n\
             auto.create.topics.enable=false\n\
             group.initial.rebalance.delay.ms=0\n\
             offsets.topic.num.partitions=1\n\
             transaction.state.log.num.partitions=5\n",
            self.file("data").display()
        );
        for log in [
            "offsets.topic",
            "transaction.state.log",
            "share.coordinator.state.topic",
        ] {
            let _ = writeln!(node, "{log}.replication.factor=1");
        }
        for log in ["transaction.state.log", "share.coordinator.state.topic"] {
            let _ = writeln!(node, "{log}.min.isr=1");
        }
        if self.listener != Listener::Plain {
            let name = "listener.name.client";
            let mechanism = self.listener.mechanism();
            let module = match self.listener {
                Listener::SaslTls => {
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;".to_owned()
                }
                _ => format!(
                    "org.apache.kafka.common.security.plain.PlainLoginModule required \
                     user_{USER}=\"{PASSWORD}\";"
                ),
            };
            let _ = writeln!(node, "{name}.sasl.enabled.mechanisms={mechanism}");
            let mechanism = mechanism.to_lowercase();
            let _ = writeln!(node, "{name}.{mechanism}.sasl.jaas.config={module}");
        }
        if self.listener == Listener::SaslTls {
            let store = self.file("broker.p12");
            let _ = writeln!(
                node,
                "ssl.keystore.type=PKCS12\n\
                 ssl.keystore.location={}\n\
                 ssl.keystore.password={STORE_PASSWORD}",
                store.display()
            );
        }
        node
    }

    /// Signed by itself, so it is its own authority.
    fn make_certificate(&self) {
        let keytool = |verb: &str| {
            let mut keytool = Command::new("keytool");
            keytool
                .arg(verb)
                .args(["-alias", "broker", "-storetype", "PKCS12"])
                .args(["-storepass", STORE_PASSWORD, "-keystore"])
                .arg(self.file("broker.p12"));
            keytool
        };
        must(
            keytool("-genkeypair")
                .args(["-keyalg", "EC", "-groupname", "secp256r1"])
                .args(["-dname", "CN=broker", "-validity", "2"])
                .args(["-ext", "SAN=ip:127.0.0.1"]),
        );
        must(
            keytool("-exportcert")
                .args(["-rfc", "-file"])
                .arg(self.file("broker.pem")),
        );
    }

    fn java(&self) -> Command {
        let mut java = Command::new("java");
        // A short life: what the compiler would gain comes too late.
        java.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .arg("-cp")
            .arg(self.jars.join("*"))
            .stdin(Stdio::null());
        java
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new(self.folder.path()).join(name)
    }
}

impl Drop for OwnKafka {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[track_caller]
fn must(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
