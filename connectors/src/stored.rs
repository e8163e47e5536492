//! Tables that lie elsewhere and are read by queries: the traits by which a connector offers them.
//!
//! - *Invariant:* what is read for a filter is at least the rows that meet it. Whoever asks applies
//!   it again, so a store may leave out what it can't tell exactly.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::stream::BoxStream;
use sembla_runtime::Result;

use crate::options::{OptionDef, Options};

/// A connector whose tables can be read.
#[async_trait]
pub trait TableConnector: fmt::Debug + Sync {
    /// Its options.
    fn options(&self) -> Vec<OptionDef>;

    /// Whether an address is one of its tables, wherever an address can stand.
    fn is_address(&self, address: &str) -> bool;

    /// The options that an address stands for.
    ///
    /// # Errors
    /// [`Error::Option`](sembla_runtime::Error::Option) for one that can't be.
    fn of_address(&self, address: &str) -> Result<Vec<(String, String)>>;

    /// Looks at a table: it connects, and reads the columns.
    ///
    /// # Errors
    /// Options that can't be, a table that isn't there, and what the outside world says.
    async fn open(&self, options: &Options) -> Result<Arc<dyn StoredTable>>;
}

/// A table that was found.
#[async_trait]
pub trait StoredTable: fmt::Debug + Send + Sync {
    /// Its columns, all of which may be NULL.
    fn schema(&self) -> SchemaRef;

    /// Whether it can leave out rows that don't meet a condition.
    fn takes(&self, condition: &Condition) -> bool;

    /// The rows that are there now, all as of one moment, in no order. Memory is that of some
    /// thousand rows.
    ///
    /// # Errors
    /// What the outside world says, at once or where the rows end early, and columns that are no
    /// longer there.
    async fn read(&self, wanted: Wanted) -> Result<BoxStream<'static, Result<RecordBatch>>>;
}

/// What is read of a table.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The places of the columns in the schema, in the order in which they are to come.
    pub columns: Vec<usize>,
    /// What rows have to meet; all of it is taken, see [`StoredTable::takes`].
    pub conditions: Vec<Condition>,
    /// How many rows are enough.
    pub limit: Option<usize>,
}

/// A condition on a row. Columns are places in the schema.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// A column and a value.
    Compare(usize, Comparison, Value),
    /// A column is one of some values.
    In(usize, Vec<Value>),
    /// A column is NULL.
    IsNull(usize),
    /// A column is not NULL.
    IsNotNull(usize),
    /// All of them.
    And(Vec<Condition>),
    /// One of them.
    Or(Vec<Condition>),
}

/// How a column is compared with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// As SQL writes it.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// The comparison of the value with the column, for that of the column with the value.
    pub fn turned(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }
}

/// A value that a column is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A text.
    Text(String),
    /// Days since 1970.
    Date(i32),
    /// Microseconds since 1970.
    Timestamp(i64),
}
