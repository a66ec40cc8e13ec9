//! A wire between clients and Redis that can be cut without either end noticing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Forwards connections to one port.
pub struct Proxy {
    port: u16,
    wire: Arc<Wire>,
    task: JoinHandle<()>,
}

struct Wire {
    /// Nothing passes, in either direction; what is sent arrives when it is joined again, as TCP would have it.
    is_cut: watch::Sender<bool>,
    /// Nothing reaches connections that had subscribed before.
    swallow: AtomicBool,
    /// What clients sent while it was cut, of each connection that did.
    held: Mutex<Vec<Arc<[u8]>>>,
}

impl Proxy {
    pub async fn start(to: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let wire = Arc::new(Wire {
            is_cut: watch::Sender::new(false),
            swallow: AtomicBool::new(false),
            held: Mutex::default(),
        });
        let shared = wire.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((client, _)) = listener.accept().await else { return };
                let wire = shared.clone();
                connections.spawn(async move { wire.forward(client, to).await });
            }
        });
        Proxy { port, wire, task }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on, nothing reaches the clients that have subscribed before now. Later connections work.
    pub fn kill_subscribers_silently(&self) {
        self.wire.swallow.store(true, Ordering::SeqCst);
    }

    pub fn cut(&self) {
        self.wire.is_cut.send_replace(true);
    }

    /// Whether it holds bytes of a client with this text among them.
    pub fn holds(&self, text: &str) -> bool {
        let has_text = |bytes: &Arc<[u8]>| bytes.windows(text.len()).any(|word| word == text.as_bytes());
        self.wire.held.lock().expect("nobody panics with it").iter().any(has_text)
    }

    pub fn join(&self) {
        self.wire.is_cut.send_replace(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wire {
    async fn forward(&self, client: TcpStream, to: u16) {
        self.joined().await;
        let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let has_subscribed = AtomicBool::new(false);
        let was_open = !self.swallow.load(Ordering::SeqCst);
        let up = async {
            let mut bytes = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
                if bytes[..read].windows(9).any(|word| word == b"SUBSCRIBE") {
                    has_subscribed.store(true, Ordering::SeqCst);
                }
                self.hold(&bytes[..read]).await;
                if to_server.write_all(&bytes[..read]).await.is_err() {
                    return;
                }
            }
        };
        let down = async {
            let mut bytes = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = from_server.read(&mut bytes).await {
                self.joined().await;
                let is_dead = was_open && has_subscribed.load(Ordering::SeqCst) && self.swallow.load(Ordering::SeqCst);
                if !is_dead && to_client.write_all(&bytes[..read]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = up => {}
            () = down => {}
        }
    }

    /// Holds what a client sent until the wire is joined.
    async fn hold(&self, bytes: &[u8]) {
        if !*self.is_cut.borrow() {
            return;
        }
        let held: Arc<[u8]> = bytes.into();
        self.held.lock().expect("nobody panics with it").push(Arc::clone(&held));
        self.joined().await;
        self.held.lock().expect("nobody panics with it").retain(|other| !Arc::ptr_eq(other, &held));
    }

    async fn joined(&self) {
        let mut is_cut = self.is_cut.subscribe();
        is_cut.wait_for(|is_cut| !is_cut).await.expect("the wire is there");
    }
}
