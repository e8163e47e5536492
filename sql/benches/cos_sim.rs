//! `cos_sim` on a column of vectors against DataFusion's own `cosine_distance` on the same column.
//!
//! `cargo bench -p sembla-sql` prints the best of several runs, in one partition.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch};
use arrow::datatypes::{DataType, Field};
use datafusion::functions_nested::cosine_distance::CosineDistance;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::prelude::SessionContext;
use sembla_sql::{Session, SessionOptions};

const ROWS: usize = 100_000;
const DIMENSION: usize = 384;
const RUNS: usize = 7;

/// DataFusion's function under a name that Sembla does not replace.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
struct Theirs(CosineDistance);

impl ScalarUDFImpl for Theirs {
    fn name(&self) -> &str {
        "their_distance"
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> datafusion::error::Result<Vec<DataType>> {
        self.0.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> datafusion::error::Result<DataType> {
        self.0.return_type(types)
    }

    fn invoke_with_args(
        &self,
        args: ScalarFunctionArgs,
    ) -> datafusion::error::Result<ColumnarValue> {
        self.0.invoke_with_args(args)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = SessionOptions { target_partitions: Some(1), ..Default::default() };
    let session = Session::new(options)?;
    let context = session.context();
    // Under another name, since cosine_distance is Sembla's in a session.
    context.register_udf(ScalarUDF::from(Theirs::default()));
    context.register_batch("vectors", vectors()?)?;
    context
        .sql("CREATE TABLE query AS SELECT v AS q FROM vectors LIMIT 1")
        .await?
        .collect()
        .await?;

    let column = [
        ("DataFusion cosine_distance", "SELECT sum(their_distance(v, v)) FROM vectors"),
        ("cos_sim", "SELECT sum(cos_sim(v, v)) FROM vectors"),
    ];
    report("100,000 × 384, column with column", context, column).await?;
    let query = context.sql("SELECT q FROM query").await?.collect().await?;
    let literal = literal(&query)?;
    let theirs = format!("SELECT sum(their_distance(v, {literal})) FROM vectors");
    let ours = format!("SELECT sum(cos_sim(v, {literal})) FROM vectors");
    let column = [("DataFusion cosine_distance", theirs.as_str()), ("cos_sim", ours.as_str())];
    report("100,000 × 384, column with literal", context, column).await
}

async fn report(
    title: &str,
    context: &SessionContext,
    queries: [(&str, &str); 2],
) -> Result<(), Box<dyn std::error::Error>> {
    let mut lines = vec![title.to_string()];
    let mut times = Vec::new();
    for (name, query) in queries {
        let time = best(context, query).await?;
        lines.push(format!("  {name:28} {:9.2} ms", time.as_secs_f64() * 1e3));
        times.push(time.as_secs_f64());
    }
    lines.push(format!("  ratio {:.1}", times[0] / times[1]));
    std::io::Write::write_all(&mut std::io::stdout(), (lines.join("\n") + "\n").as_bytes())?;
    Ok(())
}

async fn best(context: &SessionContext, query: &str) -> datafusion::error::Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let frame = context.sql(query).await?;
        let start = Instant::now();
        black_box(frame.collect().await?);
        best = best.min(start.elapsed());
    }
    Ok(best)
}

/// A literal array of the one vector.
fn literal(batches: &[RecordBatch]) -> Result<String, Box<dyn std::error::Error>> {
    let column = batches.first().ok_or("no rows")?.column(0);
    let column = arrow::array::AsArray::as_fixed_size_list(column).value(0);
    let values = arrow::array::AsArray::as_primitive::<arrow::datatypes::Float32Type>(&column);
    let numbers: Vec<String> = values.values().iter().map(|x| format!("{x:.6}")).collect();
    Ok(format!("arrow_cast([{}], 'FixedSizeList({DIMENSION}, Float32)')", numbers.join(", ")))
}

/// Components in -1..1 from a small generator.
fn vectors() -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..ROWS * DIMENSION).map(|_| next()).collect();
    let item = Arc::new(Field::new_list_field(DataType::Float32, true));
    let array =
        FixedSizeListArray::new(item, DIMENSION as i32, Arc::new(Float32Array::from(values)), None);
    RecordBatch::try_from_iter([("v", Arc::new(array) as ArrayRef)])
}
