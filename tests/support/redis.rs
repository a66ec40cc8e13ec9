//! A private redis-server, and what can happen to one.
//!
//! Each test has its own, on a port that was free, without persistence. It dies with its owner.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::DEADLINE;

/// A running server.
pub struct RedisServer {
    child: Child,
    port: u16,
    args: Vec<String>,
    password: Option<String>,
    dir: TempDir,
}

/// What Redis answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Status(String),
    Error(String),
    Number(i64),
    Text(String),
    Nothing,
    List(Vec<Reply>),
}

impl RedisServer {
    pub async fn start() -> RedisServer {
        RedisServer::start_with(&[]).await
    }

    /// Starts one with more arguments.
    pub async fn start_with(args: &[&str]) -> RedisServer {
        let password = args.iter().position(|arg| *arg == "--requirepass").map(|at| args[at + 1].to_owned());
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        for _ in 0..20 {
            let port = free_port();
            let dir = tempfile::tempdir().expect("a directory for Redis");
            let child = spawn(port, &args, &dir);
            let mut server = RedisServer { child, port, args: args.clone(), password: password.clone(), dir };
            if server.is_up_in_time().await {
                return server;
            }
            // Another process took the port in between.
        }
        panic!("no redis-server came up on 20 free ports");
    }

    /// A sentinel that watches the server on this port under the name `quotes`, and needs no other's agreement.
    pub async fn start_sentinel(of: &str) -> RedisServer {
        let sentinel = RedisServer::start_with(&["--sentinel"]).await;
        sentinel.command(&["SENTINEL", "MONITOR", "quotes", "127.0.0.1", of, "1"]);
        sentinel.command(&["SENTINEL", "SET", "quotes", "down-after-milliseconds", "1000"]);
        sentinel
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}", self.port),
            None => format!("redis://127.0.0.1:{}", self.port),
        }
    }

    /// Where its Unix socket is, when it was started with `--unixsocket redis.sock`.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// One command, as redis-cli would send it.
    pub fn command(&self, words: &[&str]) -> Reply {
        let mut connection = self.connect();
        if let Some(password) = &self.password {
            connection.command(&["AUTH", password]);
        }
        connection.command(words)
    }

    pub fn connect(&self) -> RawConnection {
        RawConnection::tcp(self.port)
    }

    /// `GET key`.
    pub fn get(&self, key: &str) -> Option<String> {
        match self.command(&["GET", key]) {
            Reply::Text(text) => Some(text),
            Reply::Nothing => None,
            other => panic!("GET {key} answered {other:?}"),
        }
    }

    /// `SMEMBERS key`, in order.
    pub fn members(&self, key: &str) -> Vec<String> {
        let mut members = self.command(&["SMEMBERS", key]).texts();
        members.sort();
        members
    }

    /// How often a command was carried out, by `INFO commandstats`.
    pub fn calls(&self, command: &str) -> u64 {
        let Reply::Text(info) = self.command(&["INFO", "commandstats"]) else { panic!("INFO answers a text") };
        let prefix = format!("cmdstat_{command}:calls=");
        let line = info.lines().find_map(|line| line.strip_prefix(&prefix));
        line.map_or(0, |line| line.split(',').next().expect("a number").parse().expect("a number"))
    }

    pub fn kill9(&mut self) {
        self.child.kill().expect("the server runs");
        self.child.wait().expect("the server was started here");
    }

    /// SIGTERM: it says good-bye to nobody, but closes its sockets.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
        self.child.wait().expect("the server was started here");
    }

    /// Starts it again on its port, empty.
    pub async fn restart(&mut self) {
        let end = Instant::now() + DEADLINE;
        loop {
            self.child = spawn(self.port, &self.args, &self.dir);
            if self.is_up_in_time().await {
                return;
            }
            assert!(Instant::now() < end, "redis-server does not come back on port {}", self.port);
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child has a process id");
        kill_process(pid, signal).expect("the server runs");
    }

    /// Whether it answers; not when it ended.
    async fn is_up_in_time(&mut self) -> bool {
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            if self.child.try_wait().expect("the server was started here").is_some() {
                return false;
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                // Unless it is somebody else who listens there.
                let Reply::Text(info) = self.command(&["INFO", "server"]) else { return false };
                return info.lines().any(|line| line == format!("process_id:{}", self.child.id()));
            }
            sleep(Duration::from_millis(5)).await;
        }
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may be frozen, or dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that speaks RESP2 by hand, so that tests do not trust what they test.
pub struct RawConnection {
    reader: BufReader<Box<dyn Read + Send>>,
    writer: Box<dyn Write + Send>,
}

impl RawConnection {
    pub fn tcp(port: u16) -> RawConnection {
        let socket = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        socket.set_read_timeout(Some(DEADLINE)).expect("a time-out");
        let writer = socket.try_clone().expect("a second handle");
        RawConnection { reader: BufReader::new(Box::new(socket)), writer: Box::new(writer) }
    }

    pub fn unix(path: &std::path::Path) -> RawConnection {
        let socket = UnixStream::connect(path).expect("the server listens");
        let writer = socket.try_clone().expect("a second handle");
        RawConnection { reader: BufReader::new(Box::new(socket)), writer: Box::new(writer) }
    }

    pub fn command(&mut self, words: &[&str]) -> Reply {
        self.send(words);
        self.reply()
    }

    /// Sends without waiting, for pipelines.
    pub fn send(&mut self, words: &[&str]) {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes());
        }
        self.writer.write_all(&bytes).expect("the server reads");
    }

    pub fn reply(&mut self) -> Reply {
        let line = self.line();
        let (kind, rest) = line.split_at(1);
        let count = || rest.parse::<i64>().expect("a number");
        match kind {
            "+" => Reply::Status(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Number(count()),
            "$" if count() < 0 => Reply::Nothing,
            "$" => {
                let mut bytes = vec![0; usize::try_from(count()).expect("a length") + 2];
                self.reader.read_exact(&mut bytes).expect("the server answers");
                bytes.truncate(bytes.len() - 2);
                Reply::Text(String::from_utf8_lossy(&bytes).into_owned())
            }
            "*" if count() < 0 => Reply::Nothing,
            "*" => Reply::List((0..count()).map(|_| self.reply()).collect()),
            _ => panic!("Redis answered {line:?}"),
        }
    }

    /// What Redis sends by itself to a subscriber; however long that takes. None when it is gone.
    pub fn next_message(&mut self) -> Option<Reply> {
        loop {
            match self.reader.fill_buf() {
                Ok([]) => return None,
                Ok(_) => return Some(self.reply()),
                // The time-out of an answer is none of a message.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("the server answers");
        line.trim_end().to_owned()
    }
}

impl Reply {
    pub fn texts(self) -> Vec<String> {
        match self {
            Reply::List(replies) => replies.into_iter().flat_map(Reply::texts).collect(),
            Reply::Text(text) | Reply::Status(text) => vec![text],
            Reply::Number(number) => vec![number.to_string()],
            Reply::Nothing => Vec::new(),
            Reply::Error(error) => panic!("Redis answered {error}"),
        }
    }

    pub fn number(&self) -> i64 {
        match self {
            Reply::Number(number) => *number,
            other => panic!("{other:?} is no number"),
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

fn spawn(port: u16, args: &[String], dir: &TempDir) -> Child {
    // A sentinel insists on a file to write its findings to.
    let config = dir.path().join("redis.conf");
    std::fs::write(&config, "").expect("a directory for Redis");
    Command::new("redis-server")
        .arg(config)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .arg("--dir")
        .arg(dir.path())
        .args(["--enable-debug-command", "local"])
        .args(args)
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("these tests need redis-server (6.2 or later) in PATH: install it, e.g. `apt-get install redis-server`")
}
