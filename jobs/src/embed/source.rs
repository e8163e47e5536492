//! What is embedded: a column of texts of tables, or the files of images.
//!
//! Both are rows with a column of contents and columns that the output keeps, in one order, so that
//! how many rows are done says where to resume.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use sembla_models::images::has_image_name;
use sembla_models::{Model, ModelSpec};
use sembla_readers::Open;
use sembla_readers::files::blobs;
use sembla_sql::{Chunker, image_rows};

use super::embedder::Pending;
use super::manifest::Input;
use super::schema::is_empty_object;
use super::{EmbedRequest, chunks, prompt};
use crate::failure::{Failure, Result};
use crate::input::{Notice, Plan, Rows, Wanted, resolve, text_column};

/// What is embedded.
pub(super) enum Source {
    /// Texts.
    Texts(Box<Texts>),
    /// Images.
    Images(Images),
}

/// A column of texts.
pub(super) struct Texts {
    pub(super) plan: Plan,
    /// Its name.
    pub(super) column: String,
    /// What cuts the texts, if they are cut.
    pub(super) chunker: Option<Chunker>,
}

/// Files of images.
pub(super) struct Images {
    files: Vec<Arc<dyn Open>>,
    schema: SchemaRef,
}

/// The columns of images, the contents last, which are not kept: their names, their types, and
/// where `read_images` has them.
const IMAGE_COLUMNS: [(&str, DataType, usize); 6] = [
    ("path", DataType::Utf8, 0),
    ("width", DataType::Int64, 2),
    ("height", DataType::Int64, 3),
    ("format", DataType::Utf8, 4),
    (ERROR, DataType::Utf8, 8),
    (BYTES, DataType::Binary, 1),
];

/// The column that says why an image has no vector.
pub(super) const ERROR: &str = "error";

/// The place of that column.
pub(super) const ERROR_PLACE: usize = 4;

/// The column of the bytes of files.
const BYTES: &str = "bytes";

impl Source {
    /// Looks into the inputs and checks the columns; `model` cuts the texts where that is asked
    /// for.
    ///
    /// # Errors
    /// When a file or a column is not there or not what it should be, and options of texts with
    /// images.
    pub(super) fn of(request: &EmbedRequest, is_bare: bool, notice: Notice<'_>) -> Result<Self> {
        if request.of_images {
            return Images::of(request).map(Self::Images);
        }
        let (plan, column) = plan(request, is_bare, notice)?;
        Ok(Self::Texts(Box::new(Texts { plan, column, chunker: None })))
    }

    /// Makes what cuts the texts, if they are to be cut.
    ///
    /// # Errors
    /// A limit that the model does not have.
    pub(super) fn cut(&mut self, request: &EmbedRequest, model: &Model) -> Result<()> {
        if let (Self::Texts(texts), Some(chunk)) = (self, &request.chunk) {
            let subjects = || Ok(Model::load(&ModelSpec::new("potion"))?);
            texts.chunker = Some(Chunker::new(model, prompt(request), chunk, subjects)?);
        }
        Ok(())
    }

    /// The name of the column of contents.
    pub(super) fn column(&self) -> &str {
        match self {
            Self::Texts(texts) => &texts.column,
            Self::Images(_) => BYTES,
        }
    }

    /// The columns that are read.
    pub(super) fn schema(&self) -> &SchemaRef {
        match self {
            Self::Texts(texts) => &texts.plan.schema,
            Self::Images(images) => &images.schema,
        }
    }

    /// The places in the schema of the columns that are kept.
    pub(super) fn kept(&self) -> Vec<usize> {
        match self {
            Self::Texts(texts) => texts.plan.kept.clone(),
            Self::Images(_) => (0..IMAGE_COLUMNS.len() - 1).collect(),
        }
    }

    /// The rows; `None` where texts are cut, which shows how many there are.
    pub(super) fn rows(&self) -> Option<u64> {
        match self {
            Self::Texts(texts) => texts.chunker.is_none().then_some(texts.plan.rows),
            Self::Images(images) => Some(images.files.len() as u64),
        }
    }

    /// What cuts the texts, if they are cut.
    pub(super) fn chunker(&self) -> Option<&Chunker> {
        match self {
            Self::Texts(texts) => texts.chunker.as_ref(),
            Self::Images(_) => None,
        }
    }

    /// The files, as a later start compares them.
    pub(super) fn inputs(&self) -> Vec<Input> {
        match self {
            Self::Texts(texts) => {
                texts.plan.table.files.iter().map(|f| Input::of(&f.file)).collect()
            }
            Self::Images(images) => {
                images.files.iter().map(|file| Input::of_image(file.name())).collect()
            }
        }
    }

    /// The rows without the first `skip`.
    pub(super) fn from(&self, skip: u64, batch_rows: usize) -> Pending<'_> {
        match self {
            Self::Texts(texts) => Box::new(Rows::new(&texts.plan, skip, batch_rows)),
            Self::Images(images) => Box::new(images.rows(skip)),
        }
    }
}

impl Images {
    fn of(request: &EmbedRequest) -> Result<Self> {
        let given = [
            ("--column", request.column.is_some()),
            ("--columns", request.columns.is_some()),
            ("--prompt", request.prompt.is_some()),
            ("--chunk", request.chunk.is_some()),
        ];
        if let Some((name, _)) = given.iter().find(|(_, is_given)| *is_given) {
            return Err(Failure::user(format!(
                "{name} can't be used with images, whose rows have path, width, height, format and error"
            )));
        }
        let fields = IMAGE_COLUMNS.map(|(name, kind, _)| Field::new(name, kind, true));
        let names = IMAGE_COLUMNS.map(|(name, ..)| name);
        if names.contains(&request.output_column.as_str()) {
            return Err(Failure::user(format!(
                "images have a column '{}'; name the vectors' column with --output-column",
                request.output_column
            )));
        }
        let mut files = Vec::new();
        for input in &request.inputs {
            files.extend(blobs(input, &has_image_name)?);
        }
        if files.is_empty() {
            return Err(Failure::user("no input files: there are no images"));
        }
        Ok(Self { files, schema: Arc::new(Schema::new(fields.to_vec())) })
    }

    /// Rows of the files without the first `skip`, read when they are asked for.
    fn rows(&self, skip: u64) -> impl Iterator<Item = Result<RecordBatch>> + Send + '_ {
        let mut next = usize::try_from(skip).unwrap_or(usize::MAX);
        std::iter::from_fn(move || {
            if next >= self.files.len() {
                return None;
            }
            let batch = image_rows(&self.files, next).map_err(Failure::from).and_then(|read| {
                next = read.1;
                let columns = IMAGE_COLUMNS.map(|(_, _, place)| Arc::clone(read.0.column(place)));
                RecordBatch::try_new(Arc::clone(&self.schema), columns.to_vec())
                    .map_err(|error| Failure::other(format!("internal error: {error}")))
            });
            if batch.is_err() {
                next = usize::MAX;
            }
            Some(batch)
        })
    }
}

/// What is read, and the column of texts. With `is_bare`, which is for a bare array of vectors, the
/// ids alone are kept beside them, unless columns are named.
fn plan(request: &EmbedRequest, is_bare: bool, notice: Notice<'_>) -> Result<(Plan, String)> {
    let table = Plan::table(resolve(&request.inputs, &[&request.output])?, notice)?;
    let has = |name: &str| table.schema.index_of(name).is_ok();
    let ids: Vec<String> = [ID].into_iter().filter(|id| has(id)).map(str::to_string).collect();
    let text = text_column(&table, request.column.as_deref())?;
    let whole = table.schema.fields().iter().map(|field| field.name().clone());
    // Each chunk with the whole text beside it would be the text many times.
    let others: Vec<String> = whole.filter(|name| *name != text).collect();
    let columns = match &request.columns {
        None if is_bare => Some(ids.as_slice()),
        None if request.chunk.is_some() => Some(others.as_slice()),
        Some(names) if names.iter().any(|name| name == "*") => None,
        columns => columns.as_deref(),
    };
    let wanted = Wanted { text: Some(&text), columns, output_column: Some(&request.output_column) };
    let plan = Plan::of(table, &wanted)?;
    let is_kept =
        |name: &str| plan.kept.iter().any(|column| plan.schema.field(*column).name() == name);
    if let Some(field) = chunks::fields().iter().find(|field| is_kept(field.name()))
        && request.chunk.is_some()
    {
        return Err(Failure::user(format!(
            "the input has a column '{0}', and so have chunks; leave it out with --columns",
            field.name()
        )));
    }
    let kept = plan.kept.iter().map(|column| plan.schema.field(*column));
    match kept.into_iter().find(|field| is_empty_object(field.data_type())) {
        Some(field) => Err(Failure::user(format!(
            "column '{}' holds objects without fields, which no output format can store; leave it out with --columns",
            field.name()
        ))),
        None => Ok((plan, text)),
    }
}

/// The column of ids, where an input has one.
const ID: &str = "id";
