//! As much of HTTP as asking a gateway for its health and its metrics needs.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};

const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// `GET path`: the status and the body.
pub(crate) fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // HTTP/1.0 asks for an answer that ends with the connection and is not chunked.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(&answer).with_context(|| format!("http://{address}{path} does not answer HTTP"))?;
    ensure!(parsed.is_complete(), "http://{address}{path} broke off");
    let body = String::from_utf8_lossy(&answer[parsed.unwrap()..]).into_owned();
    Ok((response.code.unwrap_or(0), body))
}

/// The counters of a gateway: each series, and the sum of its labels under the bare name. Empty when nobody answers.
pub(crate) fn counters(ops: SocketAddr) -> BTreeMap<String, f64> {
    match get(ops, "/metrics") {
        Ok((200, text)) => read_counters(&text),
        _ => BTreeMap::new(),
    }
}

fn read_counters(text: &str) -> BTreeMap<String, f64> {
    let mut counters = BTreeMap::new();
    for line in text.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let name = series.split('{').next().unwrap_or(series).trim();
        if let (true, Ok(value)) = (name.starts_with("tickcast_") && name.ends_with("_total"), value.parse::<f64>()) {
            *counters.entry(name.to_owned()).or_default() += value;
            if name != series {
                counters.insert(series.to_owned(), value);
            }
        }
    }
    counters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_taken_singly_and_summed_over_their_labels() {
        let text = "# TYPE tickcast_closes_total counter\n\
            tickcast_closes_total{code=\"1000\"} 3\ntickcast_closes_total{code=\"4409\"} 2\n\
            tickcast_connections 7\nprocess_cpu_seconds_total 9\ntickcast_updates_received_total 41\n";
        let counters = read_counters(text);
        assert_eq!(counters.len(), 4);
        assert_eq!(counters["tickcast_closes_total{code=\"4409\"}"], 2.0);
        assert_eq!((counters["tickcast_closes_total"], counters["tickcast_updates_received_total"]), (5.0, 41.0));
    }
}
