//! Every operation of the outside world fails once: before it does anything, after it has done it,
//! or with the death of the process.

use std::sync::atomic::{AtomicI64, Ordering};

use sembla_runtime::Error;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The operation isn't done.
    Before,
    /// It is done, but the answer is lost.
    After,
    /// It is not done, and nothing works any more.
    Death,
    /// It is done, and nothing works any more.
    DeathAfter,
}

/// Operations of several folders, one of which fails.
struct Plan {
    fault: Fault,
    /// Operations before the one that fails.
    left: AtomicI64,
}

impl Plan {
    /// Whether the operation is done, and whether it says so.
    fn next(&self) -> (bool, bool) {
        let left = self.left.fetch_sub(1, Ordering::Relaxed);
        match self.fault {
            _ if left > 0 => (true, true),
            Fault::Before => (left < 0, left < 0),
            Fault::After => (true, left < 0),
            Fault::Death => (false, false),
            Fault::DeathAfter => (left == 0, false),
        }
    }
}

struct FaultyFolder {
    inner: Arc<dyn Folder>,
    plan: Arc<Plan>,
}

impl FaultyFolder {
    async fn run<T>(&self, operation: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let (is_done, is_said) = self.plan.next();
        let result = if is_done { Some(operation.await?) } else { None };
        let result = result.filter(|_| is_said);
        result.ok_or_else(|| Error::Transient("the network is gone".into()))
    }
}

#[async_trait]
impl Folder for FaultyFolder {
    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.run(self.inner.put(path, bytes)).await
    }
    async fn put_new(&self, path: &str, bytes: Bytes) -> Result<bool> {
        self.run(self.inner.put_new(path, bytes)).await
    }
    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        self.run(self.inner.get(path)).await
    }
    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        self.run(self.inner.list(folder)).await
    }
    async fn has(&self, path: &str) -> Result<bool> {
        self.run(self.inner.has(path)).await
    }
    async fn delete(&self, path: &str) -> Result<()> {
        self.run(self.inner.delete(path)).await
    }
    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.run(self.inner.rename(from, to)).await
    }
    fn shown(&self, path: &str) -> String {
        self.inner.shown(path)
    }
}

/// A run that is started again after each error, as the runtime does; a commit or write whose error
/// is transient is repeated once before. Says whether the fault was reached.
async fn run_with(fault: Fault, nth: i64, given: &[(&str, &str)]) -> bool {
    let folders = memory();
    let plan = Arc::new(Plan { fault, left: AtomicI64::new(nth) });
    let faulty = folders.each_ref().map(|inner| {
        Arc::new(FaultyFolder { inner: Arc::clone(inner), plan: Arc::clone(&plan) })
            as Arc<dyn Folder>
    });
    let mut sink = sink_over(&faulty, given);
    let mut is_done = false;
    for attempt in 0..4 {
        // Only the first attempt may live on after an error; a dead process is another one.
        if attempt > 0 && matches!(fault, Fault::Death | Fault::DeathAfter) {
            sink = sink_over(&folders, given);
        }
        match run(&mut sink).await {
            Ok(()) => {
                is_done = true;
                break;
            }
            Err(error) => {
                assert!(error.is_transient() || error.is_fenced(), "{fault:?} at {nth}: {error}")
            }
        }
    }
    assert!(is_done, "{fault:?} at {nth}");
    check(&folders, &format!("{fault:?} at operation {nth}")).await;
    plan.left.load(Ordering::Relaxed) < 0
}

async fn every_operation(given: &[(&str, &str)]) {
    for fault in [Fault::Before, Fault::After, Fault::Death, Fault::DeathAfter] {
        let mut nth = 0;
        while run_with(fault, nth, given).await {
            nth += 1;
        }
        assert!(nth > 40, "{nth} operations are few");
    }
}

#[tokio::test]
async fn each_row_once_whatever_fails() {
    every_operation(&[]).await;
}

#[tokio::test]
async fn each_row_once_with_many_small_files() {
    every_operation(&[("roll_bytes", "1"), ("partition_by", "day")]).await;
}

#[tokio::test]
async fn a_write_that_could_not_put_is_not_repeated() {
    let folders = memory();
    let plan = Arc::new(Plan { fault: Fault::Before, left: AtomicI64::new(i64::MAX) });
    let faulty = folders.each_ref().map(|inner| {
        Arc::new(FaultyFolder { inner: Arc::clone(inner), plan: Arc::clone(&plan) })
            as Arc<dyn Folder>
    });
    let mut sink = sink_over(&faulty, &[("roll_bytes", "1"), ("buffer_bytes", "100")]);
    sink.recover("p", &whole()).await.expect("a start");
    plan.left.store(0, Ordering::Relaxed);
    sink.write(Output::Rows(&rows(0, 1))).await.expect("the row waits in memory");
    sink.write(Output::Rows(&rows(1, 1))).await.expect("a row");
    sink.commit(&progress(2)).await.expect("a commit");
    assert_eq!(published(&folders[0], "id").await, [0, 1]);
    // More can't wait than the buffer holds.
    let dead = Arc::new(Plan { fault: Fault::Death, left: AtomicI64::new(0) });
    for area in &mut sink.areas {
        let inner = Arc::clone(&area.folder);
        area.folder = Arc::new(FaultyFolder { inner, plan: Arc::clone(&dead) });
    }
    sink.write(Output::Rows(&rows(2, 1))).await.expect("the row waits in memory");
    let error = sink.write(Output::Rows(&rows(3, 100))).await.expect_err("too much waits");
    assert!(error.is_fenced(), "{error}");
}
