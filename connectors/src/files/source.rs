//! Files as a source: their options, and what these say of the files.
//!
//! - *Absent:* reading the files. That is left to who has readers and can sort; the rows come back
//!   as a replay.

use std::time::Duration;

use sembla_runtime::{Error, Result};

use crate::connector::SourceFiles;
use crate::formats::time_unit;
use crate::options::{Kind, OptionDef, Options};
use crate::replay::REPLAY_OPTIONS;

const SOURCE_OPTIONS: &[OptionDef] = &[
    OptionDef::new("path", Kind::Text, "a file, folder or glob of Parquet, CSV or JSON")
        .required()
        .decides(),
    OptionDef::new(
        "timestamp_unit",
        Kind::Choice(&["s", "ms", "us"]),
        "unit of times given as numbers",
    )
    .or("ms")
    .decides(),
    OptionDef::new(
        "delimiter",
        Kind::Text,
        "field separator of CSV, or 'tab'; detected if not given",
    )
    .decides(),
    OptionDef::new("header", Kind::Flag, "whether CSV begins with a header; detected if not given")
        .decides(),
    OptionDef::new(
        "in_order",
        Kind::Flag,
        "keep the order of the files; otherwise rows are sorted by the watermark's column",
    )
    .or("false")
    .decides(),
    OptionDef::new("watch", Kind::Flag, "keep waiting for new files, in the order of the files")
        .or("false")
        .decides(),
    OptionDef::new("watch_interval", Kind::Duration, "how often to look for new files").or("1s"),
];

/// The options of a files source.
pub(super) fn source_options() -> Vec<OptionDef> {
    [SOURCE_OPTIONS, REPLAY_OPTIONS].concat()
}

impl SourceFiles {
    /// What the options of a files source say.
    ///
    /// # Errors
    /// [`Error::Option`] for options that can't be.
    pub(super) fn new(options: &Options) -> Result<Self> {
        let watch = watch_interval(options)?;
        Ok(Self {
            path: options.text("path")?.into(),
            time_unit: time_unit(options.choice("timestamp_unit")?),
            delimiter: options.find_text("delimiter").map(delimiter).transpose()?,
            header: options.has("header").then(|| options.flag("header")).transpose()?,
            is_in_order: options.flag("in_order")? || watch.is_some(),
            watch,
        })
    }
}

fn watch_interval(options: &Options) -> Result<Option<Duration>> {
    if !options.flag("watch")? {
        return Ok(None);
    }
    match options.duration("watch_interval")? {
        Duration::ZERO => Err(Error::Option("watch_interval must be longer than 0, got 0".into())),
        interval => Ok(Some(interval)),
    }
}

/// The byte that an option names.
fn delimiter(text: &str) -> Result<u8> {
    match text.as_bytes() {
        _ if matches!(text, "\\t" | "tab") => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
        _ => Err(Error::Option(format!(
            "delimiter must be one ASCII character or 'tab', got '{text}'"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(given: &[(&str, &str)]) -> Result<SourceFiles> {
        let given: Vec<_> =
            given.iter().map(|(key, text)| (key.to_string(), text.to_string())).collect();
        SourceFiles::new(&Options::read("a files source", &source_options(), &given)?)
    }

    #[test]
    fn a_watched_folder_is_read_in_its_order() {
        let plain = table(&[("path", "in/")]).expect("options");
        assert_eq!((plain.is_in_order, plain.watch, plain.header), (false, None, None));
        let watched = table(&[("path", "in/"), ("watch", "on"), ("header", "false")]);
        let watched = watched.expect("options");
        assert!(watched.is_in_order);
        assert_eq!(watched.watch, Some(Duration::from_secs(1)));
        assert_eq!(watched.header, Some(false));
        let error = table(&[("path", "in/"), ("watch", "true"), ("watch_interval", "0 s")]);
        assert!(error.is_err_and(|error| error.to_string().contains("longer than 0")));
    }

    #[test]
    fn a_delimiter_is_one_byte() {
        for (text, byte) in [(";", b';'), ("tab", b'\t'), ("\\t", b'\t')] {
            let table = table(&[("path", "a.csv"), ("delimiter", text)]).expect(text);
            assert_eq!(table.delimiter, Some(byte));
        }
        for text in ["", ";;", "\"", "\n", "é"] {
            let error = table(&[("path", "a.csv"), ("delimiter", text)]).expect_err(text);
            assert!(error.to_string().starts_with("delimiter must be"), "{error}");
        }
    }
}
