//! What every command on findings does around its statement: a session whose rows keep their order,
//! progress, Ctrl-C, and rows that go to standard output or to a file.

use std::io::BufWriter;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arrow::array::RecordBatch;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use futures::StreamExt;
use sembla_sql::{Engine, EngineOptions, Outcome, Progress, Session, SessionOptions};

use super::{INPUT, images};
use crate::args::{FindingArgs, InputArgs, OutputArgs, ResourceArgs};
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::progress::{EMBEDDING, Stages};
use crate::{notice, terminal};
use sembla_jobs::input::{InputFiles, InputTable, are_images, register};
use sembla_jobs::numbers::{count, rate};
use sembla_jobs::output::{Format, ResultFile, RowPrinter};

/// Work in progress. Clones share it.
#[derive(Clone)]
pub(crate) struct Job<'a> {
    session: Session,
    stages: Arc<Stages>,
    interrupt: &'a Interrupt,
    begun: Instant,
    /// Which columns of the input were taken for what, in words.
    taken: Arc<OnceLock<String>>,
}

impl<'a> Job<'a> {
    /// Opens a session. Its queries have one partition, so that rows keep the order of the files;
    /// models and findings use all cores by themselves.
    ///
    /// # Errors
    /// When an option can't be applied.
    pub(crate) fn begin(resources: &ResourceArgs, interrupt: &'a Interrupt) -> Result<Self> {
        let memory_limit_bytes = resources.memory_limit;
        let engine = Engine::new(EngineOptions { memory_limit_bytes, ..EngineOptions::default() })?;
        let options = SessionOptions { target_partitions: Some(1), ..SessionOptions::default() };
        let session = engine.session(options)?;
        let stages = Arc::new(Stages::new(session.cancel_token()));
        session.set_progress(Arc::clone(&stages) as _);
        let taken = Arc::default();
        Ok(Self { session, stages, interrupt, begun: Instant::now(), taken })
    }

    /// The session.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Loads the model that the flags describe, and makes it the one that is used.
    ///
    /// # Errors
    /// What loading says.
    pub(crate) fn load_model(&self, resources: &ResourceArgs) -> Result<()> {
        let spec = resources.model.spec()?;
        let name = spec.source.clone();
        self.session.models().add(&name, spec)?;
        Ok(self.session.set_default_model(&name)?)
    }

    /// Loads the model if one of `tables` has no vectors of its own; those that have must fit it.
    ///
    /// # Errors
    /// What loading says, and vectors of another dimension than the model's.
    pub(crate) fn load_model_for(
        &self,
        resources: &ResourceArgs,
        tables: &[&InputTable],
    ) -> Result<()> {
        if tables.iter().all(|table| table.has_vectors) {
            return Ok(());
        }
        self.load_model(resources)?;
        self.check_dimensions(tables)
    }

    /// Rejects vectors that the model that was loaded can't have made.
    ///
    /// # Errors
    /// [`Failure::User`] with what to do.
    pub(crate) fn check_dimensions(&self, tables: &[&InputTable]) -> Result<()> {
        let models = self.session.models().list();
        let model = models.into_iter().find(|entry| entry.is_default).and_then(|entry| entry.model);
        match model {
            Some(model) => {
                let info = model.info();
                tables
                    .iter()
                    .try_for_each(|table| table.check_dimension(&info.name, info.dimension))
            }
            None => Ok(()),
        }
    }

    /// Makes the inputs of a command the table [`INPUT`]; `others` are further columns of it. Which
    /// columns were taken for what is reported at the end.
    ///
    /// # Errors
    /// When a file or a column is not what it should be.
    pub(crate) async fn register_input(
        &self,
        args: &FindingArgs,
        others: &[String],
        output: &Destination,
    ) -> Result<InputTable> {
        if are_images(&args.input.inputs)? {
            return images::register(self, args, others).await;
        }
        let condition = args.input.condition.as_deref();
        let table =
            self.register_where(INPUT, &args.input.inputs, &args.input, others, output, condition)?;
        // A second input of the same name would not be the one that is told of.
        let _ = self.taken.set(table.columns_used());
        Ok(table)
    }

    /// Makes all rows of files the table `name`; `others` are further columns of it.
    ///
    /// # Errors
    /// When a file or a column is not what it should be.
    pub(crate) fn register(
        &self,
        name: &str,
        inputs: &[String],
        args: &InputArgs,
        others: &[String],
        output: &Destination,
    ) -> Result<InputTable> {
        self.register_where(name, inputs, args, others, output, None)
    }

    fn register_where(
        &self,
        name: &str,
        inputs: &[String],
        args: &InputArgs,
        others: &[String],
        output: &Destination,
        condition: Option<&str>,
    ) -> Result<InputTable> {
        let outputs: Vec<_> =
            output.file.iter().chain(&output.other).map(ResultFile::path).collect();
        let source = InputFiles {
            inputs,
            text: args.column.as_deref(),
            id: args.id.as_deref(),
            vectors: args.vectors.as_deref(),
            others,
            outputs: &outputs,
            condition,
        };
        let table = register(&self.session, name, source, &notice)?;
        self.stages.expect_rows(table.rows);
        Ok(table)
    }

    /// Makes the rows of a query that embeds the table `name` of the session, in memory.
    ///
    /// # Errors
    /// What the query says.
    pub(crate) async fn embed_into(&self, name: &str, sql: &str) -> Result<()> {
        self.embed_each_into(name, &[sql.to_string()], Ok).await.map(|_| ())
    }

    /// Makes the rows of several queries that embed, one after another, the table `name` of the
    /// session, in memory; each batch is what `change` makes of it. Gives the number of rows.
    ///
    /// # Errors
    /// What the queries and `change` say.
    pub(crate) async fn embed_each_into(
        &self,
        name: &str,
        queries: &[String],
        mut change: impl FnMut(RecordBatch) -> Result<RecordBatch>,
    ) -> Result<u64> {
        let (mut batches, mut rows, mut kept) = (Vec::new(), 0, 0);
        let mut planned = None;
        for sql in queries {
            let mut stream = sembla_sql::planning::stream(self.rows(sql).await?).await?;
            planned = Some(stream.schema());
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                rows += batch.num_rows() as u64;
                self.stages.update(EMBEDDING, rows, None);
                let batch = change(batch)?;
                kept += batch.num_rows() as u64;
                batches.push(batch);
            }
        }
        let schema = batches.first().map(RecordBatch::schema).or(planned);
        let schema = schema.ok_or_else(|| Failure::user("the input has no rows"))?;
        let table = MemTable::try_new(schema, vec![batches])?;
        self.session.context().register_table(name, Arc::new(table))?;
        Ok(kept)
    }

    /// The components of the vectors of the model that is used; 0 when none was loaded.
    pub(crate) fn dimension(&self) -> usize {
        let models = self.session.models().list();
        let model = models.into_iter().find(|entry| entry.is_default).and_then(|entry| entry.model);
        model.map_or(0, |model| model.info().dimension)
    }

    /// Runs `work` so that Ctrl-C ends it, and takes the bars away at its end.
    ///
    /// # Errors
    /// Those of the work, and [`Failure::Interrupted`].
    pub(crate) async fn guarded<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let guard = self.interrupt.guard(self.session.cancel_token().clone());
        let result = tokio::select! {
            result = work => result,
            () = guard.pressed() => Err(Failure::Interrupted(None)),
        };
        self.stages.clear();
        if guard.was_pressed() { Err(Failure::Interrupted(None)) } else { result }
    }

    /// # Errors
    /// [`Failure::Interrupted`] when a signal has asked the work to stop.
    pub(crate) fn check(&self) -> Result<()> {
        Ok(self.session.cancel_token().check()?)
    }

    /// Plans a query.
    ///
    /// # Errors
    /// What planning says.
    pub(crate) async fn rows(&self, sql: &str) -> Result<DataFrame> {
        tracing::info!("{sql}");
        let mut last = None;
        for statement in self.session.parse(sql)? {
            last = Some(self.session.execute(statement).await?);
        }
        match last {
            Some(Outcome::Rows(rows)) => Ok(rows),
            _ => Err(Failure::other("internal error: a statement gave no rows")),
        }
    }

    /// The rows of a query.
    ///
    /// # Errors
    /// What the query says.
    pub(crate) async fn collect(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        Ok(self.rows(sql).await?.collect().await?)
    }

    /// The model that is used, in words; `None` when none was loaded.
    pub(crate) fn model(&self) -> Option<String> {
        let models = self.session.models().list();
        let info = models.into_iter().find(|entry| entry.is_default)?.model?.info().clone();
        Some(format!("{} ({}, {} components)", info.name, info.precision, info.dimension))
    }

    /// Runs a statement to its end, for what it leaves in the session.
    ///
    /// # Errors
    /// What the statement says.
    pub(crate) async fn execute(&self, sql: &str) -> Result<()> {
        self.collect(sql).await.map(|_| ())
    }

    /// Writes all rows to their destination; each batch is what `change` makes of it, which decides
    /// the columns too: it is given a batch without rows first.
    ///
    /// # Errors
    /// Those of the query and of the output.
    pub(crate) async fn write(
        &self,
        rows: DataFrame,
        destination: &Destination,
        mut change: impl FnMut(RecordBatch) -> Result<RecordBatch>,
    ) -> Result<()> {
        let mut stream = sembla_sql::planning::stream(rows).await?;
        let schema = change(RecordBatch::new_empty(stream.schema()))?.schema();
        let Some(file) = &destination.file else {
            let mut out = BufWriter::new(std::io::stdout());
            let mut printer =
                RowPrinter::new(destination.format, terminal::look(), &schema, &mut out)?;
            while let Some(batch) = stream.next().await {
                self.stages.make_room();
                printer.write(&change(batch?)?)?;
            }
            return printer.finish();
        };
        let mut unfinished = file.create()?;
        let mut writer = unfinished.rows(&schema)?;
        while let Some(batch) = stream.next().await {
            writer.write(&change(batch?)?)?;
        }
        writer.finish()?;
        unfinished.publish()
    }

    /// Ends a line about `rows` rows with the time that they took.
    pub(crate) fn report(&self, words: &str, rows: u64) {
        self.stages.clear();
        let seconds = self.begun.elapsed().as_secs_f64();
        eprintln!("{words}; {seconds:.1} s, {} rows/s", rate(rows, seconds));
        if let Some(taken) = self.taken.get() {
            eprintln!("{taken}");
        }
    }
}

/// Where the rows of a result go.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    /// The file; `None` is standard output.
    pub(crate) file: Option<ResultFile>,
    /// A second file that the command writes.
    other: Option<ResultFile>,
    /// The format on standard output.
    format: Format,
    /// Whether texts were asked for outside of a table.
    text: bool,
}

impl Destination {
    /// The destination that the user named.
    ///
    /// # Errors
    /// When the file can't be written there.
    pub(crate) fn new(args: &OutputArgs) -> Result<Self> {
        let file = args.output.as_deref().map(|path| ResultFile::new(path, args.overwrite));
        let file = file.transpose()?;
        Ok(Self { file, other: None, format: args.format.into(), text: args.text })
    }

    /// This destination, of a command that writes another file too.
    pub(crate) fn and(self, other: Option<&ResultFile>) -> Self {
        Self { other: other.cloned(), ..self }
    }

    /// A file.
    pub(crate) fn to(file: ResultFile) -> Self {
        Self { file: Some(file), other: None, format: Format::Table, text: false }
    }

    /// Standard output.
    pub(crate) fn stdout(format: Format) -> Self {
        Self { file: None, other: None, format, text: false }
    }

    /// Whether texts stand beside ids: a person needs them, a program only if it asks.
    ///
    /// # Errors
    /// When they were asked for and `table` has none.
    pub(crate) fn shows_texts(&self, table: &InputTable) -> Result<bool> {
        if self.text && !table.has_text {
            return Err(Failure::user("there is no text column to show; name one with --column"));
        }
        let for_people = self.file.is_none() && self.format == Format::Table;
        Ok(table.has_text && (self.text || for_people))
    }
}

/// `3 topics`, `1 topic`.
pub(crate) fn counted(number: u64, one: &str) -> String {
    let (stem, many) = match one.strip_suffix('y') {
        Some(stem) if number != 1 => (stem, "ies"),
        _ if number != 1 => (one, "s"),
        _ => (one, ""),
    };
    format!("{} {stem}{many}", count(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_plurals() {
        let words =
            [counted(1, "query"), counted(2, "query"), counted(0, "row"), counted(1200, "hit")];
        assert_eq!(words, ["1 query", "2 queries", "0 rows", "1,200 hits"]);
    }
}
