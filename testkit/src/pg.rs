//! A Postgres database of one's own.

use std::thread;

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use url::Url;
use uuid::Uuid;

/// A fresh, empty database on the server of `TEST_DATABASE_URL`, dropped with the value.
///
/// Each test has its own, so that tests run side by side and none sees what another left.
///
/// # Panics
/// Everything here panics rather than returns an error: there is nothing that a test could do.
#[derive(Debug)]
pub struct TestDb {
    server: Url,
    url: Url,
    name: String,
}

impl TestDb {
    /// Creates a database `t_<uuid>`.
    ///
    /// # Panics
    /// When `TEST_DATABASE_URL` is not set (the message says how to have it set), or when the
    /// server does not do it.
    ///
    /// # Cancel safety
    /// Dropping the future may leave an empty database behind.
    pub async fn create() -> Self {
        let server = server();
        let name = format!("t_{}", Uuid::new_v4().simple());
        let mut url = server.clone();
        url.set_path(&name);
        execute(&server, format!(r#"CREATE DATABASE "{name}""#))
            .await
            .unwrap_or_else(|error| {
                panic!("the server of TEST_DATABASE_URL gives no database: {error}")
            });
        Self { server, url, name }
    }

    /// The URL of the database, for a pool or for the environment of a child process.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The name of the database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestDb {
    /// Drops the database, ending the sessions that are still on it. A failure is told on
    /// stderr and not raised, since the test has said by now what it had to say.
    fn drop(&mut self) {
        let server = self.server.clone();
        let statement = format!(r#"DROP DATABASE IF EXISTS "{}" WITH (FORCE)"#, self.name);
        // A thread and a runtime of its own: the test's runtime may be single-threaded, paused
        // or shutting down.
        let dropped = thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(sqlx::Error::from)?
                .block_on(execute(&server, statement))
        })
        .join();
        match dropped {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("database {} stays behind: {error}", self.name),
            Err(_) => eprintln!("database {} stays behind: dropping it panicked", self.name),
        }
    }
}

fn server() -> Url {
    let text = std::env::var("TEST_DATABASE_URL").unwrap_or_else(|_| {
        panic!(
            "this test needs Postgres: run `cargo xtask test`, which starts one, \
             or set TEST_DATABASE_URL=postgres://user@host:port/postgres"
        )
    });
    Url::parse(&text).unwrap_or_else(|error| panic!("TEST_DATABASE_URL is not a URL: {error}"))
}

async fn execute(server: &Url, statement: String) -> Result<(), sqlx::Error> {
    let mut connection: PgConnection = PgConnectOptions::from_url(server)?.connect().await?;
    // The only part of the statement that varies is a name made in this file.
    sqlx::query(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await?;
    connection.close().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn exists(name: &str) -> bool {
        let mut connection = PgConnection::connect(server().as_str()).await.unwrap();
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await
            .unwrap()
    }

    #[tokio::test]
    #[ignore = "needs Postgres: cargo xtask test"]
    async fn a_database_lives_as_long_as_its_value() {
        let db = TestDb::create().await;
        let name = db.name().to_owned();
        let mut left_open = PgConnection::connect(db.url()).await.unwrap();
        let current: String = sqlx::query_scalar("SELECT current_database()::text")
            .fetch_one(&mut left_open)
            .await
            .unwrap();
        assert_eq!(current, name);

        drop(db);
        assert!(
            !exists(&name).await,
            "an open session keeps the database alive"
        );
    }
}
