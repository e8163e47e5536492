//! What tests of several crates share: a real Kafka broker, and records to put there and get back.
//!
//! - *Invariant:* a broker listens on loopback only, keeps its data in a temporary folder, and ends
//!   with the process that started it, however that ends.
//! - Functions panic when something fails, as tests do.
//! - *Absent:* the product; it never depends on this crate.

mod broker;
mod record;

pub use broker::{Broker, OpenTransaction};
pub use record::Record;
