//! What `/proc` tells of processes and the machine. Reading is all that happens here.
//!
//! A process that has gone reads as zero, so that a sum over a family of processes holds while one of them ends.

pub(crate) mod cpu;
pub(crate) mod family;
pub(crate) mod machine;
pub(crate) mod memory;
