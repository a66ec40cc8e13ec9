//! A request's body, bounded in time and size.
//!
//! hyper limits how long a request's head may take; the body of one that never ends would hold its handler for ever.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use http_body_util::Limited;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

/// The longest body of any request on the public port; handlers take less.
pub(super) const MAX_BODY_BYTES: usize = 64 * 1024;

/// A body that must be there within a time.
pub(super) struct Timely {
    body: Limited<Incoming>,
    patience: Duration,
    /// Runs from the first time the body kept its reader waiting.
    late: Option<Pin<Box<Sleep>>>,
}

/// The body took too long.
#[derive(Debug, thiserror::Error)]
#[error("the body took too long")]
struct Late;

impl Timely {
    pub(super) fn new(body: Incoming, patience: Duration) -> Timely {
        Timely { body: Limited::new(body, MAX_BODY_BYTES), patience, late: None }
    }
}

impl Body for Timely {
    type Data = bytes::Bytes;
    /// What [`Limited`] says, or that it was late.
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let patience = self.patience;
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(patience)));
        match late.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(Late.into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
