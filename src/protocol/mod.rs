//! What is said on a client's socket and on the control channel, and the frames it is said in.
//!
//! Pure: bytes and texts in, bytes and decisions out; no socket, no clock. The only floor that names the WebSocket
//! crate. It does not know who watches what (`hub`) nor how bytes travel (`gateway`).

pub mod auth;
mod bucket;
pub mod control;
pub mod deflate;
pub mod event;
pub mod frame;
pub mod message;
pub mod publication;
pub mod reader;
pub mod reply;
pub mod request;
pub mod session;
