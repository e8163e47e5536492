//! The session: a DataFusion context with Sembla's functions, statements and models.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::catalog::DynamicFileCatalog;
use datafusion::common::config::ConfigExtension;
use datafusion::dataframe::DataFrame;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::future::BoxFuture;
use sembla_models::{CancelToken, ModelSpec};

use crate::catalogue::{Catalogue, statements as catalogue};
use crate::files::{self, ExternalFiles, FileReading, Files, Notices};
use crate::findings::{self, Progress};
use crate::from_items::Known;
use crate::functions::{self, Engine, ParameterNames, blocking};
use crate::prepared::{PreparedStatements, Step};
use crate::statement::{self, CreateModel, Statement};
use crate::streams::{self, StreamPlan, StreamSettings};
use crate::vector_type::VectorType;
use crate::{
    Models, SqlError, arguments, column_names, copy, index_statements, models_table, planning,
    windows,
};

/// What a session may use. `None` everywhere takes DataFusion's default.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Bytes that sorts, joins and aggregations of all queries may hold together; over it they
    /// spill or fail.
    pub memory_limit_bytes: Option<usize>,
    /// Partitions that a query is spread over; the default is one per core.
    pub target_partitions: Option<usize>,
    /// Rows of a batch.
    pub batch_rows: Option<usize>,
    /// Folder for spilled data; the default is the system's folder for temporary files.
    pub spill_folder: Option<PathBuf>,
}

/// What came of a statement.
pub enum Outcome {
    /// A result that has not run yet; collect it or stream it.
    Rows(DataFrame),
    /// The statement is done; this is one line to tell the user.
    Done(String),
    /// A pipeline that has not run yet.
    Stream(Box<StreamPlan>),
}

/// A session. Clones share everything.
#[derive(Clone)]
pub struct Session {
    context: SessionContext,
    engine: Engine,
    parameters: Arc<ParameterNames>,
    prepared: PreparedStatements,
    reading: Arc<FileReading>,
}

impl Session {
    /// A new session with the built-in models.
    ///
    /// # Errors
    /// When an option can't be had, such as a spill folder that can't be written.
    pub fn new(options: SessionOptions) -> Result<Self, SqlError> {
        let mut config = SessionConfig::new().with_information_schema(true);
        config.options_mut().extensions.insert(StreamSettings::default());
        // The order of a sub-query means something where a finding reads it.
        config.options_mut().sql_parser.enable_subquery_sort_elimination = false;
        // Else files go to whichever partition is free, and rows with them.
        config.options_mut().execution.enable_file_stream_work_stealing = false;
        let cancel = CancelToken::new();
        let reading = FileReading { cancel: cancel.clone(), ..FileReading::default() };
        let reading = Arc::new(reading);
        config = config.with_extension(Arc::clone(&reading));
        if let Some(partitions) = options.target_partitions {
            config = config.with_target_partitions(partitions);
        }
        if let Some(rows) = options.batch_rows {
            config = config.with_batch_size(rows);
        }
        let mut runtime = RuntimeEnvBuilder::new();
        if let Some(bytes) = options.memory_limit_bytes {
            runtime = runtime.with_memory_limit(bytes, 1.0);
        }
        if let Some(folder) = options.spill_folder {
            runtime = runtime.with_temp_file_path(folder);
        }
        // A folder that a query has just written to must be listed anew.
        let runtime = runtime.with_object_list_cache_limit(0).build_arc()?;
        let engine = Engine {
            models: Arc::new(Models::new()),
            cancel,
            progress: Default::default(),
            indexes: Default::default(),
            catalogue: Default::default(),
        };
        let context = SessionContext::new_with_config_rt(config, runtime);
        let context = with_files_and_findings(context, &engine);
        let parameters = Arc::new(functions::register(&context, &engine));
        findings::register(&context, &engine)?;
        windows::register(&context)?;
        Ok(Self { context, engine, parameters, prepared: PreparedStatements::default(), reading })
    }

    /// The statements of a text.
    ///
    /// # Errors
    /// [`SqlError::Syntax`] for the first mistake.
    pub fn parse(&self, text: &str) -> Result<Vec<Statement>, SqlError> {
        let dialect = datafusion::sql::sqlparser::dialect::GenericDialect {};
        // Editors put a byte-order mark before the first statement of a file.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        planning::deeply(|| statement::parse(text, &dialect))?
    }

    /// Runs a statement, or plans it where it gives rows. It runs on a thread of its own: dropped,
    /// the future waits no longer, and the thread ends by itself.
    ///
    /// # Errors
    /// What planning, a model or the statement itself says. Reading the rows of [`Outcome::Rows`]
    /// gives a `DataFusionError`, which turns into a [`SqlError`] by `From`.
    pub async fn execute(&self, statement: Statement) -> Result<Outcome, SqlError> {
        let session = self.clone();
        planning::on_deep_stack(async move { session.run(statement).await }).await?
    }

    /// The same as one type, for statements that run others.
    pub(crate) fn execute_boxed(
        &self,
        statement: Statement,
    ) -> BoxFuture<'static, Result<Outcome, SqlError>> {
        let session = self.clone();
        Box::pin(async move { session.execute(statement).await })
    }

    async fn run(&self, statement: Statement) -> Result<Outcome, SqlError> {
        match statement {
            Statement::CreateModel(create) => self.create_model(create),
            Statement::DropModel { name, if_exists } => self.drop_model(&name, if_exists),
            Statement::ShowModels => Ok(Outcome::Rows(
                self.context.read_batch(models_table::rows(&self.engine.models)?)?,
            )),
            Statement::CreateIndex(create) => index_statements::create(self, create).await,
            Statement::DropIndex { name, if_exists } => {
                index_statements::drop(self, &name, if_exists)
            }
            Statement::ShowIndexes => {
                Ok(Outcome::Rows(self.context.read_batch(index_statements::rows(self)?)?))
            }
            Statement::CreateSource(create) => catalogue::create_source(self, create),
            Statement::DropSource { name, if_exists } => {
                catalogue::drop_source(self, &name, if_exists)
            }
            Statement::ShowSources => {
                Ok(Outcome::Rows(self.context.read_batch(catalogue::sources(self)?)?))
            }
            Statement::CreateSink(create) => catalogue::create_sink(self, create),
            Statement::DropSink { name, if_exists } => catalogue::drop_sink(self, &name, if_exists),
            Statement::ShowSinks => {
                Ok(Outcome::Rows(self.context.read_batch(catalogue::sinks(self)?)?))
            }
            Statement::Engine(statement) => {
                let mut statement = match self.prepared.step(statement)? {
                    Step::Done(words) => return Ok(Outcome::Done(words)),
                    Step::Run(statement) => statement,
                };
                catalogue::refuse_drop(self, &statement)?;
                if let Some(insertion) = streams::insertion(self, &statement) {
                    return insertion.execute(self).await;
                }
                if let Some(change) = index_statements::change_of(self, &statement) {
                    return change.execute(self).await;
                }
                if let Some(name) = index_statements::truncated(self, &statement) {
                    return Err(SqlError::Statement(format!(
                        "'{name}' is an index; DELETE FROM {name} empties it"
                    )));
                }
                column_names::name_calls(&mut statement, &self.parameters);
                let placed = arguments::place(&mut statement, &self.known())?;
                files::name_exactly(&mut statement);
                let plan = self.context.state().statement_to_plan(*statement).await?;
                placed.check(&plan)?;
                let plan = copy::writable(plan)?;
                Ok(Outcome::Rows(self.context.execute_logical_plan(plan).await?))
            }
        }
    }

    /// What functions and findings share with this session.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The sources and sinks.
    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.engine.catalogue
    }

    /// What statements can name.
    pub(crate) fn known(&self) -> Known<'_> {
        Known { parameters: &self.parameters, context: &self.context }
    }

    /// Sets an option of the pipelines that are planned from now on, as `SET stream.key` does.
    ///
    /// # Errors
    /// [`SqlError::Statement`] for an unknown option or a value that it can't have.
    pub fn set_stream_option(&self, key: &str, value: &str) -> Result<(), SqlError> {
        let state = self.context.state_ref();
        let mut state = state.write();
        let key = format!("{}.{key}", StreamSettings::PREFIX);
        Ok(state.config_mut().options_mut().set(&key, value)?)
    }

    /// The DataFusion context.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// The token that every call of a model gets. Setting it stops running queries at the next
    /// batch; [`CancelToken::reset`] makes the session usable again.
    pub fn cancel_token(&self) -> &CancelToken {
        &self.engine.cancel
    }

    /// Sets who listens to the progress of findings, from the next query on.
    pub fn set_progress(&self, progress: Arc<dyn Progress>) {
        self.engine.progress.set(progress);
    }

    /// What was found in files and is no error, for whoever wants to hear of it.
    pub fn notices(&self) -> &Notices {
        &self.reading.notices
    }

    /// The models.
    pub fn models(&self) -> &Arc<Models> {
        &self.engine.models
    }

    /// Makes `name` the model that is used when none is named.
    ///
    /// # Errors
    /// When the name is not known.
    pub fn set_default_model(&self, name: &str) -> Result<(), SqlError> {
        Ok(self.engine.models.set_default(name)?)
    }

    fn create_model(&self, create: CreateModel) -> Result<Outcome, SqlError> {
        let CreateModel { name, or_replace, if_not_exists, options } = create;
        if self.engine.models.contains(&name) && !or_replace {
            if if_not_exists {
                return Ok(Outcome::Done(format!("model '{name}' is there already")));
            }
            return Err(SqlError::Statement(format!(
                "model '{name}' is there already; CREATE OR REPLACE MODEL replaces it"
            )));
        }
        let mut spec = ModelSpec::new("");
        for (key, value) in &options {
            spec.set(key, value)?;
        }
        if spec.source.is_empty() {
            return Err(SqlError::Statement(format!(
                "CREATE MODEL {name} needs the option path = '…'"
            )));
        }
        let model = blocking(|| self.engine.models.add(&name, spec))?;
        let info = model.info();
        Ok(Outcome::Done(format!(
            "model '{name}' created: {} in {} on {}",
            info.architecture, info.precision, info.device
        )))
    }

    fn drop_model(&self, name: &str, if_exists: bool) -> Result<Outcome, SqlError> {
        if self.engine.models.remove(name) {
            return Ok(Outcome::Done(format!("model '{name}' dropped")));
        }
        if if_exists {
            return Ok(Outcome::Done(format!("there is no model '{name}'")));
        }
        Err(self.engine.models.unknown(name).into())
    }
}

/// The context, with files in `FROM`, and a planner that can run findings.
fn with_files_and_findings(context: SessionContext, engine: &Engine) -> SessionContext {
    let files = Arc::new(Files::default());
    let catalogues = Arc::clone(context.state().catalog_list());
    let catalogues = DynamicFileCatalog::new(catalogues, Arc::clone(&files) as _);
    let id = context.session_id();
    let mut builder = context.into_state_builder();
    let factories = builder.table_factories().get_or_insert_default();
    for word in ExternalFiles::words() {
        factories.insert(word.to_string(), Arc::new(ExternalFiles));
    }
    let state = builder
        .with_session_id(id)
        .with_catalog_list(Arc::new(catalogues))
        .with_type_planner(Arc::new(VectorType))
        .with_query_planner(Arc::new(findings::Planner { engine: engine.clone() }))
        .with_physical_optimizer_rule(Arc::new(findings::KeepOrder))
        .with_physical_optimizer_rule(Arc::new(findings::SlotForEach))
        .build();
    let context = SessionContext::from(state);
    files.set_session(&context);
    context
}
