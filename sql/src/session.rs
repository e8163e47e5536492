//! The session: a DataFusion context with Sembla's functions, statements and models.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::catalog::{CatalogProviderList, DynamicFileCatalog};
use datafusion::common::config::ConfigExtension;
use datafusion::logical_expr::{DdlStatement, LogicalPlan, Statement as PlannedStatement};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use sembla_models::CancelToken;

use crate::catalogue::{Catalogue, StoredTables};
use crate::columns::VectorType;
use crate::engine::{Connection, Engine, EngineOptions, Models};
use crate::files::{ExternalFiles, FileReading, Files, Notices};
use crate::planning::{self, KeepOrder, Planner};
use crate::query::{Listener, Progress, QueryScope};
use crate::relations::SlotForEach;
use crate::statements::prepared::{PreparedStatements, Step};
use crate::statements::{indexes, insert, models, streams, to_sink, train};
use crate::streams::StreamSettings;
use crate::syntax::{self, Statement};
use crate::{SqlError, files, functions, windows};

pub use crate::statements::Outcome;

/// How a session runs its queries. `None` everywhere takes DataFusion's default.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Partitions that a query is spread over; the default is one per core.
    pub target_partitions: Option<usize>,
    /// Rows of a batch.
    pub batch_rows: Option<usize>,
}

/// A session: one user's sources, sinks, tables, settings and default model. Clones share
/// everything.
///
/// # Examples
/// ```
/// use sembla_sql::{Outcome, Session, SessionOptions};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let session = Session::new(SessionOptions::default())?;
/// for statement in session.parse("SELECT cos_sim([1.0, 0.0], [1.0, 0.0]) AS score")? {
///     if let Outcome::Rows(rows) = session.execute(statement).await? {
///         let batches = rows.collect().await?;
///         assert_eq!(batches[0].num_rows(), 1);
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Session {
    connection: Connection,
    /// The catalogues without the files that queries name.
    catalogues: Arc<dyn CatalogProviderList>,
    prepared: PreparedStatements,
    reading: Arc<FileReading>,
    /// What stops all queries of the session.
    cancel: CancelToken,
    progress: Listener,
}

impl Engine {
    /// A new session.
    ///
    /// # Errors
    /// What DataFusion says.
    pub fn session(&self, options: SessionOptions) -> Result<Session, SqlError> {
        let mut config = SessionConfig::new().with_information_schema(true);
        config.options_mut().extensions.insert(StreamSettings::default());
        // The order of a sub-query means something where a finding reads it.
        config.options_mut().sql_parser.enable_subquery_sort_elimination = false;
        // Else files go to whichever partition is free, and rows with them.
        config.options_mut().execution.enable_file_stream_work_stealing = false;
        let reading = Arc::new(FileReading::default());
        config = config.with_extension(Arc::clone(&reading));
        if let Some(partitions) = options.target_partitions {
            config = config.with_target_partitions(partitions);
        }
        if let Some(rows) = options.batch_rows {
            config = config.with_batch_size(rows);
        }
        let context = SessionContext::new_with_config_rt(config, self.runtime()?);
        let catalogues = Arc::clone(context.state().catalog_list());
        let context = with_our_planning(context);
        open_files(&context, &catalogues);
        let models = self.models();
        let parameters = Arc::new(functions::register(&context, &models));
        planning::register(&context, &models)?;
        windows::register(&context)?;
        files::register_images(&context);
        files::register_job_runs(&context);
        let connection = Connection {
            context,
            models,
            catalogue: Catalogue::default(),
            parameters,
            trainer: self.trainer(),
            indexes: self.indexes().clone(),
            index_tables: Arc::default(),
        };
        let (prepared, cancel, progress) = Default::default();
        Ok(Session { connection, catalogues, prepared, reading, cancel, progress })
    }
}

impl Session {
    /// A new session of an engine of its own.
    ///
    /// # Errors
    /// What DataFusion says.
    pub fn new(options: SessionOptions) -> Result<Self, SqlError> {
        Engine::new(EngineOptions::default())?.session(options)
    }

    /// Whether a function of that name is Sembla's own, or runs in place of DataFusion's.
    pub(crate) fn is_own_function(&self, name: &str) -> bool {
        self.connection.parameters.contains_key(name)
    }

    /// The statements of a text.
    ///
    /// # Errors
    /// [`SqlError::Syntax`] for the first mistake.
    pub fn parse(&self, text: &str) -> Result<Vec<Statement>, SqlError> {
        // Editors put a byte-order mark before the first statement of a file.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        planning::deeply(|| syntax::parse(text, &GenericDialect {}))?
    }

    /// Runs a statement, or plans it where it gives rows. It runs on a thread of its own: dropped,
    /// the future waits no longer, and the thread ends by itself.
    ///
    /// # Errors
    /// What planning, a model or the statement itself says. Reading the rows of [`Outcome::Rows`]
    /// gives a `DataFusionError`, which turns into a [`SqlError`] by `From`.
    pub async fn execute(&self, statement: Statement) -> Result<Outcome, SqlError> {
        self.execute_with(statement, &self.cancel.child()).await
    }

    /// The same with a token that stops this query and no other: while it is planned, and while its
    /// rows are read or its pipeline runs. A [`child`](CancelToken::child) of
    /// [`Session::cancel_token`] is stopped with the session's other queries too.
    ///
    /// # Errors
    /// As for [`Session::execute`].
    pub async fn execute_with(
        &self,
        statement: Statement,
        cancel: &CancelToken,
    ) -> Result<Outcome, SqlError> {
        let (session, cancel) = (self.clone(), cancel.clone());
        planning::on_deep_stack(async move { session.run(statement, cancel).await }).await?
    }

    async fn run(&self, statement: Statement, cancel: CancelToken) -> Result<Outcome, SqlError> {
        let query = self.of_query(cancel);
        query.show_indexes()?;
        let rows = |rows: RecordBatch| -> Result<Outcome, SqlError> {
            Ok(Outcome::Rows(query.context.read_batch(rows)?))
        };
        match statement {
            Statement::CreateModel(mut create) => match create.query.take() {
                Some(rows) => train::create(&query, create, *rows, self.notices()).await,
                None => models::create(&query.models, create),
            },
            Statement::DropModel { name, if_exists } => {
                models::drop(&query.models, &name, if_exists)
            }
            Statement::ShowModels => rows(models::rows(&query.models)?),
            Statement::CreateIndex(create) => indexes::create(&query, create).await,
            Statement::DropIndex { name, if_exists } => indexes::drop(&query, &name, if_exists),
            Statement::ShowIndexes => rows(indexes::rows(&query)?),
            Statement::CreateSource(create) => streams::create_source(&query, create),
            Statement::DropSource { name, if_exists } => {
                streams::drop_source(&query, &name, if_exists)
            }
            Statement::ShowSources => rows(streams::sources(&query)?),
            Statement::CreateSink(create) => streams::create_sink(&query, create),
            Statement::DropSink { name, if_exists } => streams::drop_sink(&query, &name, if_exists),
            Statement::ShowSinks => rows(streams::sinks(&query)?),
            Statement::DataFusion(statement) => match self.prepared.step(statement)? {
                Step::Done(words) => Ok(Outcome::Done(words)),
                Step::Run(statement) => self.run_datafusion(&query, *statement).await,
            },
        }
    }

    /// Runs a statement that DataFusion has parsed.
    async fn run_datafusion(
        &self,
        query: &Connection,
        statement: DfStatement,
    ) -> Result<Outcome, SqlError> {
        streams::refuse_drop(query, &statement)?;
        if let Some(insertion) = insert::insertion(query, &statement) {
            return insertion.execute(query).await;
        }
        if let Some(change) = indexes::change_of(query, &statement) {
            return change.execute(query).await;
        }
        if let Some(name) = indexes::truncated(query, &statement) {
            return Err(SqlError::Statement(format!(
                "'{name}' is an index; DELETE FROM {name} empties it"
            )));
        }
        if let Some(copy) = to_sink::copy_of(&statement)? {
            return copy.execute(query).await;
        }
        let plan = planning::plan(query, statement).await?;
        let context = match changes_session(&plan) {
            true => &self.connection.context,
            false => &query.context,
        };
        Ok(Outcome::Rows(context.execute_logical_plan(plan).await?))
    }

    /// The connection as one query sees it.
    fn of_query(&self, cancel: CancelToken) -> Connection {
        let mut state = self.connection.context.state();
        let scope = QueryScope { cancel, progress: self.progress.get() };
        state.config_mut().options_mut().extensions.insert(scope);
        let context = SessionContext::new_with_state(state);
        open_files(&context, &self.catalogues);
        Connection { context, ..self.connection.clone() }
    }

    /// Sets an option of the pipelines that are planned from now on, as `SET stream.key` does.
    ///
    /// # Errors
    /// [`SqlError::Statement`] for an unknown option or a value that it can't have.
    pub fn set_stream_option(&self, key: &str, value: &str) -> Result<(), SqlError> {
        let state = self.context().state_ref();
        let mut state = state.write();
        let key = format!("{}.{key}", StreamSettings::PREFIX);
        Ok(state.config_mut().options_mut().set(&key, value)?)
    }

    /// The DataFusion context.
    pub fn context(&self) -> &SessionContext {
        &self.connection.context
    }

    /// The token of the session. Setting it stops all queries that [`Session::execute`] has begun,
    /// at their next batch; [`CancelToken::reset`] makes the session usable again.
    pub fn cancel_token(&self) -> &CancelToken {
        &self.cancel
    }

    /// Sets who listens to the progress of findings, from the next query on.
    pub fn set_progress(&self, progress: Arc<dyn Progress>) {
        self.progress.set(progress);
    }

    /// What was found in files and is no error, for whoever wants to hear of it.
    pub fn notices(&self) -> &Notices {
        &self.reading.notices
    }

    /// The models.
    pub fn models(&self) -> &Arc<Models> {
        &self.connection.models
    }

    /// Makes `name` the model that this session uses when none is named.
    ///
    /// # Errors
    /// When the name is not known.
    pub fn set_default_model(&self, name: &str) -> Result<(), SqlError> {
        Ok(self.models().set_default(name)?)
    }
}

/// Whether a plan changes the state of a session, which a query has a copy of.
fn changes_session(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Ddl(ddl) => {
            matches!(ddl, DdlStatement::CreateFunction(_) | DdlStatement::DropFunction(_))
        }
        LogicalPlan::Statement(statement) => {
            matches!(
                statement,
                PlannedStatement::SetVariable(_) | PlannedStatement::ResetVariable(_)
            )
        }
        _ => false,
    }
}

/// The context with our types, our own tables of files and a planner that knows findings and
/// windows.
fn with_our_planning(context: SessionContext) -> SessionContext {
    let id = context.session_id();
    let mut builder = context.into_state_builder();
    let factories = builder.table_factories().get_or_insert_default();
    for word in ExternalFiles::stored_as() {
        factories.insert(word.to_string(), Arc::new(ExternalFiles));
    }
    for word in StoredTables::stored_as() {
        factories.insert(word, Arc::new(StoredTables));
    }
    let state = builder
        .with_session_id(id)
        .with_type_planner(Arc::new(VectorType))
        .with_query_planner(Arc::new(Planner))
        .with_physical_optimizer_rule(Arc::new(KeepOrder))
        .with_physical_optimizer_rule(Arc::new(SlotForEach))
        .build();
    SessionContext::from(state)
}

/// Lets a context open the files that are named in FROM, as its own query.
fn open_files(context: &SessionContext, catalogues: &Arc<dyn CatalogProviderList>) {
    let files = Arc::new(Files::default());
    let named = DynamicFileCatalog::new(Arc::clone(catalogues), Arc::clone(&files) as _);
    context.register_catalog_list(Arc::new(named));
    files.set_session(context);
}
