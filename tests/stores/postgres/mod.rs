//! Tables of a real PostgreSQL server.

mod batch;
mod embed;
mod mistakes;
mod streams;
mod tls;
mod values;
