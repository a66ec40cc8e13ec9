//! Connections to Redis and writes that may be cut short.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::wire::RedisAddress;

use super::resp::{Reply, put_command, read_reply};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A blocking connection, authenticated when there is a password.
pub(crate) fn connect_redis(redis: &RedisAddress) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&redis.socket, CONNECT_TIMEOUT)
        .with_context(|| format!("no Redis at {}", redis.socket))?;
    stream.set_nodelay(true)?;
    if let Some(password) = &redis.password {
        let reply = ask_redis(&mut stream, &[&b"AUTH"[..], password.as_bytes()])?;
        if reply != "OK" {
            bail!("Redis at {} answers AUTH with {reply}", redis.socket);
        }
    }
    Ok(stream)
}

/// One command and its answer, as text: strings as they are, numbers and arrays spelled out.
pub(crate) fn ask_redis(stream: &mut TcpStream, command: &[&[u8]]) -> anyhow::Result<String> {
    let mut out = Vec::new();
    put_command(&mut out, command);
    stream.write_all(&out)?;
    let (mut buffer, mut chunk) = (Vec::new(), [0; 4_096]);
    loop {
        if let Some((reply, _)) = read_reply(&buffer)? {
            return spell(&reply);
        }
        match stream.read(&mut chunk)? {
            0 => bail!("Redis closed the connection"),
            bytes => buffer.extend_from_slice(&chunk[..bytes]),
        }
    }
}

fn spell(reply: &Reply<'_>) -> anyhow::Result<String> {
    Ok(match reply {
        Reply::Simple(text) | Reply::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
        Reply::Number(number) => number.to_string(),
        Reply::Nil => String::new(),
        Reply::Error(text) => bail!("Redis: {}", String::from_utf8_lossy(text)),
        Reply::Array(items) => items.iter().map(spell).collect::<Result<Vec<_>, _>>()?.join(" "),
    })
}

/// Writes as much of `bytes` as the socket takes without waiting and removes it.
pub(crate) fn write_some(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("writing to Redis"),
        }
    }
    bytes.drain(..sent);
    Ok(())
}
