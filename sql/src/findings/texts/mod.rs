//! What is made of texts themselves, row by row.

pub(crate) mod chunk;
