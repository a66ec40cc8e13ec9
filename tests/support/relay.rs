//! A port that stays while the gateways behind it come and go.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Passes bytes on to whatever stands behind it; while nothing does, connections are closed at once. Ends when dropped.
pub struct Relay {
    address: SocketAddr,
    behind: watch::Sender<Option<SocketAddr>>,
    _tasks: JoinSet<()>,
}

impl Relay {
    pub async fn to(behind: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (sender, receiver) = watch::channel(Some(behind));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let behind = *receiver.borrow();
                connections.spawn(async move {
                    let Some(behind) = behind else { return };
                    pass(client, behind).await;
                });
            }
        });
        Relay { address, behind: sender, _tasks: tasks }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections from now on.
    pub fn set(&self, behind: Option<SocketAddr>) {
        self.behind.send_replace(behind);
    }
}

async fn pass(mut client: TcpStream, behind: SocketAddr) {
    let Ok(mut server) = TcpStream::connect(behind).await else { return };
    // either side may go at any time
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}
