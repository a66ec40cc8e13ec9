//! Whose connection it really is, when a trusted proxy passes it on: the PROXY protocol in front of the bytes,
//! `X-Forwarded-For` in the request.
//!
//! Pure, but for reading the bytes. Only what a trusted network says is believed, and of that only what was added last:
//! everything further left a client may have written itself. At its limit ([`MAX_PROXY_BYTES`]) a PROXY header is
//! refused and the connection ends.

use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use hyper::http;
use ipnet::IpNet;
use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest PROXY header: 108 bytes in version 1; in version 2 addresses and as many extensions as clouds send.
pub(super) const MAX_PROXY_BYTES: usize = 2048;

/// Version 2: beginning, command, family and length.
const V2_FIXED_BYTES: usize = 16;

/// How each version begins; nothing of HTTP or TLS does.
const BEGINNINGS: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];

/// What networks are believed.
#[derive(Debug, Clone, Default)]
pub(super) struct Trusted(Vec<IpNet>);

/// Whose connection or request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// This address's; limits count it.
    Client(IpAddr),
    /// A trusted proxy's own, such as a health check. Limits by address are not for it.
    Proxy(IpAddr),
}

impl Origin {
    pub(super) fn address(self) -> IpAddr {
        match self {
            Origin::Client(address) | Origin::Proxy(address) => address,
        }
    }
}

impl Trusted {
    pub(super) fn new(networks: &[IpNet]) -> Trusted {
        Trusted(networks.to_vec())
    }

    /// Who a peer is, by its address alone.
    pub(super) fn origin(&self, peer: IpAddr) -> Origin {
        let peer = peer.to_canonical();
        if self.0.iter().any(|network| network.contains(&peer)) { Origin::Proxy(peer) } else { Origin::Client(peer) }
    }

    /// Whose request it is: from the right, the first address that is not trusted. An entry that is none counts as the
    /// proxy that wrote it, and limits do count it then, since nobody knows how many clients stand behind it.
    pub(super) fn of_request(&self, peer: Origin, headers: &HeaderMap) -> Origin {
        let Origin::Proxy(mut hop) = peer else { return peer };
        let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
        let entries = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
        for entry in entries {
            match std::str::from_utf8(entry).ok().and_then(|text| read_entry(text.trim())) {
                None => return Origin::Client(hop),
                Some(address) => match self.origin(address) {
                    Origin::Proxy(address) => hop = address,
                    client @ Origin::Client(_) => return client,
                },
            }
        }
        Origin::Proxy(hop)
    }
}

/// An address, with or without a port or brackets: proxies write all four.
fn read_entry(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip().to_canonical());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// What stands before the first byte of HTTP or TLS.
#[derive(Debug, PartialEq, Eq)]
enum Beginning {
    /// More bytes are needed to tell.
    Unclear,
    /// No PROXY header.
    None,
    /// A header of this length. No address: the proxy speaks for itself (LOCAL, UNKNOWN).
    Header(Option<IpAddr>, usize),
    /// Something that begins like a header and is none.
    Bad,
}

fn read_beginning(bytes: &[u8]) -> Beginning {
    let begun = |beginning: &&[u8]| beginning.iter().zip(bytes).all(|(a, b)| a == b);
    let Some(beginning) = BEGINNINGS.iter().find(|beginning| begun(beginning)) else { return Beginning::None };
    if bytes.len() < beginning.len() {
        return Beginning::Unclear;
    }
    let config = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };
    match ProxyHeader::parse(bytes, config) {
        Ok((header, length)) => {
            let source = header.proxied_address().map(|proxied| proxied.source.ip().to_canonical());
            Beginning::Header(source, length)
        }
        Err(Error::BufferTooShort) if bytes.len() < announced(bytes) => Beginning::Unclear,
        Err(_) => Beginning::Bad,
    }
}

/// How long the header is, as far as it says: version 2 has its length in bytes 15 and 16.
fn announced(bytes: &[u8]) -> usize {
    let length = match bytes {
        [b'\r', ..] => bytes.get(V2_FIXED_BYTES - 2..V2_FIXED_BYTES),
        _ => None,
    };
    let announced = length.map(|length| V2_FIXED_BYTES + usize::from(length[0]) * 256 + usize::from(length[1]));
    announced.unwrap_or(MAX_PROXY_BYTES).min(MAX_PROXY_BYTES)
}

/// Reads a PROXY header, if there is one. The address it names, and what was read beyond it.
///
/// # Errors
/// When there is a bad one, or the stream ends or fails in the middle.
pub(super) async fn read_proxy_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Option<IpAddr>, Bytes)> {
    let mut bytes = BytesMut::with_capacity(MAX_PROXY_BYTES);
    loop {
        match read_beginning(&bytes) {
            Beginning::None => return Ok((None, bytes.freeze())),
            Beginning::Header(source, length) => return Ok((source, bytes.split_off(length).freeze())),
            Beginning::Bad => return Err(io::Error::new(io::ErrorKind::InvalidData, "a bad PROXY header")),
            Beginning::Unclear => {}
        }
        let room = MAX_PROXY_BYTES - bytes.len();
        if (&mut *stream).take(room as u64).read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn trusted() -> Trusted {
        Trusted::new(&["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()])
    }

    fn forwarded(peer: &str, lines: &[&str]) -> Origin {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", http::HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        trusted().of_request(trusted().origin(ip(peer)), &headers)
    }

    #[test]
    fn the_right_most_untrusted_address_wins() {
        use Origin::{Client, Proxy};
        for (peer, lines, expected) in [
            ("192.0.2.1", &["198.51.100.7"][..], Client(ip("192.0.2.1"))),
            ("10.0.0.1", &["198.51.100.7"], Client(ip("198.51.100.7"))),
            ("::ffff:10.0.0.1", &["198.51.100.7"], Client(ip("198.51.100.7"))),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.7"], Client(ip("198.51.100.7"))),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.9.9.9"], Client(ip("198.51.100.7"))),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.7,10.9.9.9"], Client(ip("198.51.100.7"))),
            ("10.0.0.1", &["198.51.100.7:4711"], Client(ip("198.51.100.7"))),
            ("10.0.0.1", &["[2001:db9::1]:443"], Client(ip("2001:db9::1"))),
            ("10.0.0.1", &["[2001:db9::1]"], Client(ip("2001:db9::1"))),
            ("10.0.0.1", &["2001:db9::1, 2001:db8::9"], Client(ip("2001:db9::1"))),
            ("10.0.0.1", &["::ffff:198.51.100.7"], Client(ip("198.51.100.7"))),
            ("10.0.0.1", &[], Proxy(ip("10.0.0.1"))),
            ("10.0.0.1", &["10.0.0.9, 10.0.0.8"], Proxy(ip("10.0.0.9"))),
        ] {
            assert_eq!(forwarded(peer, lines), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn junk_counts_as_the_proxy_that_wrote_it() {
        for junk in ["unknown", "", "_hidden", "198.51.100.7 ", "1.2.3.4.5", "198.51.100.7, ", "a\u{e9}"] {
            let expected = if junk == "198.51.100.7 " { "198.51.100.7" } else { "10.0.0.1" };
            assert_eq!(forwarded("10.0.0.1", &[junk]), Origin::Client(ip(expected)), "{junk}");
        }
        assert_eq!(forwarded("10.0.0.1", &["8.8.8.8, junk, 10.0.0.2"]), Origin::Client(ip("10.0.0.2")));
    }

    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2, &[command, family], &length, rest].concat()
    }

    #[test]
    fn both_versions_of_the_proxy_protocol_are_read_in_any_pieces() {
        let v4 = [198, 51, 100, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db9::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
        let with_tlv = [&v4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        for (header, source) in [
            (b"PROXY TCP4 198.51.100.7 10.0.0.1 4711 80\r\n".to_vec(), Some("198.51.100.7")),
            (b"PROXY TCP6 2001:db9::1 2001:db8::1 4711 80\r\n".to_vec(), Some("2001:db9::1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN whatever else\r\n".to_vec(), None),
            (v2(0x21, 0x11, &v4), Some("198.51.100.7")),
            (v2(0x21, 0x11, &with_tlv), Some("198.51.100.7")),
            (v2(0x21, 0x21, &v6), Some("2001:db9::1")),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &v4), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ] {
            let whole = [&header[..], b"GET /"].concat();
            assert_eq!(read_beginning(&whole), Beginning::Header(source.map(ip), header.len()), "{header:?}");
            for end in 0..header.len() {
                assert_eq!(read_beginning(&header[..end]), Beginning::Unclear, "{header:?} up to {end}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_left_alone_and_what_is_a_bad_one_is_refused() {
        for other in [&b"GET / HTTP/1.1"[..], b"POST", b"PUT", b"\x16\x03\x01", b"\r\nGET", b"P/", b"\r\n\r\nG"] {
            assert_eq!(read_beginning(other), Beginning::None, "{other:?}");
        }
        for unclear in [&b""[..], b"P", b"PR", b"\r\n"] {
            assert_eq!(read_beginning(unclear), Beginning::Unclear, "{unclear:?}");
        }
        let endless = [b"PROXY TCP4 ", &[b'1'; 100][..]].concat();
        for bad in [
            b"PROXY TCP5 198.51.100.7 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 198.51.100.777 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 198.51.100.7 10.0.0.1 1 99999\r\n".to_vec(),
            endless,
            v2(0x11, 0x11, &[0; 12]),
            v2(0x2f, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 3]),
            v2(0x21, 0x00, &[0; MAX_PROXY_BYTES])[..MAX_PROXY_BYTES].to_vec(),
        ] {
            assert_eq!(read_beginning(&bad), Beginning::Bad, "{:?}", String::from_utf8_lossy(&bad));
        }
    }
}
