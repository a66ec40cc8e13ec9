//! A WebSocket client for tests: waits for what it expects, with a generous deadline.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::DEADLINE;

/// One connection, over TCP unless something else is said.
pub struct Client<S = TcpStream> {
    stream: WebSocketStream<S>,
}

impl Client {
    /// Connects to `path` and reads the `connected` message.
    pub async fn connect(address: SocketAddr, path: &str) -> Client {
        let mut client = Client::open(address, path).await;
        assert_eq!(client.next().await["type"], "connected");
        client
    }

    /// Connects to `path` and reads nothing.
    pub async fn open(address: SocketAddr, path: &str) -> Client {
        let stream = TcpStream::connect(address).await.expect("the gateway listens");
        let (stream, _) = client_async(format!("ws://{address}{path}"), stream).await.expect("a good handshake");
        Client { stream }
    }

    /// Connects to `path` if it is let in.
    pub async fn open_or_not(address: SocketAddr, path: &str) -> Option<Client> {
        let stream = TcpStream::connect(address).await.ok()?;
        let (stream, _) = client_async(format!("ws://{address}{path}"), stream).await.ok()?;
        Some(Client { stream })
    }

    /// Connects to `path` with more headers and reads nothing; what the handshake was answered with.
    pub async fn with_headers(
        address: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(Client, Response), Error> {
        let mut request = format!("ws://{address}{path}").into_client_request().expect("a good URL");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a good header"));
        }
        let stream = TcpStream::connect(address).await.expect("the gateway listens");
        let (stream, response) = client_async(request, stream).await?;
        Ok((Client { stream }, response))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Upgrades a connection and reads nothing.
    pub async fn over(stream: S, url: &str) -> Client<S> {
        let (stream, _) = client_async(url, stream).await.expect("a good handshake");
        Client { stream }
    }

    /// Sends a text message.
    pub async fn say(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.expect("the gateway reads");
    }

    /// Sends a text message if the gateway still reads.
    pub async fn try_say(&mut self, text: &str) -> Result<(), Error> {
        self.stream.send(Message::text(text)).await
    }

    /// Sends any message.
    pub async fn send(&mut self, message: Message) {
        self.stream.send(message).await.expect("the gateway reads");
    }

    /// The next text message as it came.
    pub async fn next_text(&mut self) -> String {
        loop {
            match self.next_message().await {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("expected text, got {other:?}"),
            }
        }
    }

    /// The next text message as JSON.
    pub async fn next(&mut self) -> Value {
        serde_json::from_str(&self.next_text().await).expect("every message is JSON")
    }

    /// The next message of a type; others before it are passed over.
    pub async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// Says something and returns the next message.
    pub async fn ask(&mut self, text: &str) -> Value {
        self.say(text).await;
        self.next().await
    }

    /// Subscribes and waits for the acknowledgement.
    pub async fn subscribe(&mut self, symbols: &[&str]) {
        let request = serde_json::json!({"action": "subscribe", "symbols": symbols});
        self.say(&request.to_string()).await;
        self.next_of("subscribed").await;
    }

    /// Reads until the close frame; its code.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.next_message().await {
                return frame.map_or(1005, |frame| CloseCode::into(frame.code));
            }
        }
    }

    /// The next message of any kind.
    pub async fn next_message(&mut self) -> Message {
        let next = tokio::time::timeout(DEADLINE, self.stream.next()).await.expect("a message in time");
        next.expect("the connection stands").expect("a good frame")
    }

    /// The socket beneath, for tests that do what no good client does.
    pub fn socket(&mut self) -> &mut S {
        self.stream.get_mut()
    }
}

/// Waits until `holds` does, looking again and again.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, looking).await.unwrap_or_else(|_| panic!("never held: {what}"));
}
