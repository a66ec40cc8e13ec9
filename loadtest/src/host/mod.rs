//! The processes around a run: started here, watched, and ended with it whatever happens.
//!
//! Everything that is started gets its own process group and the kernel's promise to be killed when this process dies;
//! and each is killed when its guard is dropped, which a Ctrl-C, an error or a panic all come to.

pub(crate) mod guard;
pub(crate) mod helper;
pub(crate) mod http;
pub(crate) mod interrupt;
pub(crate) mod launch;
pub(crate) mod redis;
pub(crate) mod server;
