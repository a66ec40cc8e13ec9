//! The tickcast command.
fn main() {}
