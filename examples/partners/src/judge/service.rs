//! The service that is judged: a process group, and its HTTP port.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::JudgeError;

/// A service that says nothing for so long is not waited for.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 4 << 20;

pub(crate) struct Service {
    command: Vec<String>,
    variables: Vec<(String, String)>,
    log: PathBuf,
    addr: SocketAddr,
    child: Child,
}

impl Service {
    /// Starts `command` on a free port, with `variables` set; what it prints goes to `log`.
    pub(crate) async fn start(
        command: &[String],
        mut variables: Vec<(String, String)>,
        log: &Path,
    ) -> Result<Self, JudgeError> {
        let addr = free_port().map_err(|source| JudgeError::new("find a free port", source))?;
        variables.push(("PORT".to_owned(), addr.port().to_string()));
        let child = spawn(command, &variables, log)?;
        let mut service = Self {
            command: command.to_vec(),
            variables,
            log: log.to_owned(),
            addr,
            child,
        };
        service.ready().await?;
        Ok(service)
    }

    /// Kills it, with all that it started, and starts it again.
    pub(crate) async fn kill(&mut self) -> Result<(), JudgeError> {
        end(&mut self.child).await;
        self.again().await
    }

    /// Starts it again if it ended by itself, and says whether it had.
    pub(crate) async fn revive(&mut self) -> Result<bool, JudgeError> {
        match self.child.try_wait() {
            Ok(Some(_)) => self.again().await.map(|()| true),
            _ => Ok(false),
        }
    }

    pub(crate) async fn stop(mut self) {
        end(&mut self.child).await;
    }

    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    async fn again(&mut self) -> Result<(), JudgeError> {
        self.child = spawn(&self.command, &self.variables, &self.log)?;
        self.ready().await
    }

    /// Waits until it takes orders: `/readyz` says so, or `/health` if there is no such probe.
    async fn ready(&mut self) -> Result<(), JudgeError> {
        const PATIENCE: Duration = Duration::from_secs(120);
        let ready = async {
            loop {
                if let Ok(Some(status)) = self.child.try_wait() {
                    let what = format!("the command ended before it was ready: {status}");
                    return Err(JudgeError::new("start the service", io::Error::other(what)));
                }
                for probe in ["/readyz", "/health"] {
                    if let Ok((StatusCode::OK, _)) = ask(self.addr, Method::GET, probe, "").await {
                        return Ok(());
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, ready).await {
            Ok(result) => result,
            Err(_) => Err(JudgeError::new(
                "start the service",
                io::Error::other("neither /readyz nor /health answered 200 within two minutes"),
            )),
        }
    }
}

/// One request on a connection of its own.
pub(crate) async fn ask(
    addr: SocketAddr,
    method: Method,
    path: &str,
    body: &str,
) -> io::Result<(StatusCode, Bytes)> {
    let exchange = async {
        let stream = TcpStream::connect(addr).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        // It ends with the sender.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, addr.to_string())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .map_err(io::Error::other)?;
        let response = sender
            .send_request(request)
            .await
            .map_err(io::Error::other)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(io::Error::other)?;
        Ok((head.status, body.to_bytes()))
    };
    tokio::time::timeout(ANSWER_TIME_MAX, exchange)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

fn free_port() -> io::Result<SocketAddr> {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn spawn(
    command: &[String],
    variables: &[(String, String)],
    log: &Path,
) -> Result<Child, JudgeError> {
    let failed = |source| JudgeError::new("run the command", source);
    let (program, args) = command
        .split_first()
        .ok_or_else(|| failed(io::Error::other("there is none")))?;
    let out = File::options()
        .create(true)
        .append(true)
        .open(log)
        .map_err(failed)?;
    let err = out.try_clone().map_err(failed)?;
    let mut command = Command::new(program);
    command
        .args(args)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .kill_on_drop(true);
    // `cargo run -p …` is a parent: what serves is its child, and dies with the group.
    #[cfg(unix)]
    command.process_group(0);
    command.spawn().map_err(failed)
}

async fn end(child: &mut Child) {
    #[cfg(unix)]
    if let Some(group) = child
        .id()
        .and_then(|id| rustix::process::Pid::from_raw(id as i32))
    {
        // It fails only if the group has ended by itself.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill().await;
}
