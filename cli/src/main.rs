//! The binary `sembla`.
fn main() {}
