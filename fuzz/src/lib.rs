//! What fuzz targets share: a small good model whose files are replaced one at a time, and which panics
//! count.
//!
//! - *Absent:* what may be in a file; that is the targets' input.

#[cfg(feature = "targets")]
pub mod folder;

use std::panic;
use std::sync::Once;

/// Lets panics pass that the code under test catches and turns into errors of a file or a statement.
/// The fuzzer's own hook ends the process at every panic; one that nobody catches still does.
pub fn only_uncaught_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| panic::set_hook(Box::new(|what| eprintln!("{what}"))));
}
