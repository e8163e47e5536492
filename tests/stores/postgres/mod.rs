//! Tables of a real PostgreSQL server.

mod batch;
mod embed;
mod input;
mod mistakes;
mod polls;
mod streams;
mod tls;
mod values;
