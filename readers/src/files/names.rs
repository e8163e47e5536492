//! What the end of a file's name says of its format. Opens nothing.

/// Endings of the names of compressed files. Which compression it is, the first bytes decide.
const COMPRESSIONS: &[&str] = &[".gz", ".bz2", ".xz", ".zst"];

/// Endings of the names of files that can be read.
const FORMATS: &[(&str, Format)] = &[
    (".parquet", Format::Parquet),
    (".csv", Format::Csv),
    (".tsv", Format::Tsv),
    (".jsonl", Format::Json),
    (".ndjson", Format::Json),
    (".json", Format::Json),
];

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Rows of fields with a comma or another delimiter between them.
    Csv,
    /// The same; a tab is taken where several delimiters are possible.
    Tsv,
    /// JSON objects, one a line, in an array, or one after another.
    Json,
}

/// The format that the end of a name says; `None` for a name of another kind of file. Parquet has
/// its own compression inside, so `x.parquet.gz` is none.
pub fn format_of(name: &str) -> Option<Format> {
    let lower = name.to_ascii_lowercase();
    let plain = COMPRESSIONS.iter().find_map(|end| lower.strip_suffix(end));
    let (_, format) = FORMATS.iter().find(|(end, _)| plain.unwrap_or(&lower).ends_with(end))?;
    (*format != Format::Parquet || plain.is_none()).then_some(*format)
}

/// The endings that [`format_of`] knows, for messages.
pub fn known_endings() -> String {
    let ends: Vec<&str> = FORMATS.iter().map(|(end, _)| *end).collect();
    format!("{}, and all but .parquet also with {}", ends.join(", "), COMPRESSIONS.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_name_tells_the_format() {
        assert_eq!(format_of("a.parquet"), Some(Format::Parquet));
        assert_eq!(format_of("A.CSV.GZ"), Some(Format::Csv));
        assert_eq!(format_of("a.b.jsonl.zst"), Some(Format::Json));
        assert_eq!(format_of("a.tsv"), Some(Format::Tsv));
        assert_eq!(format_of(".parquet"), Some(Format::Parquet));
        for unknown in ["a.parquet.gz", "a.txt", "csv", "", "a.csv.tar"] {
            assert_eq!(format_of(unknown), None, "{unknown}");
        }
    }
}
