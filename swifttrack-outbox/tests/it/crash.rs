//! Postgres crashes and comes back while the relay lives on.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use swifttrack_outbox::{Event, MemoryPublisher, Relay, append_batch, backlog};

use crate::support::{PATIENCE, Read, check_order, numbered};

/// A server of this test's own, since the others' must not be stopped.
struct Server {
    programs: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    /// Postgres refuses to run as root; this is who runs it then.
    user: Option<u32>,
    child: Option<Child>,
}

impl Server {
    /// From the same programs as the shared server.
    async fn start() -> Self {
        let shared = std::env::var("TEST_DATABASE_URL").expect("TEST_DATABASE_URL");
        let shared = PgPool::connect(&shared).await.unwrap();
        let programs: String =
            sqlx::query_scalar("SELECT setting FROM pg_config WHERE name = 'BINDIR'")
                .fetch_one(&shared)
                .await
                .unwrap();
        shared.close().await;
        let id = |arguments: &[&str]| -> u32 {
            let said = Command::new("id").args(arguments).output().unwrap();
            String::from_utf8(said.stdout)
                .unwrap()
                .trim()
                .parse()
                .unwrap()
        };
        let user = (id(&["-u"]) == 0).then(|| id(&["-u", "postgres"]));
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        std::os::unix::fs::chown(folder.path(), user, None).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = port.local_addr().unwrap().port();
        let mut server = Self {
            programs: programs.into(),
            folder,
            port,
            user,
            child: None,
        };
        let made = server
            .command("initdb")
            .args([
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--no-locale",
                "-N",
            ])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        server.run();
        server
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .current_dir(self.folder.path())
            .arg("-D")
            .arg(self.data())
            .stdin(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user);
        }
        command
    }

    fn data(&self) -> PathBuf {
        Path::new(self.folder.path()).join("data")
    }

    fn run(&mut self) {
        let child = self
            .command("postgres")
            .args(["-p", &self.port.to_string()])
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "unix_socket_directories=",
            ])
            .args(["-c", "autovacuum=off"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// As `pg_ctl stop -m immediate` does: without a word to anybody, and without writing what
    /// is not written.
    fn crash(&mut self) {
        let mut child = self.child.take().unwrap();
        signal("-QUIT", child.id());
        child.wait().unwrap();
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.crash();
        }
    }
}

fn signal(signal: &str, pid: u32) {
    let told = Command::new("kill")
        .args([signal, &pid.to_string()])
        .status();
    assert!(told.unwrap().success());
}

async fn append(pool: &PgPool, events: &[Event]) -> Result<(), Box<dyn std::error::Error>> {
    let mut tx = pool.begin().await?;
    append_batch(&mut *tx, events).await?;
    Ok(tx.commit().await?)
}

/// Transactions that were rolled back leave nothing in the log, so after the crash their
/// numbers are given out again. A relay that went on with the cursor from before would take the
/// new rows for ones that it has seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_crash_after_rolled_back_transactions_hides_nothing() {
    let mut server = Server::start().await;
    let pool = PgPoolOptions::new().connect_lazy(&server.url()).unwrap();
    testkit::wait_until("the server is up", PATIENCE, async || {
        swifttrack_outbox::migrate(&pool).await.is_ok()
    })
    .await;
    let memory = MemoryPublisher::new();
    // No heartbeat in between, since each commit writes the log.
    let relay = Relay::new(&pool, memory.clone())
        .lease_ttl(Duration::from_secs(300))
        .spawn()
        .await
        .unwrap();
    relay.ready().await;
    append(&pool, &numbered("t", 5, 1, 50)).await.unwrap();
    let empty = async || backlog(&pool).await.is_ok_and(|backlog| backlog.rows == 0);
    testkit::wait_until("the first are published", PATIENCE, empty).await;

    // From here only a commit writes the log.
    let walwriter: i32 =
        sqlx::query_scalar("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")
            .fetch_one(&pool)
            .await
            .unwrap();
    signal("-STOP", walwriter as u32);
    let mut last: i64 = 0;
    for _ in 0..20 {
        let mut tx = pool.begin().await.unwrap();
        append_batch(&mut *tx, &numbered("t", 5, 11, 50))
            .await
            .unwrap();
        last = sqlx::query_scalar("SELECT pg_current_xact_id()::text::bigint")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        tx.rollback().await.unwrap();
    }
    // Its cursor is past them all.
    let since: f64 = sqlx::query_scalar("SELECT extract(epoch FROM clock_timestamp())::float8")
        .fetch_one(&pool)
        .await
        .unwrap();
    testkit::wait_until("the relay has polled since", PATIENCE, async || {
        sqlx::query_scalar(
            "SELECT count(*) > 0 FROM pg_stat_activity \
             WHERE application_name = 'outbox reader' AND state = 'idle' \
             AND query_start > to_timestamp($1)",
        )
        .bind(since)
        .fetch_one(&pool)
        .await
        .unwrap()
    })
    .await;
    server.crash();
    server.run();

    let first = async || {
        sqlx::query_scalar("SELECT pg_current_xact_id()::text::bigint")
            .fetch_one(&pool)
            .await
    };
    let mut again: i64 = i64::MAX;
    testkit::wait_until("the server is back", PATIENCE, async || {
        again = first().await.unwrap_or(i64::MAX);
        again < i64::MAX
    })
    .await;
    assert!(
        again <= last,
        "the numbers are not given out again: {last}, {again}"
    );
    for number in 11..=30 {
        append(&pool, &numbered("t", 5, number, 5)).await.unwrap();
    }
    testkit::wait_until("all are published", PATIENCE, empty).await;
    relay.shutdown(PATIENCE).await.unwrap();
    let read: Vec<Read> = memory
        .records()
        .into_iter()
        .map(|record| Read {
            key: record.key,
            payload: record.payload.unwrap_or_default(),
            headers: record.headers,
        })
        .collect();
    check_order(&read, 5, 30);
}
