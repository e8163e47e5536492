//! Filters of a query as conditions that a store may take.

use arrow::datatypes::Schema;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use sembla_connectors::{Comparison, Condition, Value};

/// The condition that an expression is; `None` for one that has no such form.
pub(super) fn condition(expr: &Expr, schema: &Schema) -> Option<Condition> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And => {
                Some(Condition::And(vec![condition(left, schema)?, condition(right, schema)?]))
            }
            Operator::Or => {
                Some(Condition::Or(vec![condition(left, schema)?, condition(right, schema)?]))
            }
            op => {
                let comparison = comparison(*op)?;
                if let (Some(place), Some(value)) = (column(left, schema), value(right)) {
                    return Some(Condition::Compare(place, comparison, value));
                }
                let (place, value) = (column(right, schema)?, value(left)?);
                Some(Condition::Compare(place, comparison.turned(), value))
            }
        },
        Expr::InList(InList { expr, list, negated: false }) => {
            let values = list.iter().map(value).collect::<Option<Vec<_>>>()?;
            Some(Condition::In(column(expr, schema)?, values))
        }
        Expr::IsNull(expr) => Some(Condition::IsNull(column(expr, schema)?)),
        Expr::IsNotNull(expr) => Some(Condition::IsNotNull(column(expr, schema)?)),
        Expr::Column(_) => {
            let is_true = Value::Bool(true);
            Some(Condition::Compare(column(expr, schema)?, Comparison::Equal, is_true))
        }
        Expr::Not(expr) => {
            let is_false = Value::Bool(false);
            Some(Condition::Compare(column(expr, schema)?, Comparison::Equal, is_false))
        }
        _ => None,
    }
}

fn comparison(op: Operator) -> Option<Comparison> {
    Some(match op {
        Operator::Eq => Comparison::Equal,
        Operator::NotEq => Comparison::NotEqual,
        Operator::Lt => Comparison::Less,
        Operator::LtEq => Comparison::LessOrEqual,
        Operator::Gt => Comparison::Greater,
        Operator::GtEq => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

/// The place of a column.
fn column(expr: &Expr, schema: &Schema) -> Option<usize> {
    match expr {
        Expr::Column(column) => schema.index_of(&column.name).ok(),
        _ => None,
    }
}

/// A literal that isn't NULL.
fn value(expr: &Expr) -> Option<Value> {
    let Expr::Literal(scalar, _) = expr else { return None };
    if let Some(text) = scalar.try_as_str() {
        return text.map(|text| Value::Text(text.to_string()));
    }
    Some(match scalar {
        ScalarValue::Boolean(Some(truth)) => Value::Bool(*truth),
        ScalarValue::Int8(Some(number)) => Value::Int((*number).into()),
        ScalarValue::Int16(Some(number)) => Value::Int((*number).into()),
        ScalarValue::Int32(Some(number)) => Value::Int((*number).into()),
        ScalarValue::Int64(Some(number)) => Value::Int(*number),
        ScalarValue::Date32(Some(days)) => Value::Date(*days),
        ScalarValue::TimestampSecond(Some(time), _) => {
            Value::Timestamp(time.checked_mul(1_000_000)?)
        }
        ScalarValue::TimestampMillisecond(Some(time), _) => {
            Value::Timestamp(time.checked_mul(1_000)?)
        }
        ScalarValue::TimestampMicrosecond(Some(time), _) => Value::Timestamp(*time),
        // A moment between two microseconds is none that a store has.
        ScalarValue::TimestampNanosecond(Some(time), _) if time % 1_000 == 0 => {
            Value::Timestamp(time / 1_000)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use datafusion::prelude::{col, lit};

    use super::*;

    fn of(expr: &Expr) -> Option<Condition> {
        let field = |name, data_type| Field::new(name, data_type, true);
        let columns = vec![
            field("id", DataType::Int64),
            field("lang", DataType::Utf8),
            field("ok", DataType::Boolean),
        ];
        condition(expr, &Schema::new(columns))
    }

    #[test]
    fn simple_filters_are_conditions_whichever_way_they_are_written() {
        let less = Condition::Compare(0, Comparison::Less, Value::Int(3));
        assert_eq!(of(&col("id").lt(lit(3_i64))), Some(less.clone()));
        assert_eq!(of(&lit(3_i32).gt(col("id"))), Some(less.clone()));
        let text = Condition::Compare(1, Comparison::Equal, Value::Text("de".into()));
        let both = col("id").lt(lit(3_i64)).or(col("lang").eq(lit("de")));
        assert_eq!(of(&both), Some(Condition::Or(vec![less, text])));
        let values = vec![Value::Int(1), Value::Int(2)];
        let list = col("id").in_list(vec![lit(1_i64), lit(2_i64)], false);
        assert_eq!(of(&list), Some(Condition::In(0, values)));
        let is_false = Condition::Compare(2, Comparison::Equal, Value::Bool(false));
        assert_eq!(of(&Expr::Not(Box::new(col("ok")))), Some(is_false));
        assert_eq!(of(&col("lang").is_null()), Some(Condition::IsNull(1)));
    }

    #[test]
    fn everything_else_stays_with_the_query() {
        assert_eq!(of(&col("id").lt(lit(3.5))), None);
        assert_eq!(of(&col("id").lt(col("other"))), None);
        assert_eq!(of(&(col("id") + lit(1_i64)).eq(lit(2_i64))), None);
        assert_eq!(of(&col("id").eq(lit(ScalarValue::Int64(None)))), None);
        assert_eq!(of(&col("id").in_list(vec![lit(1_i64)], true)), None);
        let half = col("id").lt(lit(3_i64)).or(col("lang").like(lit("d%")));
        assert_eq!(of(&half), None);
    }
}
