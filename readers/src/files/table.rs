//! Files together as one table: what each holds, and the columns of all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::hive;
use super::listing::DataFile;
use super::names::Format;
use super::parquet::Footer;
use super::schema::{FileColumns, unite};
use crate::error::{Error, Result};
use crate::text::dialect::Dialect;
use crate::text::guess::Guess;
use crate::{Cancel, Limits, Survey, TextFormat, TextOptions};

/// What a user says about files. What is left out is found in them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableOptions {
    /// The format, where the names don't say it.
    pub format: Option<Format>,
    /// The byte between fields of CSV.
    pub delimiter: Option<u8>,
    /// The byte around fields of CSV.
    pub quote: Option<u8>,
    /// The byte before a quote that belongs to a field of CSV.
    pub escape: Option<u8>,
    /// Whether the first row of CSV holds the names of the columns.
    pub header: Option<bool>,
    /// Types of columns by name.
    pub types: Vec<(String, DataType)>,
    /// All columns with their types, in place of those that the files have.
    pub columns: Option<SchemaRef>,
    /// What bounds memory.
    pub limits: Limits,
}

impl TableOptions {
    fn text(&self, format: Format) -> TextOptions {
        let mut types = self.types.clone();
        if let Some(columns) = &self.columns {
            let fields = columns.fields().iter();
            types.extend(fields.map(|field| (field.name().clone(), field.data_type().clone())));
        }
        let preferred = if format == Format::Tsv { b'\t' } else { b',' };
        TextOptions {
            format: if format == Format::Json { TextFormat::Json } else { TextFormat::Csv },
            delimiter: self.delimiter,
            quote: self.quote,
            escape: self.escape,
            header: self.header,
            types,
            ..TextOptions { delimiter_preferred: preferred, ..TextOptions::csv() }
        }
    }
}

/// What is in a file.
#[derive(Clone, Debug)]
pub enum Content {
    /// Nothing: the file has no byte.
    Empty,
    /// Parquet.
    Parquet(Footer),
    /// CSV or JSON.
    Text(Arc<Survey>),
}

/// A file of a table.
#[derive(Clone, Debug)]
pub struct TableFile {
    /// The file.
    pub file: DataFile,
    /// What is in it.
    pub content: Content,
    /// The values of [`Table::folder_columns`], each an array of one row.
    pub folder_values: Vec<ArrayRef>,
}

impl TableFile {
    /// Its rows.
    pub fn rows(&self) -> u64 {
        match &self.content {
            Content::Empty => 0,
            Content::Parquet(footer) => footer.rows(),
            Content::Text(survey) => survey.rows,
        }
    }

    /// Bytes that a row takes in memory, about.
    pub fn row_bytes(&self) -> u64 {
        let bytes = match &self.content {
            Content::Empty => 0,
            Content::Parquet(footer) => footer.bytes(),
            Content::Text(survey) => survey.bytes,
        };
        bytes / self.rows().max(1)
    }
}

/// Files as one table.
///
/// # Examples
/// ```
/// use sembla_readers::Cancel;
/// use sembla_readers::files::{Surveys, Table, TableOptions, list};
///
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("a.csv"), "id,text\n1,hello\n")?;
/// std::fs::write(folder.path().join("b.jsonl"), "{\"text\": \"world\", \"id\": 2}\n")?;
///
/// let files = list(&folder.path().display().to_string(), None)?;
/// let options = TableOptions::default();
/// let table = Table::open(files, &options, &Surveys::default(), &Cancel::never())?;
/// assert_eq!(table.rows(), 2);
/// assert_eq!(table.schema.field(0).name(), "id");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    /// The files, in order.
    pub files: Vec<TableFile>,
    /// The columns of all, united by name. All may be NULL.
    pub schema: SchemaRef,
    /// The columns of `schema` that folders give (`key=value/`).
    pub folder_columns: Vec<usize>,
}

/// What was found in files, so that it need not be found again while they are the same.
#[derive(Debug, Default)]
pub struct Surveys(Mutex<HashMap<Key, Content>>);

/// Files that are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// A file as it was, and how it was looked at.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    name: String,
    bytes: u64,
    modified_ns: u64,
    options: String,
}

impl Surveys {
    fn look(&self, file: &DataFile, options: &TableOptions, cancel: &Cancel) -> Result<Content> {
        if file.bytes == 0 {
            return Ok(Content::Empty);
        }
        let asked = match file.format {
            Format::Parquet => String::new(),
            format => format!("{:?} {:?}", options.text(format), options.limits),
        };
        let key = Key {
            name: file.name.clone(),
            bytes: file.bytes,
            modified_ns: file.modified_ns,
            options: asked,
        };
        if let Some(known) = self.lock().get(&key) {
            return Ok(known.clone());
        }
        let content = match file.format {
            Format::Parquet => Content::Parquet(Footer::read(file)?),
            format => {
                let text = options.text(format);
                let survey = crate::survey(file.open().as_ref(), &text, &options.limits, cancel)?;
                Content::Text(Arc::new(survey))
            }
        };
        if file.modified_ns > 0 {
            let mut known = self.lock();
            if known.len() >= REMEMBERED_MAX {
                known.clear();
            }
            known.insert(key, content.clone());
        }
        Ok(content)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Content>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks into all files, several at a time. Of several errors it is that of the first file.
    fn look_into(
        &self,
        files: &[DataFile],
        options: &TableOptions,
        cancel: &Cancel,
    ) -> Result<Vec<Content>> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(files.len());
        if threads <= 1 {
            return files.iter().map(|file| self.look(file, options, cancel)).collect();
        }
        let next = AtomicUsize::new(0);
        let found = Mutex::new(Vec::with_capacity(files.len()));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(file) = files.get(at) else { return };
                        let content = self.look(file, options, cancel);
                        if content.is_err() {
                            next.store(files.len(), Ordering::Relaxed);
                        }
                        found.lock().unwrap_or_else(PoisonError::into_inner).push((at, content));
                    }
                });
            }
        });
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, content)| content).collect()
    }
}

impl Table {
    /// Looks into files and unites their columns.
    ///
    /// A Parquet file costs its footer, a text one pass over all of it, unless `known` has it.
    ///
    /// # Errors
    /// A file that can't be read or isn't what its name says; columns that the files disagree on.
    pub fn open(
        files: Vec<DataFile>,
        options: &TableOptions,
        known: &Surveys,
        cancel: &Cancel,
    ) -> Result<Self> {
        let contents = known.look_into(&files, options, cancel)?;
        let files = files.into_iter().zip(contents);
        let mut files: Vec<TableFile> = files
            .map(|(file, content)| TableFile { file, content, folder_values: Vec::new() })
            .collect();
        let found = match &options.columns {
            Some(columns) => {
                name_by_place(&mut files, columns);
                columns.as_ref().clone()
            }
            None => declared(columns_of(&files)?, &options.types)?,
        };
        let mut table = Self { files, schema: Arc::new(found), folder_columns: Vec::new() };
        table.add_folders(options)?;
        Ok(table)
    }

    /// Rows of all files.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(TableFile::rows).sum()
    }

    /// What was found in text files and isn't what a reader would take for granted, one line each.
    pub fn notices(&self) -> Vec<String> {
        let mut found: Vec<(String, &str, usize)> = Vec::new();
        for file in &self.files {
            let Content::Text(survey) = &file.content else { continue };
            let Dialect::Csv(dialect) = &survey.dialect else { continue };
            let usual = if file.file.format == Format::Tsv { b'\t' } else { b',' };
            let mut words = Vec::new();
            if dialect.delimiter != usual && survey.columns.len() > 1 {
                words.push(format!("{} between fields", delimiter_shown(dialect.delimiter)));
            }
            if dialect.quote != b'"' {
                words.push(format!("{} around fields", char::from(dialect.quote)));
            }
            if let Some(escape) = dialect.escape {
                words.push(format!("{} before quotes in fields", char::from(escape)));
            }
            if !dialect.has_header {
                words.push("no header".into());
            }
            if words.is_empty() {
                continue;
            }
            let words = words.join(" and ");
            match found.iter_mut().find(|(known, ..)| *known == words) {
                Some((_, _, more)) => *more += 1,
                None => found.push((words, &file.file.name, 0)),
            }
        }
        let line = |(words, name, more): (String, &str, usize)| {
            let others = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!(
                "'{name}'{others}: read with {words}; read_csv takes delimiter, quote, escape and header"
            )
        };
        found.into_iter().map(line).collect()
    }

    /// Adds the columns that folders give, in place of those of the same name in the files.
    fn add_folders(&mut self, options: &TableOptions) -> Result<()> {
        let mut keys: Vec<&str> = Vec::new();
        for (key, _) in self.files.iter().flat_map(|file| &file.file.folders) {
            if !keys.contains(&key.as_str()) {
                keys.push(key);
            }
        }
        if let Some(columns) = &options.columns {
            keys.retain(|key| columns.index_of(key).is_ok());
        }
        let mut fields: Vec<Field> =
            self.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        let mut values: Vec<Vec<ArrayRef>> = vec![Vec::new(); self.files.len()];
        let mut places = Vec::new();
        for key in keys {
            let of_file = |file: &TableFile| {
                let found = file.file.folders.iter().find(|(known, _)| known == key);
                found.and_then(|(_, value)| value.clone())
            };
            let texts: Vec<Option<String>> = self.files.iter().map(of_file).collect();
            let asked = options.types.iter().find(|(name, _)| name == key);
            let asked = asked.map(|(_, data_type)| data_type.clone());
            let place = fields.iter().position(|field| field.name() == key);
            let is_fixed = asked.is_some() || options.columns.is_some();
            let in_file = place.and_then(|place| fields.get(place)).map(|field| field.data_type());
            let guess = || hive::type_of(texts.iter().map(Option::as_deref));
            let holds = |data_type: &DataType| {
                texts.iter().flatten().all(|text| hive::value(Some(text), data_type).is_valid(0))
            };
            let data_type = match asked.or_else(|| in_file.cloned()) {
                Some(data_type) if holds(&data_type) => data_type,
                Some(data_type) if is_fixed => {
                    let wrong = texts
                        .iter()
                        .flatten()
                        .find(|text| !hive::value(Some(text), &data_type).is_valid(0));
                    return Err(Error::Data(format!(
                        "the folder '{key}={}' can't be read as {data_type}",
                        wrong.map(String::as_str).unwrap_or_default()
                    )));
                }
                _ => guess(),
            };
            for (values, text) in values.iter_mut().zip(&texts) {
                values.push(hive::value(text.as_deref(), &data_type));
            }
            let field = Field::new(key, data_type, true);
            let place = place.unwrap_or(fields.len());
            match fields.get_mut(place) {
                Some(known) => *known = field,
                None => fields.push(field),
            }
            places.push(place);
        }
        for (file, values) in self.files.iter_mut().zip(values) {
            file.folder_values = values;
        }
        self.schema = Arc::new(Schema::new(fields));
        self.folder_columns = places;
        Ok(())
    }
}

/// A delimiter as a person would write it.
fn delimiter_shown(delimiter: u8) -> String {
    match delimiter {
        b'\t' => "tabs".into(),
        other => format!("'{}'", char::from(other)),
    }
}

/// Columns of CSV files without a header are identified by their place.
fn name_by_place(files: &mut [TableFile], columns: &Schema) {
    for file in files {
        let Content::Text(survey) = &mut file.content else { continue };
        let Dialect::Csv(dialect) = &survey.dialect else { continue };
        if dialect.has_header {
            continue;
        }
        let mut dialect = dialect.clone();
        for (name, field) in dialect.names.iter_mut().zip(columns.fields()) {
            name.clone_from(field.name());
        }
        Arc::make_mut(survey).dialect = Dialect::Csv(dialect);
    }
}

/// The columns of all files, united. A text can be read as more types than the one that was
/// guessed, so a guess gives way to what a Parquet file says.
fn columns_of(files: &[TableFile]) -> Result<Schema> {
    let texts: Vec<(&str, &Survey)> = files
        .iter()
        .filter_map(|file| match &file.content {
            Content::Text(survey) => Some((file.file.name.as_str(), survey.as_ref())),
            _ => None,
        })
        .collect();
    let guessed = match texts.as_slice() {
        [] => Schema::empty(),
        texts => with_unknown(crate::merge(texts)?.as_ref(), texts),
    };
    let footers: Vec<FileColumns<'_>> = files
        .iter()
        .filter_map(|file| match &file.content {
            Content::Parquet(footer) => {
                Some(FileColumns { name: &file.file.name, schema: footer.schema() })
            }
            _ => None,
        })
        .collect();
    let typed = unite(&footers)?;
    let guessed: Vec<Field> = guessed
        .fields()
        .iter()
        .map(|field| {
            let known = typed.field_with_name(field.name()).map(Field::data_type);
            match known {
                Ok(DataType::Utf8) => Field::new(field.name(), DataType::Utf8, true),
                _ => field.as_ref().clone(),
            }
        })
        .collect();
    let guessed = Schema::new(guessed);
    let first_text = texts.first().map(|(name, _)| *name).unwrap_or_default();
    let texts_first = files.iter().find_map(|file| match &file.content {
        Content::Text(_) => Some(true),
        Content::Parquet(_) => Some(false),
        Content::Empty => None,
    });
    let mut all = footers;
    let texts = FileColumns { name: first_text, schema: &guessed };
    let place = if texts_first == Some(true) { 0 } else { all.len() };
    all.insert(place, texts);
    unite(&all)
}

/// The columns of texts; one in which no file has a value has no type of its own.
fn with_unknown(merged: &Schema, texts: &[(&str, &Survey)]) -> Schema {
    let is_unknown = |name: &str| {
        let columns = texts.iter().flat_map(|(_, survey)| &survey.columns);
        let mut columns = columns.filter(|column| column.name == name);
        columns.all(|column| column.declared.is_none() && column.guess == Guess::default())
    };
    let fields = merged.fields().iter().map(|field| match is_unknown(field.name()) {
        true => Field::new(field.name(), DataType::Null, true),
        false => field.as_ref().clone(),
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// The columns with the types that the user gave some of them.
fn declared(found: Schema, types: &[(String, DataType)]) -> Result<Schema> {
    let mut fields: Vec<Field> =
        found.fields().iter().map(|field| field.as_ref().clone()).collect();
    for (name, data_type) in types {
        let field = fields.iter_mut().find(|field| field.name() == name);
        if let Some(field) = field {
            field.set_data_type(data_type.clone());
        }
    }
    Ok(Schema::new(fields))
}
