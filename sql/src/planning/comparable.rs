//! Whether the vectors of a finding's inputs can be compared, as far as types and metadata say it
//! before a row is read.

use arrow::datatypes::DataType;

use crate::columns::provenance::different;
use crate::relations::declaration::InputDef;
use crate::relations::differ;
use crate::relations::roles::InputTypes;

/// Checks that vectors of different inputs have one dimension and are of one model.
///
/// # Errors
/// What is wrong, in words that name both.
pub(super) fn comparable(inputs: &[InputDef], types: &[Option<InputTypes>]) -> Result<(), String> {
    let given = inputs.iter().zip(types);
    let mut given = given.filter_map(|(input, types)| Some((input.name, types.as_ref()?)));
    let Some(first) = given.find(|(_, types)| types.roles.vector.is_some()) else { return Ok(()) };
    for other in given {
        if let (Some(one), Some(size)) = (dimension(first.1), dimension(other.1))
            && one != size
        {
            return Err(differ((first.0, one), (other.0, size)));
        }
        if let Some((one, another)) = different(&first.1.provenance, &other.1.provenance) {
            return Err(format!(
                "the {} has vectors of {one}, but the {} has those of {another}; use one model for both, with model => '…'",
                first.0, other.0
            ));
        }
    }
    Ok(())
}

/// The number of components that the type of the vectors fixes.
fn dimension(types: &InputTypes) -> Option<usize> {
    match types.roles.vector.as_ref()? {
        DataType::FixedSizeList(_, size) => usize::try_from(*size).ok(),
        _ => None,
    }
}
