//! What calls over HTTP share: they wait away from the threads of a pipeline, and names in their
//! paths are escaped.

use sembla_runtime::{Error, Result};

/// Runs a call that waits for the network away from the threads of the pipeline.
pub(crate) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(call)
        .await
        .map_err(|error| Error::Bug(format!("a call over HTTP failed: {error}")))?
}

/// A name as one segment of a path.
pub(crate) fn in_path(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                segment.push(char::from(byte));
            }
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_segment() {
        assert_eq!(in_path("a/../b c-value"), "a%2F..%2Fb%20c-value");
    }
}
