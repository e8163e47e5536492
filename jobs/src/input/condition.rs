//! `--where`: which rows of the files a command works on, as a condition in SQL over their columns.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::common::{Column, DFSchema};
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlanBuilder};
use sembla_readers::files::Table;
use sembla_sql::{Session, SqlError};

use crate::failure::{Failure, Result};

/// A condition and the columns that it needs.
#[derive(Debug)]
pub(super) struct Condition {
    expr: Expr,
    /// Columns of the files that are read for it alone.
    pub(super) columns: Vec<String>,
}

impl Condition {
    /// Reads a condition over the columns of the files and those of the command's table. `roles`
    /// has the latter, each with the column of the files that it is.
    ///
    /// # Errors
    /// What is no condition, and a column that does not exist.
    pub(super) fn read(
        session: &Session,
        text: &str,
        table: &Table,
        roles: &[(Field, Option<&str>)],
    ) -> Result<Self> {
        let failed = |error: DataFusionError| {
            let error = SqlError::from(error);
            Failure::user(format!("--where {text}: {error}"))
        };
        let of_table = table.schema.fields().iter().map(|field| field.as_ref().clone());
        let is_role = |name: &str| roles.iter().any(|(role, _)| role.name() == name);
        let raw: Vec<Field> = of_table.filter(|field| !is_role(field.name())).collect();
        let known = raw.iter().cloned().chain(roles.iter().map(|(role, _)| role.clone()));
        let schema = Schema::new(known.collect::<Vec<_>>());
        let schema = DFSchema::try_from(schema).map_err(failed)?;
        let expr = session.context().parse_sql_expr(text, &schema).map_err(failed)?;
        let names: Vec<String> =
            expr.column_refs().into_iter().map(|column| column.name.clone()).collect();
        for (role, column) in roles {
            let is_hidden =
                table.schema.index_of(role.name()).is_ok() && *column != Some(role.name().as_str());
            if is_hidden && names.contains(role.name()) {
                return Err(Failure::user(format!(
                    "--where {text}: '{0}' is the command's own column here ({1}), not the column '{0}' of the files; \
                     rename that one",
                    role.name(),
                    column.unwrap_or("row number")
                )));
            }
        }
        match expr.get_type(&schema).map_err(failed)? {
            DataType::Boolean | DataType::Null => {}
            other => {
                return Err(Failure::user(format!(
                    "--where must be a condition such as \"price > 10\", got {text}, which is {other}"
                )));
            }
        }
        let columns = raw.iter().map(|field| field.name().clone());
        let mut columns: Vec<String> = columns.filter(|name| names.contains(name)).collect();
        columns.sort();
        Ok(Self { expr, columns })
    }

    /// The rows of a table that meet the condition, with the first `columns` of its columns.
    ///
    /// # Errors
    /// What the engine says of the plan.
    pub(super) fn view(
        self,
        name: &str,
        table: Arc<dyn TableProvider>,
        columns: usize,
    ) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        let schema = table.schema();
        let shown = schema.fields().iter().take(columns);
        let shown: Vec<Expr> =
            shown.map(|field| Expr::Column(Column::from_name(field.name()))).collect();
        let plan = LogicalPlanBuilder::scan(name, provider_as_source(table), None)?
            .filter(self.expr)?
            .project(shown)?
            .build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}
