//! The command line: [`args`] what can be asked, [`values`] how values are written, [`program`] what is to be done.

pub(crate) mod args;
pub(crate) mod program;
pub(crate) mod values;
