//! Names of columns that nobody has named: a call of one of our functions keeps the name that was
//! written.
//!
//! DataFusion names a column after its own form of the expression, in which `embed('a')` is
//! `embed(Utf8("a"),NULL,Utf8("query"))`.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, SelectItem, SetExpr, Statement as SqlStatement, Visit, Visitor,
};

use crate::engine::ParameterNames;

/// Characters of a name; what is longer is cut.
const NAME_CHARACTERS_MAX: usize = 60;

/// Names the columns of a query's result that call one of these functions.
pub(crate) fn name_calls(statement: &mut DfStatement, functions: &ParameterNames) {
    let DfStatement::Statement(statement) = statement else { return };
    let SqlStatement::Query(query) = statement.as_mut() else { return };
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let mut taken = HashSet::new();
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        if matches!(expr, Expr::Identifier(_)) || !calls_one_of(expr, functions) {
            continue;
        }
        let name = shortened(&expr.to_string());
        // Two that would have one name keep those that tell them apart.
        if taken.insert(name.clone()) {
            let alias = Ident::with_quote('"', name);
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}

fn calls_one_of(expr: &Expr, functions: &ParameterNames) -> bool {
    struct Calls<'a>(&'a ParameterNames);
    impl Visitor for Calls<'_> {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(function)
                    if self.0.contains_key(&function.name.to_string().to_lowercase()) =>
                {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expr.visit(&mut Calls(functions)).is_break()
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(NAME_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_string(),
    }
}
