//! Looks at what a pipeline will connect to, before it does: topics, files, the sink and where
//! state is kept. Nothing is joined, read to its end, or left behind.

use std::sync::Arc;
use std::time::Duration;

use sembla_connectors::store::{STORE_OPTIONS, check_place};
use sembla_options::Options;
use sembla_runtime::Error;

use super::StreamPlan;
use crate::SqlError;
use crate::catalogue::{SourceDef, source_files};

/// How long a place may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(4);

impl StreamPlan {
    /// What does not answer, or is not there, of everything that the pipeline connects to; each
    /// says what helps. It takes a few seconds at most. Files are opened only with `reads_files`:
    /// that can mean to read through them.
    pub fn problems(
        &self,
        reads_files: bool,
    ) -> impl Future<Output = Vec<SqlError>> + Send + use<> {
        let name = self.name.clone();
        let (sources, sink) = (self.sources.clone(), Arc::clone(&self.sink));
        let schema = self.row_plan.schema().as_arrow().clone();
        let schema = match (&self.window, self.sink.schema()) {
            (_, Some(declared)) => declared.as_ref().clone(),
            (Some(window), None) => window.above.schema().as_arrow().clone(),
            (None, None) => schema,
        };
        let kept = self.settings.state.clone();
        let interval = self.settings.options.checkpoint_interval;
        async move {
            let asked = sources.iter().map(|source| of_source(&name, source, reads_files));
            let of_sources = futures::future::join_all(asked);
            let schema = Arc::new(schema);
            let of_sink = sink.problems(&schema, interval, ANSWER_TIME_MAX);
            let of_state = of_state(&kept);
            let (of_sources, of_sink, of_state) = tokio::join!(of_sources, of_sink, of_state);
            of_sources.into_iter().flatten().chain(of_sink).chain(of_state).collect()
        }
    }
}

async fn of_source(pipeline: &str, source: &Arc<SourceDef>, reads_files: bool) -> Vec<SqlError> {
    let files = match source.files() {
        Ok(Some(files)) => files,
        Ok(None) => return source.problems(pipeline, ANSWER_TIME_MAX).await,
        Err(error) => return vec![error],
    };
    if !reads_files {
        return Vec::new();
    }
    let looked = Arc::clone(source);
    let looked = tokio::task::spawn_blocking(move || source_files::check(&looked, &files));
    match tokio::time::timeout(ANSWER_TIME_MAX, looked).await {
        // Files that take long to look through are there.
        Err(_) | Ok(Ok(Ok(()))) => Vec::new(),
        Ok(Err(error)) => vec![SqlError::Bug(error.to_string())],
        Ok(Ok(Err(error))) => match error {
            SqlError::Statement(words) if !words.contains(&format!("'{}'", source.name)) => {
                vec![SqlError::Statement(format!("source '{}': {words}", source.name))]
            }
            other => vec![other],
        },
    }
}

async fn of_state(place: &str) -> Vec<SqlError> {
    let checked = match Options::read("the store of state", STORE_OPTIONS, &[]) {
        Ok(options) => check_place(place, &options, ANSWER_TIME_MAX).await,
        Err(error) => Err(error.into()),
    };
    let named = |error: Error| match SqlError::from(error) {
        SqlError::Io(words) => SqlError::Io(format!("state (--state): {words}")),
        SqlError::Statement(words) => SqlError::Statement(format!("state (--state): {words}")),
        other => other,
    };
    checked.err().map(named).into_iter().collect()
}
