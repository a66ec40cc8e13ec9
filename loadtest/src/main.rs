//! Load generator and delivery checker for tickcast.
fn main() {}
