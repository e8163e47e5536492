//! Makes smaller students of a model: fewer of its layers, trained to give the teacher's vectors.
//!
//! The teacher's vectors are made once; each student is a run of training (`students.rs`), and at
//! the end teacher and students are measured in one run (`table.rs`); `shape.rs` changes a model
//! without training. What is not finished lies in a folder beside the output: a killed run resumes.
//! The training itself is `sembla-training`'s.

mod shape;
mod students;
mod table;
mod work;

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use sembla_models::{CancelToken, InputKind, Model, ModelKind, ModelSpec, Precision, Prompt};
use sembla_training::{Event, Options, Target};

use crate::failure::{Failure, Result};
use crate::input::Notice;
use crate::numbers::count;
use crate::train::check_output;
use crate::train::rows::Rows;
pub(crate) use shape::check_new;
pub use shape::{Kept, KeptTokens, Pruned, pca, prune};
use students::{Plan, School};
pub use table::{Distilled, Measured};
use work::Work;

/// Texts that are worked on between two reports of progress, or looks at the cancel token.
const TEXTS_AT_ONCE: usize = 4096;

/// Most numbers in all of the teacher's vectors, which are held in memory.
const NUMBERS_MAX: usize = 1 << 33;

/// Which students to make of what, and where to.
#[derive(Clone, Debug)]
pub struct DistilRequest {
    /// The model that students learn from.
    pub teacher: ModelSpec,
    /// The model that students begin with; `None` is the teacher.
    pub student: Option<ModelSpec>,
    /// Layers of each student; empty is one student with all layers, where there is something to
    /// teach it.
    pub layers: Vec<usize>,
    /// Components of the students' vectors; `None` is as many as they have.
    pub dimensions: Option<usize>,
    /// Whether there is a static student of the teacher's tokens too.
    pub with_static: bool,
    /// Whether each row has a translation, which must get the vector of the original.
    pub multilingual: bool,
    /// The folder that gets a model directory for each student.
    pub output: PathBuf,
    /// Whether an output that exists is replaced.
    pub overwrite: bool,
    /// Whether progress of an earlier run is thrown away.
    pub restart: bool,
    /// How students are trained.
    pub options: Options,
}

impl DistilRequest {
    /// The model that students begin with.
    fn base(&self) -> &ModelSpec {
        self.student.as_ref().unwrap_or(&self.teacher)
    }

    /// The students.
    fn plans(&self) -> Vec<Plan> {
        let mut plans: Vec<Plan> = self.layers.iter().copied().map(Plan::Layers).collect();
        let has_task = self.student.is_some() || self.multilingual;
        if plans.is_empty() && (has_task || (self.dimensions.is_some() && !self.with_static)) {
            plans.push(Plan::Whole);
        }
        if self.with_static {
            plans.push(Plan::Static);
        }
        plans
    }

    /// Whether there are students that learn from texts.
    pub fn needs_texts(&self) -> bool {
        self.plans().iter().any(|plan| *plan != Plan::Static)
    }
}

/// What is told while students are made.
#[derive(Clone, Debug)]
pub enum Told<'a> {
    /// The teacher has made so many of all vectors.
    Teacher {
        /// Texts that are done.
        done: usize,
        /// All texts.
        all: usize,
    },
    /// The vectors were cut to fewer components, which keep this share of the variance.
    Cut {
        /// Components before.
        from: usize,
        /// Components after.
        to: usize,
        /// A share of 1.
        explained: f64,
    },
    /// So many of the teacher's tokens have got a vector, for the static student.
    Tokens {
        /// Tokens that are done.
        done: usize,
        /// All tokens.
        all: usize,
    },
    /// A student of this name begins.
    Begins(&'a str),
    /// A student was finished by an earlier run of the same command.
    Kept(&'a str),
    /// Something in the training of the student.
    Training(&'a Event),
    /// All are written; they are measured.
    Measuring,
}

/// Where the work of an unfinished run is.
pub fn work_folder(output: &Path) -> PathBuf {
    Target { output: output.to_path_buf(), restart: false }.work()
}

/// Looks whether a run can do what it is asked to, as far as that shows without the rows.
///
/// # Errors
/// An output that can't be written, and options that don't fit each other.
pub fn check(request: &DistilRequest) -> Result<()> {
    check_output(&request.output, request.overwrite)?;
    let mut layers = request.layers.clone();
    layers.sort_unstable();
    if let Some(twice) = layers.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Failure::user(format!("--layers names {} twice", twice[0])));
    }
    if request.dimensions.is_some() && request.student.is_some() {
        return Err(Failure::user(
            "--dimensions cuts the teacher's vectors for students that are made of the teacher; leave out --student, \
             or cut the finished student with sembla models pca",
        ));
    }
    if request.plans().is_empty() {
        return Err(Failure::user(
            "name what students shall be: --layers 6,3, --dimensions 128, --static, --student MODEL or --multilingual",
        ));
    }
    Ok(())
}

/// Makes the students from the texts of `data` (a static student needs none), measures them on the
/// rows of `eval`, and writes them: a folder in the output for each.
///
/// Blocks until the end. Memory is that of the teacher's vectors, and what training a student
/// takes.
///
/// # Errors
/// Columns, options, models and files that are not as they should be, and
/// [`Failure::Interrupted`] when `cancel` is set.
pub fn run(
    request: &DistilRequest,
    data: Option<&[RecordBatch]>,
    eval: Option<&[RecordBatch]>,
    cancel: &CancelToken,
    notice: Notice<'_>,
    tell: &mut dyn FnMut(Told<'_>),
) -> Result<Distilled> {
    check(request)?;
    let columns = columns(request, data, notice)?;
    let eval = eval.map(|eval| Rows::read(eval, "the rows of --eval", notice)).transpose()?;
    let work = Work::open(request)?;
    match make(request, &work, columns, eval.as_ref(), cancel, notice, tell) {
        Ok(distilled) => {
            work.finish(request)?;
            Ok(distilled)
        }
        Err(failure) => {
            work.leave(&failure);
            Err(failure)
        }
    }
}

/// Makes and measures the students in the work folder.
fn make(
    request: &DistilRequest,
    work: &Work,
    columns: Vec<Vec<String>>,
    eval: Option<&Rows>,
    cancel: &CancelToken,
    notice: Notice<'_>,
    tell: &mut dyn FnMut(Told<'_>),
) -> Result<Distilled> {
    let teacher = load_teacher(request, work, columns.first().map_or(0, Vec::len))?;
    work.check(request, &teacher, &columns)?;
    let mut vectors = Vec::new();
    if let (true, Some(originals)) = (request.needs_texts(), columns.first()) {
        let mut observe = |done, all| tell(Told::Teacher { done, all });
        vectors = embed(&teacher, originals, cancel, &mut observe)?;
    }
    let mut school = School::open(request, &teacher, vectors, columns, eval, cancel)?;
    for plan in request.plans() {
        school.teach(plan, work, notice, tell)?;
    }
    tell(Told::Measuring);
    school.measure(work, eval, &request.plans())
}

/// The texts to learn from, and their translations where there are some.
fn columns(
    request: &DistilRequest,
    data: Option<&[RecordBatch]>,
    notice: Notice<'_>,
) -> Result<Vec<Vec<String>>> {
    let Some(data) = data else {
        return match request.needs_texts() {
            true => Err(Failure::user(
                "students learn from texts: add --data, a query with a column text",
            )),
            false => Ok(Vec::new()),
        };
    };
    let rows = Rows::read(data, "the rows of --data", notice)?;
    match request.multilingual {
        true => rows.into_texts(2, "the columns text and translation"),
        false => rows.into_texts(1, "one column, text"),
    }
}

/// Loads the teacher in full precision; its vectors are kept in the work folder, so that a run
/// that resumes doesn't make them again.
fn load_teacher(request: &DistilRequest, work: &Work, texts: usize) -> Result<Model> {
    let mut spec = in_floats(&request.teacher);
    spec.cache = Some(work.vectors());
    let teacher = Model::load(&spec)?;
    let info = teacher.info();
    if info.kind == ModelKind::CrossEncoder || info.takes == InputKind::Image {
        return Err(Failure::user(format!(
            "model '{}' gives no vectors of texts that students could learn",
            info.name
        )));
    }
    let numbers = texts.saturating_mul(info.dimension);
    if numbers > NUMBERS_MAX {
        return Err(Failure::user(format!(
            "the teacher's vectors of {} texts don't fit; at most {} fit: sample them or add LIMIT",
            count(texts as u64),
            count((NUMBERS_MAX / info.dimension.max(1)) as u64)
        )));
    }
    let mib = (numbers as u64 * 5) >> 20;
    if mib > spec.cache_mib {
        spec.cache_mib = mib;
        return Ok(Model::load(&spec)?);
    }
    Ok(teacher)
}

/// A model in 32-bit floats, as students are.
fn in_floats(spec: &ModelSpec) -> ModelSpec {
    ModelSpec { precision: Some(Precision::F32), ..spec.clone() }
}

/// A model's vectors of texts; `observe` is told how many of all are done.
fn embed(
    model: &Model,
    texts: &[String],
    cancel: &CancelToken,
    observe: &mut dyn FnMut(usize, usize),
) -> Result<Vec<f32>> {
    let width = model.info().dimension;
    let mut vectors = Vec::with_capacity(texts.len() * width);
    observe(0, texts.len());
    for part in texts.chunks(TEXTS_AT_ONCE) {
        let part: Vec<&str> = part.iter().map(String::as_str).collect();
        vectors.extend(model.embed(&part, Prompt::Text(""), cancel)?.values);
        observe(vectors.len() / width.max(1), texts.len());
    }
    Ok(vectors)
}
