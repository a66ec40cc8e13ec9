//! The real binary as a child process: started on free ports, its log read for where it listens, killed when dropped.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::DEADLINE;

/// A running role.
pub struct Role {
    child: Child,
    /// The public port, of a gateway.
    pub public: Option<SocketAddr>,
    /// The ops port.
    pub ops: SocketAddr,
    /// Goes on reading the log, so that the process never waits for it.
    log: JoinHandle<Vec<String>>,
}

impl Role {
    /// Starts `tickcast ARGS` and waits until its ops port serves, which is last.
    pub async fn start(args: &[&str]) -> Role {
        Role::start_with(args, &[]).await
    }

    /// The same, with this environment.
    pub async fn start_with(args: &[&str], env: &[(&str, &str)]) -> Role {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tickcast"))
            .args(args)
            .args(["--ops-port", "0", "--log-format", "json"])
            .env_clear()
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = Vec::new();
        let (mut public, mut ops) = (None, None);
        let starting = async {
            while ops.is_none() {
                let Some(line) = lines.next_line().await.unwrap() else { panic!("it ended: {seen:#?}") };
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                let address = event["address"].as_str().and_then(|address| address.parse().ok());
                match event["message"].as_str() {
                    Some("gateway serves") => public = address,
                    Some(message) if message.starts_with("ops port serves") => ops = address,
                    _ => {}
                }
                seen.push(line);
            }
        };
        timeout(DEADLINE, starting).await.expect("it starts in time");
        let log = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                seen.push(line);
            }
            seen
        });
        Role { child, public, ops: ops.unwrap(), log }
    }

    /// A gateway on this Redis.
    pub async fn gateway(redis: &str, more: &[&str]) -> Role {
        Role::gateway_with(redis, more, &[]).await
    }

    /// The same, with this environment.
    pub async fn gateway_with(redis: &str, more: &[&str], env: &[(&str, &str)]) -> Role {
        let args = ["gateway", "--redis-url", redis, "--bind", "127.0.0.1", "--port", "0"];
        Role::start_with(&[&args[..], more].concat(), env).await
    }

    /// A publisher on this Redis that replays the price history among the test data.
    pub async fn replaying(redis: &str) -> Role {
        let file = concat!("providers.replay.file=", env!("CARGO_MANIFEST_DIR"), "/tests/data/stocks_monthly.csv");
        let args = ["publisher", "--redis-url", redis, "--provider", "replay", "--set", file];
        Role::start(
            &[&args[..], &["--set", "providers.replay.repeat=true", "--set", "publisher.interval_s=0.2"]].concat(),
        )
        .await
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.public.expect("a gateway")
    }

    /// kill -9.
    pub async fn kill9(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Any signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// It does nothing any more; the kernel goes on taking bytes for it.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).unwrap()
    }

    /// Waits for its end; the status and the log.
    pub async fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let status = timeout(2 * DEADLINE, self.child.wait()).await.expect("it ends in time").unwrap();
        (status, self.log.await.unwrap())
    }

    /// SIGTERM, and wait.
    pub async fn stop(self) -> (ExitStatus, Vec<String>) {
        self.terminate();
        self.ended().await
    }

    /// GET a path of the ops port as JSON.
    pub async fn ask(&self, path: &str) -> Value {
        let body = self.get(path).await;
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    /// A metric by its name and labels, as they are written; 0 when there is none.
    pub async fn metric(&self, name: &str) -> f64 {
        let metrics = self.get("/metrics").await;
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    async fn get(&self, path: &str) -> String {
        let mut socket = tokio::net::TcpStream::connect(self.ops).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: ops\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(DEADLINE, socket.read_to_end(&mut answer)).await.expect("an answer in time").unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        body.to_owned()
    }
}
