//! What tests of several crates share: a real Kafka broker with records to put there and get back,
//! a real PostgreSQL server, a real Chroma server, a stand-in for Qdrant, and a server that speaks
//! S3.
//!
//! - *Invariant:* a server listens on loopback only, keeps its data in a temporary folder, and ends
//!   with the process that started it, however that ends.
//! - Functions panic when something fails, as tests do.
//! - *Absent:* the product; it never depends on this crate.

mod broker;
mod chroma;
mod moto;
mod ports;
mod postgres;
mod qdrant;
mod record;
mod watch;

pub use broker::{Broker, OpenTransaction};
pub use chroma::Chroma;
pub use moto::Moto;
pub use postgres::Postgres;
pub use qdrant::{Fault, Point, Qdrant};
pub use record::Record;
