//! A connection that says exactly the bytes it is told to, and keeps what it hears.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::DEADLINE;

/// A good handshake's headers but for the request line.
pub const GOOD: [(&str, &str); 5] = [
    ("Host", "quotes.example"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];

/// An HTTP request with these headers in this order.
pub fn request(line: &str, headers: &[(&str, &str)]) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{line} HTTP/1.1\r\n{headers}\r\n")
}

/// The good handshake with more headers.
pub fn upgrade(path: &str, more: &[(&str, &str)]) -> String {
    request(&format!("GET {path}"), &[&GOOD[..], more].concat())
}

/// A masked client frame, final, with a mask of zeros.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("no long frame");
    let [high, low] = length.to_be_bytes();
    let length = if length < 126 { vec![0x80 | low] } else { vec![0x80 | 126, high, low] };
    [&[0x80 | opcode], &length[..], &[0; 4], payload].concat()
}

/// One connection.
pub struct Raw {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Raw {
    /// Connects and says nothing.
    pub async fn connect(address: SocketAddr) -> Raw {
        Raw { stream: TcpStream::connect(address).await.unwrap(), heard: Vec::new() }
    }

    /// Connects and says this.
    pub async fn say_to(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Raw {
        let mut raw = Raw::connect(address).await;
        raw.say(bytes).await;
        raw
    }

    /// Says more. The other side may have stopped listening.
    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// An answer's head, status line first; what follows it is kept.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.heard.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head: Vec<u8> = self.heard.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            let read = timeout(DEADLINE, self.stream.read_buf(&mut self.heard)).await.expect("an answer in time");
            if !read.is_ok_and(|length| length > 0) {
                return String::new();
            }
        }
    }

    /// The status of the next answer; 0 when the connection ends without one.
    pub async fn status(&mut self) -> u16 {
        let head = self.head().await;
        head.split(' ').nth(1).map_or(0, |status| status.parse().unwrap())
    }

    /// These many bytes more.
    pub async fn bytes(&mut self, length: usize) -> Vec<u8> {
        while self.heard.len() < length {
            let read = timeout(DEADLINE, self.stream.read_buf(&mut self.heard)).await.expect("bytes in time");
            assert!(read.unwrap() > 0, "it ended after {:?}", String::from_utf8_lossy(&self.heard));
        }
        self.heard.drain(..length).collect()
    }

    /// All there is until the connection ends, by a goodbye or a reset.
    pub async fn rest(mut self) -> Vec<u8> {
        let _ = timeout(DEADLINE, self.stream.read_to_end(&mut self.heard)).await.expect("an end in time");
        self.heard
    }
}
