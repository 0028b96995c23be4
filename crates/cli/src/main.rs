//! `sociable`.
fn main() {}
