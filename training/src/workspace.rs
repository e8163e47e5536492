//! Buffers that a step leaves and the next step takes, so that a step allocates little.

/// Buffers that nobody uses.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    free: Vec<Vec<f32>>,
}

/// Buffers that are kept; more are given back to the system.
const FREE_MAX: usize = 256;

impl Workspace {
    /// A buffer of `len` values, whatever they are.
    pub(crate) fn take(&mut self, len: usize) -> Vec<f32> {
        let fitting = self.free.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= len);
        let best = fitting.min_by_key(|(_, buffer)| buffer.capacity()).map(|(place, _)| place);
        let mut buffer = match best {
            Some(place) => self.free.swap_remove(place),
            None => Vec::with_capacity(len),
        };
        buffer.resize(len, 0.0);
        buffer
    }

    /// A copy of some values.
    pub(crate) fn copy(&mut self, values: &[f32]) -> Vec<f32> {
        let mut buffer = self.take(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    /// Takes a buffer back.
    pub(crate) fn give(&mut self, buffer: Vec<f32>) {
        if self.free.len() < FREE_MAX && buffer.capacity() > 0 {
            self.free.push(buffer);
        }
    }
}
