//! The WebSocket upgrade as this client asks for it and checks it.
//!
//! Every client sends the key of RFC 6455's own example (§1.3), whose answer is known, so that no hashing is needed. Pure.

use std::net::SocketAddr;

/// The key sent and the `Sec-WebSocket-Accept` that answers it.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The longest response head read; a gateway's has a few hundred bytes.
pub(crate) const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// Why a server did not upgrade.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("HTTP {0}")]
    Status(u16),
    #[error("the handshake's answer is not HTTP")]
    NotHttp,
    #[error("the handshake's answer has no right Sec-WebSocket-Accept")]
    Accept,
}

/// The request for `path` at `target`.
pub(crate) fn request(target: SocketAddr, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {target}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nUser-Agent: tickcast-loadtest\r\n\r\n"
    )
    .into_bytes()
}

/// How many bytes the server's consent took; `None` while incomplete.
///
/// # Errors
/// [`Refused`] when it is no consent.
pub(crate) fn read_response(buffer: &[u8]) -> Result<Option<usize>, Refused> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let bytes = match response.parse(buffer) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) if buffer.len() < MAX_HEAD_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Refused::NotHttp),
    };
    match response.code {
        Some(101) => {}
        code => return Err(Refused::Status(code.unwrap_or(0))),
    }
    let accept = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-accept"));
    match accept {
        Some(header) if header.value == ACCEPT.as_bytes() => Ok(Some(bytes)),
        _ => Err(Refused::Accept),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSENT: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    #[test]
    fn consent_ends_where_the_first_frame_begins() {
        let with_frame = [CONSENT, &[0x81, 0x00]].concat();
        assert_eq!(read_response(&with_frame), Ok(Some(CONSENT.len())));
        for cut in 0..CONSENT.len() {
            assert_eq!(read_response(&CONSENT[..cut]), Ok(None));
        }
    }

    #[test]
    fn a_refusal_keeps_its_status() {
        assert_eq!(
            read_response(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n\r\n"),
            Err(Refused::Status(429))
        );
        assert_eq!(read_response(b"HTTP/1.1 101 Ok\r\n\r\n"), Err(Refused::Accept));
        assert_eq!(read_response(b"SSH-2.0-OpenSSH\r\n\r\n"), Err(Refused::NotHttp));
        assert_eq!(read_response(&[b'H'; 1]), Ok(None));
        assert_eq!(read_response(&vec![b' '; MAX_HEAD_BYTES]), Err(Refused::NotHttp));
    }
}
