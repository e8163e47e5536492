//! A library that panics on a damaged file is that file's error, not the end of the program.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Result};

/// Runs what reads the file called `name`. A panic becomes [`Error::Data`]; what was being read
/// must not be used after it.
///
/// # Errors
/// Those of `read`, and a panic's.
pub fn guarded<T>(name: &str, read: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let why = reason(panic.as_ref());
        Err(Error::Data(format!("file '{name}' can't be read, it may be damaged: {why}")))
    })
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
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let caught = guarded("a.parquet", || -> Result<()> { panic!("width {}\nmore", 17) });
        std::panic::set_hook(hook);
        let message = "file 'a.parquet' can't be read, it may be damaged: width 17";
        assert_eq!(caught, Err(Error::Data(message.into())));
        assert_eq!(guarded("a", || Ok(1)), Ok(1));
    }
}
