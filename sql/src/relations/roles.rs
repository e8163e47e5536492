//! The roles that columns of an input play in a finding, as expressions of that input.

use arrow::datatypes::{DataType, Field, FieldRef};

use crate::columns::provenance::Metadata;

/// What stands for each role: an expression of a plan, a physical expression, or a type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Roles<T> {
    /// What names a row; `None` numbers the rows from 0.
    pub(crate) id: Option<T>,
    /// The text, where the finding uses it apart from its vector.
    pub(crate) text: Option<T>,
    /// The vector; where it is `embed(text)`, collecting the input runs the model.
    pub(crate) vector: Option<T>,
    /// What `partition_by` names.
    pub(crate) groups: Vec<T>,
    /// Columns that own options of the finding name, by option.
    pub(crate) extras: Vec<(&'static str, T)>,
}

impl<T> Roles<T> {
    /// Everything that stands for a role, in a fixed order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        let single = [&self.id, &self.text, &self.vector].into_iter().flatten();
        single.chain(&self.groups).chain(self.extras.iter().map(|(_, extra)| extra))
    }

    /// The same roles with something else in each, in the order of [`Roles::all`].
    ///
    /// # Errors
    /// Those of `change`.
    pub(crate) fn try_map<U, E>(
        &self,
        mut change: impl FnMut(&T) -> Result<U, E>,
    ) -> Result<Roles<U>, E> {
        let mut optional = |role: &Option<T>| role.as_ref().map(&mut change).transpose();
        let (id, text, vector) =
            (optional(&self.id)?, optional(&self.text)?, optional(&self.vector)?);
        let groups = self.groups.iter().map(&mut change).collect::<Result<_, E>>()?;
        let extras = self.extras.iter().map(|(name, extra)| Ok((*name, change(extra)?)));
        let extras = extras.collect::<Result<_, E>>()?;
        Ok(Roles { id, text, vector, groups, extras })
    }
}

/// What is known of an input when a finding is planned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct InputTypes {
    /// The type of each role.
    pub(crate) roles: Roles<DataType>,
    /// What the vectors say of where they come from.
    pub(crate) provenance: Metadata,
    /// The columns that go along.
    pub(crate) carried: Vec<FieldRef>,
}

impl InputTypes {
    /// The type of ids.
    pub(crate) fn id(&self) -> DataType {
        self.roles.id.clone().unwrap_or(DataType::UInt64)
    }

    /// A column of ids.
    pub(crate) fn id_field(&self, name: &str) -> Field {
        Field::new(name, self.id(), false)
    }

    /// The type of what an own option of the finding names.
    pub(crate) fn extra(&self, option: &str) -> Option<&DataType> {
        self.roles.extras.iter().find(|(name, _)| *name == option).map(|(_, extra)| extra)
    }
}

/// A column of results, which must not be NULL.
pub(crate) fn column(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

/// A list of results.
pub(crate) fn list_of(data_type: DataType) -> DataType {
    let item: FieldRef = Field::new_list_field(data_type, true).into();
    DataType::List(item)
}
