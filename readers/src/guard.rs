//! A library that panics on damaged input is that input's error, not the end of the program.
//!
//! The panic is caught where the library is called, and says nothing on standard error.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use crate::error::{Error, Result};

thread_local! {
    /// Calls of [`caught`] that this thread is in.
    static GUARDED: Cell<usize> = const { Cell::new(0) };
}

/// Runs what reads the file called `name`. A panic becomes [`Error::Data`]; what was being read
/// must not be used after it.
///
/// # Errors
/// Those of `read`, and a panic's.
pub fn guarded<T>(name: &str, read: impl FnOnce() -> Result<T>) -> Result<T> {
    caught(read).unwrap_or_else(|why| {
        Err(Error::Data(format!("file '{name}' can't be read, it may be damaged: {why}")))
    })
}

/// Runs what calls a library on input. What was being read must not be used after a panic.
///
/// # Errors
/// The first line of a panic's message.
pub fn caught<T>(call: impl FnOnce() -> T) -> std::result::Result<T, String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let loud = take_hook();
        set_hook(Box::new(move |panic| {
            if GUARDED.with(Cell::get) == 0 {
                loud(panic);
            }
        }));
    });
    GUARDED.with(|depth| depth.set(depth.get() + 1));
    let result = catch_unwind(AssertUnwindSafe(call));
    GUARDED.with(|depth| depth.set(depth.get().saturating_sub(1)));
    result.map_err(|panic| reason(panic.as_ref()).to_owned())
}

/// The first line of a panic's message.
fn reason(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.and_then(|text| text.lines().next()).unwrap_or("a library failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_the_file() {
        let caught = guarded("a.parquet", || -> Result<()> { panic!("width {}\nmore", 17) });
        let message = "file 'a.parquet' can't be read, it may be damaged: width 17";
        assert_eq!(caught, Err(Error::Data(message.into())));
        assert_eq!(guarded("a", || Ok(1)), Ok(1));
    }
}
