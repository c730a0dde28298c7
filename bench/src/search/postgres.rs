//! PostgreSQL with the same documents: the database that search spares, on the same machine.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

use super::corpus::{Doc, Question, Tenant};
use crate::Error;
use crate::numbers::Latencies;

/// User that the server runs as when the bench runs as root: PostgreSQL refuses root.
const NOBODY: u32 = 65534;
/// Longest wait for the server's start.
const PATIENCE: Duration = Duration::from_secs(20);

/// Server of its own, with its data in memory; it ends when this is dropped.
pub(super) struct Postgres {
    server: std::process::Child,
    folder: tempfile::TempDir,
    client: Client,
}

// === impl Postgres ===

impl Postgres {
    /// Starts a server from the programs in `binaries`, such as `/usr/lib/postgresql/15/bin`.
    ///
    /// # Errors
    /// Programs that are missing or fail.
    pub(super) async fn start(binaries: &Path) -> Result<Postgres, Error> {
        let folder = tempfile::TempDir::new()?;
        let as_root = rustix::process::getuid().is_root();
        if as_root {
            std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY))?;
        }
        let program = |name: &str| {
            let mut command = Command::new(binaries.join(name));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if as_root {
                std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
                std::os::unix::process::CommandExt::gid(&mut command, NOBODY);
            }
            command
        };
        let data = folder.path().join("data");
        let made =
            program("initdb").args(["-U", "bench", "-E", "UTF8", "--locale=C.UTF-8", "-D"]).arg(&data).status()?;
        if !made.success() {
            return Err(format!("initdb failed: {made}").into());
        }
        let socket = folder.path().display().to_string();
        let settings = ["shared_buffers=1GB", "work_mem=64MB", "fsync=off", "listen_addresses=", "max_wal_size=4GB"];
        let mut server = program("postgres");
        server.arg("-D").arg(&data).args(["-k", &socket]);
        for setting in settings {
            server.args(["-c", setting]);
        }
        let server = server.spawn()?;
        let client = connect(&socket).await?;
        Ok(Postgres { server, folder, client })
    }

    /// Loads the documents, and indexes them as one would for such queries: GIN over the text, B-trees over the rest.
    pub(super) async fn load(&mut self, tenants: &[Tenant]) -> Result<(), Error> {
        self.client
            .batch_execute(
                "CREATE TABLE d (tenant text, id text, title text, body text, section text, status text, labels text[],
                 amount bigint, updated bigint, words tsvector)",
            )
            .await?;
        for tenant in tenants {
            let transaction = self.client.transaction().await?;
            let insert = "INSERT INTO d VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9,
                          setweight(to_tsvector('simple', $3), 'A') || to_tsvector('simple', $4))";
            let insert = transaction.prepare(insert).await?;
            for number in 0..tenant.documents {
                let doc = Doc::new(*tenant, number);
                let (amount, updated) = (doc.amount.cast_signed(), doc.updated.cast_signed());
                transaction
                    .execute(
                        &insert,
                        &[
                            &tenant.name,
                            &doc.id,
                            &doc.title,
                            &doc.body,
                            &doc.section,
                            &doc.status,
                            &doc.labels,
                            &amount,
                            &updated,
                        ],
                    )
                    .await?;
            }
            transaction.commit().await?;
        }
        self.client
            .batch_execute(
                "CREATE INDEX ON d USING gin (words); CREATE INDEX ON d (tenant, updated);
                 CREATE INDEX ON d (tenant, section, status)",
            )
            .await?;
        // A statement of its own: VACUUM can't run within a transaction, which several statements are.
        Ok(self.client.batch_execute("VACUUM ANALYZE d").await?)
    }

    /// Runs the complex query of `question`: its hits with their highlights, and its three facets. Returns the number of hits.
    pub(super) async fn ask(&self, tenant: Tenant, question: &Question) -> Result<usize, Error> {
        let hits = "SELECT id, title, ts_headline('simple', body, plainto_tsquery('simple', $2)) FROM d
                    WHERE tenant = $1 AND words @@ plainto_tsquery('simple', $2) AND status = $3 AND section = $4 AND amount >= $5
                    ORDER BY updated DESC LIMIT 20";
        let facets = "WITH m AS MATERIALIZED (SELECT status, section, labels, amount FROM d
                      WHERE tenant = $1 AND words @@ plainto_tsquery('simple', $2))
                      SELECT 's', status, count(*) FROM m WHERE section = $4 AND amount >= $5 GROUP BY status UNION ALL
                      SELECT 'c', section, count(*) FROM m WHERE status = $3 AND amount >= $5 GROUP BY section UNION ALL
                      SELECT 'l', unnest(labels), count(*) FROM m
                      WHERE status = $3 AND section = $4 AND amount >= $5 GROUP BY 2";
        let least = question.least.cast_signed();
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&tenant.name, &question.words, &question.status, &question.section, &least];
        let (hits, _) = tokio::try_join!(self.client.query(hits, &values), self.client.query(facets, &values))?;
        Ok(hits.len())
    }

    /// Times the questions, one after the other.
    pub(super) async fn time(&self, tenant: Tenant, questions: &[Question]) -> Result<Latencies, Error> {
        let mut latencies = Latencies::new();
        for question in questions {
            let start = Instant::now();
            self.ask(tenant, question).await?;
            latencies.record(start.elapsed());
        }
        Ok(latencies)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // An immediate shutdown would leave shared memory behind; SIGINT ends the sessions and cleans up.
        let pid = rustix::process::Pid::from_child(&self.server);
        let stopped = rustix::process::kill_process(pid, rustix::process::Signal::INT).is_ok();
        if !stopped || self.server.wait().is_err() {
            eprintln!("PostgreSQL in {} did not stop", self.folder.path().display());
        }
    }
}

async fn connect(socket: &str) -> Result<Client, Error> {
    let until = Instant::now() + PATIENCE;
    loop {
        match tokio_postgres::connect(&format!("host={socket} user=bench dbname=postgres"), NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                return Ok(client);
            }
            Err(error) if Instant::now() > until => return Err(format!("PostgreSQL does not start: {error}").into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
