//! Options: what a user may set is declared once, read once, and described from the declaration.
//!
//! [`OptionDef`] declares an option: its key, what it takes, its default, whether it is a secret,
//! and whether saved state depends on it. [`GivenOptions`] matches what a user wrote with the
//! declarations; [`Options`] has the values, read and checked. SQL, the command line, EXPLAIN and
//! the documentation all come from the declarations.
//!
//! - *Invariant:* an undeclared key is an error that names the nearest one, and every value is
//!   checked when it is read; what comes after can rely on it.
//! - *Invariant:* the value of a secret appears in no message and in no debug output.
//! - *Absent:* what options mean, and whether two of them agree. That is left to who declares them.
//!
//! ```
//! use sembla_options::{Kind, OptionDef, Options};
//!
//! const DEFS: &[OptionDef] = &[
//!     OptionDef::new("topic", Kind::Text, "the topic to read").required(),
//!     OptionDef::new("partitions", Kind::between(1, 1024), "how many").or("1"),
//!     OptionDef::new("password", Kind::Text, "the password").secret(),
//! ];
//!
//! let given = [("topic".to_string(), "news".to_string())];
//! let options = Options::read("a source", DEFS, &given)?;
//! assert_eq!(options.text("topic")?, "news");
//! assert_eq!(options.count("partitions")?, 1);
//!
//! let misspelt = [("tpoic".to_string(), "news".to_string())];
//! let error = Options::read("a source", DEFS, &misspelt).unwrap_err();
//! assert!(error.to_string().contains("did you mean 'topic'?"));
//! # Ok::<(), sembla_options::OptionError>(())
//! ```

mod address;
mod declaration;
mod given;
mod nearest;
mod quantity;
mod values;

pub use address::without_credentials;
pub use declaration::{Kind, OptionDef};
pub use given::GivenOptions;
pub use nearest::{nearest, unknown};
pub use quantity::{parse_flag, parse_size, parse_time};
pub use values::{Options, Value};

/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// A result of this crate.
pub type Result<T> = std::result::Result<T, OptionError>;

/// Why options can't be taken. Each message is one line that names the option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// The user's mistake: a key that isn't declared, a value that can't be, something missing.
    #[error("{0}")]
    Mistake(String),
    /// An option is read as something else than it is declared to be.
    #[error("{0}")]
    Bug(String),
}

impl OptionError {
    /// A user's mistake.
    pub fn mistake(message: impl Into<String>) -> Self {
        Self::Mistake(message.into())
    }
}
