//! The load test's clients: one process is a [`swarm`] of many, in one thread around one epoll.
//!
//! The swarm owns everything here; [`inbound`] and [`coming`] are parts of it. [`connection`] is one socket, [`handshake`] and [`message`] are the words spoken on it,
//! [`reading`] takes frames out of the receive buffer, [`ledger`] enters what they were, [`connecting`] counts a wave of
//! connects. The client shares two cores with Redis and the publisher, so what is done per delivery is little: one
//! read for all that waits, a scan by position, a few additions.

mod coming;
pub(crate) mod connecting;
pub(crate) mod connection;
pub(crate) mod handshake;
mod inbound;
pub(crate) mod ledger;
pub(crate) mod message;
pub(crate) mod orders;
pub(crate) mod reading;
pub(crate) mod swarm;
