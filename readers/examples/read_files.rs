//! Reads a file, a folder or a glob as one table: types, number of rows, and the first batch.
//!
//! ```text
//! cargo run --release -p sembla-readers --example read_files -- 'logs/**/*.csv'
//! ```

#![expect(clippy::print_stdout, reason = "an example prints what it finds")]

use std::sync::Arc;

use sembla_readers::files::{Surveys, Table, TableOptions, TableRows, list};
use sembla_readers::{Cancel, Result};

fn main() -> Result<()> {
    let name = std::env::args().nth(1);
    let name = name.as_deref().unwrap_or("examples/data/banking77.parquet");

    // A name becomes files, and the files one table whose columns are united by name.
    let cancel = Cancel::never();
    let table =
        Table::open(list(name, None)?, &TableOptions::default(), &Surveys::default(), &cancel)?;
    println!("{name}: {} files, {} rows", table.files.len(), table.rows());
    for field in table.schema.fields() {
        println!("  {} {}", field.name(), field.data_type());
    }

    // Rows come in the order of the files, in Arrow batches.
    let columns = (0..table.schema.fields().len()).collect();
    let mut rows = TableRows::new(Arc::new(table), columns, 0, 1024, cancel);
    if let Some(batch) = rows.next() {
        println!("the first batch has {} rows", batch?.num_rows());
    }
    Ok(())
}
