//! What goes over the wire, as types.

pub mod control;
