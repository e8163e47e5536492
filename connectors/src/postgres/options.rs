//! The options of the connector, and what they say.

use sembla_runtime::{Error, Result};

use super::address::Address;
use super::names::TableName;
use super::target::TargetSpec;
use super::types::VectorType;
use crate::keys::{chunks_of, names};
use crate::options::{Kind, OptionDef, Options};

/// The option that is the address.
pub(super) const URL: &str = "url";
pub(super) const PASSWORD: &str = "password";
pub(super) const TABLE: &str = "table";
pub(super) const KEY: &str = "key";
pub(super) const UPDATED_AT: &str = "updated_at";
pub(super) const POLL: &str = "poll";
pub(super) const LAG: &str = "lag";
const DELETE: &str = "delete";
const CHUNKS_OF: &str = "chunks_of";
const VECTOR_TYPE: &str = "vector_type";
const INDEX: &str = "index";
const PROGRESS: &str = "progress_table";
/// The option that gives a place to records that can't be used.
pub(super) const REJECTED: &str = "dead_letter_table";
/// The option that gives a place to late rows.
pub(super) const LATE: &str = "late_table";

/// What both take: where the database is.
const URL_OPTION: OptionDef = OptionDef::new(
    URL,
    Kind::Text,
    "address of the database: postgres://user:password@host:5432/database, with sslmode, sslrootcert and \
     connect_timeout as libpq has them",
)
.required();
const PASSWORD_OPTION: OptionDef =
    OptionDef::new(PASSWORD, Kind::Text, "password, where url has none")
        .secret()
        .or_else("PGPASSWORD");

/// The options of a sink.
pub(super) const SINK_OPTIONS: &[OptionDef] = &[
    URL_OPTION,
    PASSWORD_OPTION,
    OptionDef::new(
        TABLE,
        Kind::Text,
        "table to write, as name or schema.name; created with the columns of the rows if it does not exist",
    )
    .required(),
    OptionDef::new(
        KEY,
        Kind::Text,
        "columns, separated by commas, that identify a row: a later row with the same key replaces the earlier one",
    )
    .or_else("every row is added"),
    OptionDef::new(
        DELETE,
        Kind::Text,
        "boolean column that is not written: where it is true, the row with this key is deleted",
    ),
    OptionDef::new(
        CHUNKS_OF,
        Kind::Text,
        "columns of the key, separated by commas, that identify the document whose chunks the rows are: chunks of it \
         behind the last one that is written (by the column chunk_index of the key) are deleted",
    ),
    OptionDef::new(
        VECTOR_TYPE,
        Kind::Choice(&["vector", "halfvec", "bit"]),
        "type of vector columns in a table that is created: 32 bits, 16 bits or one bit a component",
    )
    .or("vector"),
    OptionDef::new(
        INDEX,
        Kind::Choice(&["none", "hnsw", "ivfflat"]),
        "index on vector columns (cosine; Hamming for bit), created after the last row of an input that ends",
    )
    .or("none"),
    OptionDef::new(
        PROGRESS,
        Kind::Text,
        "table, in the schema of the table, that keeps the progress of pipelines",
    )
    .or("sembla_progress"),
    OptionDef::new(REJECTED, Kind::Text, "table for dead letters (records that can't be used)"),
    OptionDef::new(
        LATE,
        Kind::Text,
        "table for late rows, with the columns of the window's input; open windows then hold all of these columns",
    ),
];

/// The options of a source.
pub(super) const SOURCE_OPTIONS: &[OptionDef] = &[
    URL_OPTION.decides(),
    PASSWORD_OPTION,
    OptionDef::new(TABLE, Kind::Text, "table or view to read, as name or schema.name")
        .required()
        .decides(),
    OptionDef::new(
        UPDATED_AT,
        Kind::Text,
        "column of the time of a row's last change, a timestamp; rows are read in its order",
    )
    .required()
    .decides(),
    OptionDef::new(
        KEY,
        Kind::Text,
        "columns, separated by commas, with a unique index, which order rows of one time",
    )
    .required()
    .decides(),
    OptionDef::new(POLL, Kind::Duration, "how long to wait after a poll that found all there is")
        .or("10 s"),
    OptionDef::new(
        LAG,
        Kind::Duration,
        "rows younger than this are left for later polls; must be longer than a transaction that writes the table stays \
         open, or its rows are missed",
    )
    .or("5 s"),
];

/// The options of a table that is read.
pub(super) const TABLE_OPTIONS: &[OptionDef] = &[
    URL_OPTION,
    PASSWORD_OPTION,
    OptionDef::new(TABLE, Kind::Text, "table or view to read, as name or schema.name").required(),
];

/// What the options of a table that is read say.
///
/// # Errors
/// [`Error::Option`] for what can't be.
pub(super) fn read_table_options(options: &Options) -> Result<(Address, TableName)> {
    let address = Address::parse(options.text(URL)?, options.find_text(PASSWORD))?;
    Ok((address, TableName::parse(TABLE, options.text(TABLE)?)?))
}

/// What the options of a sink say.
#[derive(Clone, Debug)]
pub(super) struct SinkSettings {
    pub(super) address: Address,
    pub(super) rows: TargetSpec,
    /// The method of the index, if one is asked for.
    pub(super) index: Option<&'static str>,
    /// The name of the table of progress, in the schema of the rows' table.
    pub(super) progress: String,
    pub(super) rejected: Option<TargetSpec>,
    pub(super) late: Option<TargetSpec>,
}

impl SinkSettings {
    /// Reads the options.
    ///
    /// # Errors
    /// [`Error::Option`] for what can't be.
    pub(super) fn new(options: &Options) -> Result<Self> {
        let address = Address::parse(options.text(URL)?, options.find_text(PASSWORD))?;
        let key = names(options, KEY)?;
        let chunks_of = chunks_of(options, CHUNKS_OF, KEY, &key)?;
        let delete = options.find_text(DELETE).map(str::to_string);
        if delete.is_some() && key.is_empty() {
            return Err(Error::Option(format!("{DELETE} needs {KEY}, which says what to delete")));
        }
        let vectors = match options.choice(VECTOR_TYPE)? {
            "halfvec" => VectorType::Halfvec,
            "bit" => VectorType::Bit,
            _ => VectorType::Vector,
        };
        let index = match options.choice(INDEX)? {
            "none" => None,
            method => Some(method),
        };
        let name = TableName::parse(TABLE, options.text(TABLE)?)?;
        let progress = options.text(PROGRESS)?.to_string();
        super::names::check_name(PROGRESS, &progress)?;
        let side = |option: &'static str| {
            let Some(text) = options.find_text(option) else { return Ok(None) };
            let side = TableName::parse(option, text)?;
            if side == name {
                return Err(Error::Option(format!("{option} must be another table than {TABLE}")));
            }
            let (key, chunks_of) = Default::default();
            let spec = TargetSpec { name: side, key, delete: None, chunks_of, vectors };
            Ok(Some(spec))
        };
        let (rejected, late) = (side(REJECTED)?, side(LATE)?);
        if let (Some(rejected), Some(late)) = (&rejected, &late)
            && rejected.name == late.name
        {
            return Err(Error::Option(format!("{REJECTED} and {LATE} must be different tables")));
        }
        let rows = TargetSpec { name, key, delete, chunks_of, vectors };
        Ok(Self { address, rows, index, progress, rejected, late })
    }
}

/// The options that an address with some of these behind its `?` stands for:
/// `postgres://user@host/database?table=docs&key=id`.
///
/// # Errors
/// [`Error::Option`] for an address that can't be.
pub(super) fn options_of_address(
    address: &str,
    options: &[OptionDef],
) -> Result<Vec<(String, String)>> {
    let (_, given) = Address::parse_with_others(address, None)?;
    let is_own = |key: &str| options.iter().any(|option| option.key == key);
    if let Some((key, _)) =
        given.iter().find(|(key, _)| !is_own(key) || key == URL || key == PASSWORD)
    {
        let known = options.iter().map(|option| option.key);
        let known: Vec<_> = known.filter(|key| *key != URL && *key != PASSWORD).collect();
        return Err(Error::Option(format!(
            "the address has the setting '{}', which is none of {}",
            key.escape_debug(),
            known.join(", ")
        )));
    }
    let (base, settings) = address.split_once('?').unwrap_or((address, ""));
    let is_connection = |pair: &&str| {
        let key = pair.split('=').next().unwrap_or_default();
        !given.iter().any(|(own, _)| own == key)
    };
    let kept: Vec<_> =
        settings.split('&').filter(|pair| !pair.is_empty()).filter(is_connection).collect();
    let url = match kept.is_empty() {
        true => base.to_string(),
        false => format!("{base}?{}", kept.join("&")),
    };
    Ok(std::iter::once((URL.to_string(), url)).chain(given).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<SinkSettings> {
        let given: Vec<_> =
            pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        SinkSettings::new(&Options::read("a postgres sink", SINK_OPTIONS, &given)?)
    }

    fn of_address(address: &str) -> Result<Vec<(String, String)>> {
        options_of_address(address, SINK_OPTIONS)
    }

    #[test]
    fn an_address_can_have_the_options_of_a_sink() {
        let options = of_address("postgres://me:p%40w@h/db?table=a%20b&sslmode=require&key=id")
            .expect("options");
        let pairs: Vec<_> =
            options.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            pairs,
            [("url", "postgres://me:p%40w@h/db?sslmode=require"), ("table", "a b"), ("key", "id")]
        );
        let error =
            of_address("postgres://me:hunter2@h/db?tabel=x").expect_err("unknown").to_string();
        assert!(
            error.contains("'tabel', which is none of table, key") && !error.contains("hunter"),
            "{error}"
        );
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        let base = [("url", "postgres://me@h/db"), ("table", "t")];
        let error = |more: &[(&str, &str)]| {
            settings(&[&base[..], more].concat()).expect_err("wrong").to_string()
        };
        assert!(error(&[("delete", "gone")]).contains("delete needs key"));
        assert!(error(&[("key", "a,,b")]).contains("empty name"));
        let chunks = [("key", "id"), ("chunks_of", "id")];
        assert!(error(&chunks).contains("chunks_of = 'id' needs key = 'id, chunk_index'"));
        assert!(error(&[("late_table", "t")]).contains("another table than table"));
        let both = [("late_table", "x"), ("dead_letter_table", "x")];
        assert!(error(&both).contains("must be different tables"));
        assert!(error(&[("vector_type", "int8")]).contains("one of: vector, halfvec, bit"));
        let key = settings(&[&base[..], &[("key", "a, b")]].concat()).expect("a key").rows.key;
        assert_eq!(key, ["a", "b"]);
    }
}
