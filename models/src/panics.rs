//! Panics of libraries as errors.
//!
//! Some of the libraries below panic where they should give an error: on a file that is not what
//! they expect, on a text that their regular expressions give up on. Such a call is made in here,
//! and what the panic says becomes the error's message instead of a trace on the terminal.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is caught and made an error.
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Makes the panics that are caught silent; all others are reported as before.
static HOOK: Once = Once::new();

/// Calls a library that may panic. The panic is not printed.
///
/// # Examples
/// ```
/// use sembla_models::panics::caught;
///
/// assert_eq!(caught(|| 1 + 1), Ok(2));
/// let numbers: &[u8] = &[];
/// assert!(caught(|| numbers[0]).unwrap_err().contains("index out of bounds"));
/// ```
///
/// # Errors
/// What the panic said.
pub fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    HOOK.call_once(|| {
        let told = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_CAUGHT.get() {
                told(panic);
            }
        }));
    });
    let outer = IS_CAUGHT.replace(true);
    // What the call leaves half done is the library's own and is not used again.
    let result = catch_unwind(AssertUnwindSafe(call));
    IS_CAUGHT.set(outer);
    result.map_err(|panic| said(panic.as_ref()))
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the library failed without a message").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        assert_eq!(caught(|| 7), Ok(7));
        let number = 3;
        assert_eq!(
            caught(|| -> u8 { panic!("no more than {number}") }),
            Err("no more than 3".into())
        );
        assert_eq!(caught(|| -> u8 { panic!("plain") }), Err("plain".into()));
    }
}
