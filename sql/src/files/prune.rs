//! Which files a query needs, by what their folders say.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::Schema;
use datafusion::catalog::Session;
use datafusion::common::ToDFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use sembla_readers::files::Table;

/// The files whose rows can pass filters that look at nothing but folders; all where there are
/// none.
///
/// # Errors
/// What computing a filter says.
pub(super) fn wanted(table: &Table, session: &dyn Session, filters: &[Expr]) -> Result<Vec<usize>> {
    let mut wanted = vec![true; table.files.len()];
    let fields = table.schema.fields();
    let folders: Vec<_> =
        table.folder_columns.iter().filter_map(|at| fields.get(*at).cloned()).collect();
    let names: HashSet<&str> = folders.iter().map(|field| field.name().as_str()).collect();
    let by_folder = |filter: &&Expr| {
        let columns = filter.column_refs();
        !filter.is_volatile()
            && !columns.is_empty()
            && columns.iter().all(|column| names.contains(column.name.as_str()))
    };
    let filters: Vec<&Expr> = filters.iter().filter(by_folder).collect();
    if !filters.is_empty() && !table.files.is_empty() {
        let mut columns = Vec::with_capacity(folders.len());
        for at in 0..folders.len() {
            let values = table.files.iter().filter_map(|file| file.folder_values.get(at));
            let values: Vec<&dyn Array> = values.map(|value| value.as_ref()).collect();
            columns.push(concat(&values)?);
        }
        let schema = Arc::new(Schema::new(folders));
        let files = RecordBatch::try_new(Arc::clone(&schema), columns)?;
        let schema = schema.to_dfschema()?;
        for filter in filters {
            let filter = session.create_physical_expr(unqualified(filter.clone())?, &schema)?;
            let passes = filter.evaluate(&files)?.into_array(files.num_rows())?;
            let Some(passes) = passes.as_boolean_opt() else { continue };
            for (wanted, passes) in wanted.iter_mut().zip(passes) {
                *wanted &= passes == Some(true);
            }
        }
    }
    Ok((0..table.files.len()).filter(|at| wanted.get(*at) == Some(&true)).collect())
}

/// The expression with the names of its columns alone.
fn unqualified(filter: Expr) -> Result<Expr> {
    use datafusion::common::Column;
    use datafusion::common::tree_node::{Transformed, TreeNode};

    let bare = filter.transform(|node| {
        Ok(match node {
            Expr::Column(column) => {
                Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(bare.data)
}
