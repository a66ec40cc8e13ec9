//! A small HTTP/1.1 client: one request a connection, or a stream of server-sent events.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::DEADLINE;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The code of an error.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// `GET`.
pub async fn get(to: SocketAddr, path: &str) -> Answer {
    request(to, "GET", path, &[]).await
}

/// A request without a body.
pub async fn request(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut socket = BufReader::new(TcpStream::connect(to).await.unwrap());
    send(socket.get_mut(), method, path, headers, "close").await;
    timeout(DEADLINE, async {
        let (status, headers) = head(&mut socket).await;
        let mut body = Vec::new();
        socket.read_to_end(&mut body).await.unwrap();
        if headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked") {
            body = unchunked(&body);
        }
        Answer { status, headers, body }
    })
    .await
    .expect("an answer in time")
}

async fn send(socket: &mut TcpStream, method: &str, path: &str, headers: &[(&str, &str)], connection: &str) {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: quotes.example\r\nConnection: {connection}\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    socket.write_all(text.as_bytes()).await.unwrap();
}

async fn head(socket: &mut BufReader<TcpStream>) -> (u16, Vec<(String, String)>) {
    let mut line = String::new();
    socket.read_line(&mut line).await.unwrap();
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no HTTP: {line:?}"));
    let mut headers = Vec::new();
    loop {
        line.clear();
        socket.read_line(&mut line).await.unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { return (status, headers) };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n").expect("a chunk's size");
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
}

/// A stream of events.
pub struct Events {
    socket: BufReader<TcpStream>,
    /// Of the last event that had one.
    pub last_id: Option<String>,
}

impl Events {
    /// Opens a stream; it must be let in.
    pub async fn open(to: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Events {
        Events::opened(TcpStream::connect(to).await.unwrap(), path, headers).await
    }

    /// Opens it on this connection.
    pub async fn opened(socket: TcpStream, path: &str, headers: &[(&str, &str)]) -> Events {
        let mut socket = BufReader::new(socket);
        send(socket.get_mut(), "GET", path, headers, "keep-alive").await;
        let (status, headers) = timeout(DEADLINE, head(&mut socket)).await.expect("an answer in time");
        let kind = headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.as_str());
        assert_eq!((status, kind), (200, Some("text/event-stream")));
        Events { socket, last_id: None }
    }

    /// The next event's data; `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<Value> {
        timeout(DEADLINE, self.read()).await.expect("an event in time")
    }

    /// The next event of this type; the stream goes on until then.
    pub async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("it ended before {kind}"));
            if event["type"] == kind {
                return event;
            }
        }
    }

    async fn read(&mut self) -> Option<Value> {
        let (mut line, mut data) = (String::new(), String::new());
        loop {
            line.clear();
            if self.socket.read_line(&mut line).await.unwrap_or(0) == 0 {
                return None;
            }
            let text = line.trim_end();
            if let Some(part) = text.strip_prefix("data: ") {
                data.push_str(part);
            } else if let Some(id) = text.strip_prefix("id: ") {
                self.last_id = Some(id.to_owned());
            } else if text.is_empty() && !data.is_empty() {
                return Some(serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}")));
            }
            // Chunk sizes, comments and retry hints are passed over.
        }
    }
}
