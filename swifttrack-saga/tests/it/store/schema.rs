//! A schema of one's own: created in a tenth of the time of a database, of which there are many
//! here, and a proof that the tables need not be in `public`.

use std::thread;

use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};
use uuid::Uuid;

/// Dropped with the value.
pub(super) struct TestSchema {
    server: String,
    name: String,
}

impl TestSchema {
    pub(super) async fn create() -> Self {
        let server = std::env::var("TEST_DATABASE_URL")
            .expect("this test needs Postgres: run `cargo xtask test`, or set TEST_DATABASE_URL");
        let name = format!("t_{}", Uuid::new_v4().simple());
        execute(&server, format!("CREATE SCHEMA {name}"))
            .await
            .unwrap();
        Self { server, name }
    }

    /// Its sessions are those of this `application_name`.
    pub(super) fn url(&self) -> String {
        let sep = if self.server.contains('?') { '&' } else { '?' };
        format!(
            "{0}{sep}application_name={1}&options=-c%20search_path%3D{1}",
            self.server, self.name
        )
    }
}

impl Drop for TestSchema {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let dropped = thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(sqlx::Error::from)?
                .block_on(execute(&server, format!("DROP SCHEMA {name} CASCADE")))
        })
        .join();
        if !matches!(dropped, Ok(Ok(()))) {
            eprintln!("schema {} stays behind: {dropped:?}", self.name);
        }
    }
}

async fn execute(server: &str, statement: String) -> Result<(), sqlx::Error> {
    let mut conn = PgConnection::connect(server).await?;
    raw_sql("SET client_min_messages = warning")
        .execute(&mut conn)
        .await?;
    // The only part of the statement that varies is a name made in this file.
    raw_sql(AssertSqlSafe(statement)).execute(&mut conn).await?;
    conn.close().await
}
