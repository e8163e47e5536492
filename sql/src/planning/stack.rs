//! Where statements are planned: on a thread of their own, with a stack for deep ones.
//!
//! Planning goes down into a statement and into the plan that comes of it, and can take long. On a
//! thread of its own it overflows nothing that is within the limits of `statement::limits`, and who
//! waits for it can stop waiting: a query that is dropped leaves the thread to end by itself.

use std::sync::Arc;
use std::thread;

use datafusion::dataframe::DataFrame;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::unwound::unwound;
use crate::SqlError;

/// Addresses of the stack; memory is used only as deep as a statement goes.
const STACK_BYTES: usize = 1 << 29;

/// Runs work to its end on a deep stack. Dropped, it goes on by itself, and its result is lost.
///
/// # Errors
/// When the system gives no thread, or the work panicked.
pub(crate) async fn on_deep_stack<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, SqlError> {
    let (done, result) = oneshot::channel();
    let runtime = Handle::current();
    let work = Box::pin(work);
    let thread = builder().spawn(move || {
        // Nobody waits any more, perhaps.
        let _ = done.send(runtime.block_on(work));
    });
    thread.map_err(|error| no_thread(&error))?;
    result.await.map_err(|_| SqlError::Bug("planning ended without a result".into()))
}

/// The same for work that doesn't wait for anything.
///
/// # Errors
/// When the system gives no thread, or the work panicked.
pub(crate) fn deeply<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, SqlError> {
    thread::scope(|scope| {
        let thread = builder().spawn_scoped(scope, work);
        let thread = thread.map_err(|error| no_thread(&error))?;
        thread.join().map_err(|_| SqlError::Bug("reading the statement ended early".into()))
    })
}

/// The physical plan of a query, made on a deep stack.
///
/// # Errors
/// What planning says.
pub async fn physical(frame: DataFrame) -> Result<Arc<dyn ExecutionPlan>, SqlError> {
    Ok(on_deep_stack(async move { frame.create_physical_plan().await }).await??)
}

/// Plans a query and runs it: its rows as they come.
///
/// # Errors
/// What planning says; the stream gives what running says.
pub async fn stream(frame: DataFrame) -> Result<SendableRecordBatchStream, SqlError> {
    let context = Arc::new(frame.task_ctx());
    run(physical(frame).await?, context)
}

/// Runs a plan: its rows as they come. A panic of the engine is an error of the query.
///
/// # Errors
/// What the plan says as it begins; the stream gives what running says.
pub fn run(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
) -> Result<SendableRecordBatchStream, SqlError> {
    Ok(unwound(execute_stream(plan, context)?))
}

fn builder() -> thread::Builder {
    thread::Builder::new().name("sembla-plan".into()).stack_size(STACK_BYTES)
}

fn no_thread(error: &std::io::Error) -> SqlError {
    SqlError::Resources(format!("no thread could be started for planning: {error}"))
}
