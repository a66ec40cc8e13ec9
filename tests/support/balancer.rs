//! One address in front of several gateways, as a platform's load balancer is: asks each whether it is ready, and gives new
//! connections to those that are, in turn. It does nothing about connections that stand.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::process::Role;

/// How often each is asked.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// An answer that takes longer is none.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A gateway's ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend {
    public: SocketAddr,
    ops: SocketAddr,
}

impl From<&Role> for Backend {
    fn from(role: &Role) -> Backend {
        Backend { public: role.address(), ops: role.ops }
    }
}

/// Ends when dropped.
pub struct Balancer {
    address: SocketAddr,
    backends: watch::Sender<Vec<Backend>>,
    ready: watch::Receiver<Vec<Backend>>,
    _tasks: JoinSet<()>,
}

impl Balancer {
    pub async fn start() -> Balancer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (backends, listed) = watch::channel(Vec::new());
        let (sender, ready) = watch::channel(Vec::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(probe(listed, sender));
        let choice = ready.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            let mut turn = 0;
            while let Ok((client, _)) = listener.accept().await {
                turn += 1;
                let ready = choice.borrow();
                let Some(backend) = ready.get(turn % ready.len().max(1)).copied() else { continue };
                drop(ready);
                connections.spawn(pass(client, backend.public));
            }
        });
        Balancer { address, backends, ready, _tasks: tasks }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts one behind it; waits until it is used.
    pub async fn add(&self, backend: Backend) {
        self.backends.send_modify(|backends| backends.push(backend));
        let used = self.ready.clone().wait_for(|ready| ready.contains(&backend)).await.map(drop);
        used.expect("it asks while it lives");
    }

    /// Takes one away.
    pub fn remove(&self, backend: Backend) {
        self.backends.send_modify(|backends| backends.retain(|other| *other != backend));
    }
}

async fn probe(listed: watch::Receiver<Vec<Backend>>, ready: watch::Sender<Vec<Backend>>) {
    loop {
        let backends = listed.borrow().clone();
        let mut found = Vec::new();
        for backend in backends {
            if timeout(ANSWER_WITHIN, is_ready(backend.ops)).await.is_ok_and(|ready| ready) {
                found.push(backend);
            }
        }
        ready.send_if_modified(|ready| std::mem::replace(ready, found.clone()) != found);
        sleep(ASK_EVERY).await;
    }
}

async fn is_ready(ops: SocketAddr) -> bool {
    let Ok(mut socket) = TcpStream::connect(ops).await else { return false };
    let request = b"GET /ready HTTP/1.1\r\nHost: ops\r\nConnection: close\r\n\r\n";
    let mut answer = Vec::new();
    socket.write_all(request).await.is_ok()
        && socket.read_to_end(&mut answer).await.is_ok()
        && answer.starts_with(b"HTTP/1.1 200")
}

async fn pass(mut client: TcpStream, backend: SocketAddr) {
    let Ok(mut server) = TcpStream::connect(backend).await else { return };
    // either side may go at any time
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}
