//! Files, folders and globs that are named in `FROM`.
//!
//! `FROM 'x.parquet'` reaches here as the name of a table that no catalogue has. What looks like a
//! file is opened as one; any other name is left to be reported as an unknown table. The format is
//! known by the end of the name. In a folder, files whose names begin with `.` or `_` and files of
//! unknown formats are passed over.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{TableProvider, UrlTableFactory};
use datafusion::datasource::dynamic_file::DynamicListTableFactory;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;

use crate::SqlError;

/// Endings of the names of compressed files.
const COMPRESSIONS: &[(&str, FileCompressionType)] = &[
    (".gz", FileCompressionType::GZIP),
    (".bz2", FileCompressionType::BZIP2),
    (".xz", FileCompressionType::XZ),
    (".zst", FileCompressionType::ZSTD),
];

/// Endings of the names of files that can be read.
const FORMATS: &[(&str, Format)] = &[
    (".parquet", Format::Parquet),
    (".csv", Format::Csv(b',')),
    (".tsv", Format::Csv(b'\t')),
    (".jsonl", Format::Json),
    (".ndjson", Format::Json),
    (".json", Format::Json),
];

/// Bytes that are looked at to tell a JSON array from JSON lines.
const PEEK_BYTES: u64 = 256;

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Parquet,
    /// With this delimiter.
    Csv(u8),
    Json,
}

/// What the end of a file's name tells.
#[derive(Clone, Copy, Debug)]
struct Kind {
    format: Format,
    compression: FileCompressionType,
}

/// Opens what is named in `FROM`.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Holds the session that reads.
    session: DynamicListTableFactory,
}

impl Files {
    /// Tells which session reads.
    pub(crate) fn set_session(&self, context: &SessionContext) {
        self.session.session_store().with_state(context.state_weak_ref());
    }

    fn state(&self) -> Result<SessionState> {
        let session = self.session.session_store().get_session().upgrade();
        session
            .and_then(|session| session.read().as_any().downcast_ref::<SessionState>().cloned())
            .ok_or_else(|| DataFusionError::Internal("the session is gone".into()))
    }
}

#[async_trait]
impl UrlTableFactory for Files {
    async fn try_new(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if !looks_like_files(name) {
            if Path::new(name).exists() {
                return Err(SqlError::Statement(format!(
                    "there is no table or index '{name}'; the folder or file of that name is read in quotes: FROM '{name}'"
                ))
                .into());
            }
            return Ok(None);
        }
        Ok(Some(open(&self.state()?, name).await?))
    }
}

/// Whether rows of these files may lack fields that others have: lines of JSON do.
pub(crate) fn may_lack_fields(name: &str) -> bool {
    kind_of(name).is_some_and(|(_, kind)| kind.format == Format::Json)
}

/// Whether a name can only mean files.
fn looks_like_files(name: &str) -> bool {
    name.contains(['/', '\\', '*', '?']) || kind_of(name).is_some()
}

/// What the end of a name tells, and the end itself.
fn kind_of(name: &str) -> Option<(String, Kind)> {
    let lower = name.to_ascii_lowercase();
    let compressed = COMPRESSIONS.iter().find(|(end, _)| lower.ends_with(end));
    let (end, compression) = compressed.copied().unwrap_or(("", FileCompressionType::UNCOMPRESSED));
    let plain = lower.strip_suffix(end).unwrap_or(&lower);
    let (format_end, format) = FORMATS.iter().find(|(end, _)| plain.ends_with(end))?;
    // The end as it is written in the name, since listing compares it letter by letter.
    let end = name.get(name.len() - format_end.len() - end.len()..)?;
    let readable = *format != Format::Parquet || compressed.is_none();
    readable.then(|| (end.to_string(), Kind { format: *format, compression }))
}

/// Opens what a name means.
///
/// # Errors
/// Files that are not there, of several kinds, or can't be read.
pub(crate) async fn open(state: &SessionState, name: &str) -> Result<Arc<dyn TableProvider>> {
    let url = ListingTableUrl::parse(without_glob(name))?;
    let store = state.runtime_env().object_store(&url)?;
    let (end, kind, files) = of_one_kind(name, list(state, &url, store.as_ref(), name).await?)?;
    let format = format_of(state, kind, store.as_ref(), &files).await?;
    check_each(state, &store, format.as_ref(), &files, name).await?;
    let options = ListingOptions::new(format).with_file_extension(end);
    let urls = match has_nested_glob(&url) {
        true => files.iter().map(|file| url_of(&url, file)).collect::<Result<_>>()?,
        false => vec![url],
    };
    let config = ListingTableConfig::new_with_multi_paths(urls).with_listing_options(options);
    let config = config.infer_partitions_from_path(state).await?.infer_schema(state).await?;
    let cache = state.runtime_env().cache_manager.get_file_statistic_cache();
    Ok(Arc::new(ListingTable::try_new(config)?.with_cache(cache)))
}

/// The files that a name means.
async fn list(
    state: &SessionState,
    url: &ListingTableUrl,
    store: &dyn ObjectStore,
    name: &str,
) -> Result<Vec<ObjectMeta>> {
    let nested = has_nested_glob(url);
    let mut state = state.clone();
    if nested {
        let options = state.config_mut().options_mut();
        options.execution.listing_table_ignore_subdirectory = false;
    }
    let listed = match url.list_all_files(&state, store, "").await {
        Ok(files) => files.try_collect().await,
        Err(error) => Err(error),
    };
    let mut files: Vec<ObjectMeta> = listed.or_else(|error| none_if_missing(error, name))?;
    if nested {
        // A star does not stand for a slash.
        let depth = url.get_glob().as_ref().map_or(0, |glob| glob.as_str().split('/').count());
        files.retain(|file| {
            url.strip_prefix(&file.location).is_some_and(|rest| rest.count() == depth)
        });
    }
    Ok(files)
}

/// Whether folders are named by a glob too; DataFusion's own listing does not go into those.
fn has_nested_glob(url: &ListingTableUrl) -> bool {
    url.get_glob().as_ref().is_some_and(|glob| glob.as_str().contains('/'))
}

/// The address of a file that was listed.
fn url_of(listed: &ListingTableUrl, file: &ObjectMeta) -> Result<ListingTableUrl> {
    let path = format!("/{}", file.location);
    match listed.scheme() {
        "file" => ListingTableUrl::parse(without_glob(&path)),
        _ => ListingTableUrl::parse(format!(
            "{}{path}",
            listed.object_store().as_str().trim_end_matches('/')
        )),
    }
}

/// A file whose name has glob characters in it is meant as it is.
fn without_glob(name: &str) -> String {
    if !name.contains(['*', '?', '[']) || !Path::new(name).is_file() {
        return name.to_string();
    }
    name.chars().map(|c| if "*?[".contains(c) { format!("[{c}]") } else { c.to_string() }).collect()
}

fn none_if_missing(error: DataFusionError, name: &str) -> Result<Vec<ObjectMeta>> {
    match SqlError::from(error) {
        SqlError::Statement(_) => Ok(Vec::new()),
        error => Err(named(name, error).into()),
    }
}

/// The files that are read, which must be of one kind, and the end of their names.
fn of_one_kind(
    name: &str,
    files: Vec<ObjectMeta>,
) -> Result<(String, Kind, Vec<ObjectMeta>), SqlError> {
    if files.is_empty() {
        return Err(SqlError::Statement(match Path::new(name) {
            path if path.is_dir() => format!("folder '{name}' holds no files"),
            _ if name.contains(['*', '?', '[']) => format!("no file matches '{name}'"),
            _ => format!("file '{name}' does not exist"),
        }));
    }
    let only = files.len() == 1;
    let mut kinds: BTreeMap<String, (Kind, Vec<ObjectMeta>)> = BTreeMap::new();
    for file in files {
        let file_name = file.location.filename().unwrap_or_default();
        let hidden = !only && file_name.starts_with(['.', '_']);
        if let Some((end, kind)) = kind_of(file_name).filter(|_| !hidden) {
            kinds.entry(end).or_insert((kind, Vec::new())).1.push(file);
        }
    }
    let ends: Vec<String> = kinds.keys().cloned().collect();
    match (kinds.pop_first(), kinds.is_empty()) {
        (Some((end, (kind, files))), true) => Ok((end, kind, files)),
        (Some((end, _)), false) => Err(SqlError::Statement(format!(
            "'{name}' holds files that end in {}; name those of one kind with a glob such as '{}/*{end}'",
            ends.join(" and "),
            name.trim_end_matches('/')
        ))),
        (None, _) => {
            let known: Vec<_> = FORMATS.iter().map(|(end, _)| *end).collect();
            Err(SqlError::Statement(format!(
                "'{name}' has no file whose format is known by the end of its name: {}, and all but .parquet with .gz, .bz2, \
                 .xz or .zst",
                known.join(", ")
            )))
        }
    }
}

async fn format_of(
    state: &SessionState,
    kind: Kind,
    store: &dyn ObjectStore,
    files: &[ObjectMeta],
) -> Result<Arc<dyn FileFormat>> {
    let options = state.default_table_options();
    Ok(match kind.format {
        Format::Parquet => Arc::new(ParquetFormat::default().with_options(options.parquet)),
        // Texts have line breaks in them.
        Format::Csv(delimiter) => Arc::new(
            CsvFormat::default()
                .with_options(options.csv)
                .with_has_header(true)
                .with_delimiter(delimiter)
                .with_newlines_in_values(true)
                .with_file_compression_type(kind.compression),
        ),
        Format::Json => {
            let lines = !begins_an_array(store, kind, files).await?;
            Arc::new(
                JsonFormat::default()
                    .with_options(options.json)
                    .with_newline_delimited(lines)
                    .with_file_compression_type(kind.compression),
            )
        }
    })
}

/// Whether the first file is a JSON array. Compressed files are taken for lines.
async fn begins_an_array(
    store: &dyn ObjectStore,
    kind: Kind,
    files: &[ObjectMeta],
) -> Result<bool> {
    let Some(file) = files.first().filter(|_| !kind.compression.is_compressed()) else {
        return Ok(false);
    };
    let head = store.get_range(&file.location, 0..PEEK_BYTES.min(file.size)).await?;
    Ok(head.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'['))
}

/// Reads the schema of each file, so that one which can't be read is named.
async fn check_each(
    state: &SessionState,
    store: &Arc<dyn ObjectStore>,
    format: &dyn FileFormat,
    files: &[ObjectMeta],
    name: &str,
) -> Result<()> {
    if format.infer_schema(state, store, files).await.is_ok() && files.iter().any(|f| f.size > 0) {
        return Ok(());
    }
    for file in files {
        let shown = if files.len() == 1 { name.to_string() } else { format!("/{}", file.location) };
        if file.size == 0 {
            return Err(SqlError::Data(format!("file '{shown}' is empty")).into());
        }
        if let Err(error) = format.infer_schema(state, store, std::slice::from_ref(file)).await {
            return Err(named(&shown, error.into()).into());
        }
    }
    // Each can be read, but not together; the same mistake comes again with the whole.
    Ok(())
}

/// The error with the name of the file before it.
fn named(name: &str, error: SqlError) -> SqlError {
    match error {
        SqlError::Data(message) | SqlError::Statement(message) => {
            SqlError::Data(format!("file '{name}' can't be read: {message}"))
        }
        SqlError::Io(message) => SqlError::Io(format!("file '{name}' can't be read: {message}")),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_name_tells_the_format() {
        let kind = |name| kind_of(name).map(|(end, kind)| (end, kind.format));
        assert_eq!(kind("a.parquet"), Some((".parquet".into(), Format::Parquet)));
        assert_eq!(kind("A.CSV.GZ"), Some((".CSV.GZ".into(), Format::Csv(b','))));
        assert_eq!(kind("a.b.jsonl.zst"), Some((".jsonl.zst".into(), Format::Json)));
        assert_eq!(kind("a.tsv"), Some((".tsv".into(), Format::Csv(b'\t'))));
        for unknown in ["a.parquet.gz", "a.txt", "csv", "", "a.csv.tar"] {
            assert_eq!(kind(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn names_of_tables_are_left_alone() {
        assert!(!looks_like_files("orders"));
        assert!(looks_like_files("orders.csv"));
        assert!(looks_like_files("no/such/folder"));
    }
}
