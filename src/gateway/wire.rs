//! A connection's bytes while the front door has it: plain or TLS, what was read too early put back in front.
//!
//! Bounded in time on the way out: a peer that takes nothing for the slow client's time-out is an error, so that answers
//! nobody reads hold no task for ever. On the way in hyper and the front door keep the time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;

/// Read and thrown away after the last answer, so that the kernel does not follow it with a reset.
const FAREWELL_BYTES: usize = 256 * 1024;
/// How long that may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// A connection the front door serves.
pub(super) struct Wire {
    inner: Inner,
    patience: Duration,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

enum Inner {
    Plain(Prefixed),
    Tls(Box<TlsStream<Prefixed>>),
}

/// A socket and bytes that were read from it and are still to be understood.
pub(super) struct Prefixed {
    prefix: Bytes,
    stream: TcpStream,
}

/// What a shard goes on with.
pub(super) struct Bare {
    pub(super) stream: std::net::TcpStream,
    pub(super) tls: Option<Box<ServerConnection>>,
    /// Read by hyper, or put back and not read by anyone.
    pub(super) early: Bytes,
}

impl Prefixed {
    pub(super) fn new(prefix: Bytes, stream: TcpStream) -> Prefixed {
        Prefixed { prefix, stream }
    }
}

impl Wire {
    /// Plain TCP. A write that makes no progress for `patience` fails.
    pub(super) fn plain(stream: Prefixed, patience: Duration) -> Wire {
        Wire { inner: Inner::Plain(stream), patience, stalled: None }
    }

    /// TLS, after its handshake.
    pub(super) fn tls(stream: TlsStream<Prefixed>, patience: Duration) -> Wire {
        Wire { inner: Inner::Tls(Box::new(stream)), patience, stalled: None }
    }

    /// Takes the socket out of the runtime. `read` is what hyper has read beyond the request.
    pub(super) fn into_bare(self, read: Bytes) -> io::Result<Bare> {
        let (Prefixed { mut prefix, stream }, tls) = match self.inner {
            Inner::Plain(stream) => (stream, None),
            Inner::Tls(stream) => {
                let (stream, connection) = stream.into_inner();
                (stream, Some(Box::new(connection)))
            }
        };
        let (mut tls, mut early) = (tls, read);
        if let Some(connection) = &mut tls {
            while !prefix.is_empty() {
                connection.read_tls(&mut (&mut prefix).reader())?;
                connection.process_new_packets().map_err(io::Error::other)?;
            }
        } else if !prefix.is_empty() {
            early = [early, prefix].concat().into();
        }
        Ok(Bare { stream: stream.into_std()?, tls, early })
    }

    /// Ends a connection so that its last answer arrives: says that nothing follows, then reads on for a while. A socket
    /// that is closed with unread bytes in it resets the connection, and the answer with it.
    pub(super) async fn farewell(mut self) {
        use tokio::io::AsyncWriteExt;
        let goodbye = async {
            let mut scrap = BytesMut::with_capacity(4096);
            let mut read = 0;
            if self.shutdown().await.is_err() {
                return;
            }
            while read < FAREWELL_BYTES {
                scrap.clear();
                match self.read_buf(&mut scrap).await {
                    Ok(0) | Err(_) => return,
                    Ok(length) => read += length,
                }
            }
        };
        // Whoever goes on sending is cut.
        let _ = tokio::time::timeout(FAREWELL, goodbye).await;
    }

    fn write_with<T>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut dyn Stream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let this = self.get_mut();
        let written = match &mut this.inner {
            Inner::Plain(stream) => write(Pin::new(stream), cx),
            Inner::Tls(stream) => write(Pin::new(&mut **stream), cx),
        };
        if written.is_ready() {
            this.stalled = None;
            return written;
        }
        let patience = this.patience;
        let stalled = this.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Both directions, for calls by reference.
trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().inner {
            Inner::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Inner::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write_with(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_with(cx, |stream, cx| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write_with(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write_with(cx, |stream, cx| stream.poll_shutdown(cx))
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let length = self.prefix.len().min(into.remaining());
        into.put_slice(&self.prefix.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
