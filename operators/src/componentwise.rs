//! Folding vectors into one, component by component, in f64.

use crate::{DimensionMismatch, same_dimension};

/// Adds a vector to a sum.
///
/// # Errors
/// [`DimensionMismatch`]; the sum is as it was then.
pub fn add<T: Copy + Into<f64>>(sum: &mut [f64], vector: &[T]) -> Result<(), DimensionMismatch> {
    same_dimension(sum, vector)?;
    sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += (*x).into());
    Ok(())
}

/// Keeps the lesser of each pair of components. NaN gives way to any number.
///
/// # Errors
/// [`DimensionMismatch`]; nothing changes then.
pub fn keep_min<T: Copy + Into<f64>>(
    least: &mut [f64],
    vector: &[T],
) -> Result<(), DimensionMismatch> {
    same_dimension(least, vector)?;
    least.iter_mut().zip(vector).for_each(|(least, x)| *least = least.min((*x).into()));
    Ok(())
}

/// Keeps the greater of each pair of components. NaN gives way to any number.
///
/// # Errors
/// [`DimensionMismatch`]; nothing changes then.
pub fn keep_max<T: Copy + Into<f64>>(
    greatest: &mut [f64],
    vector: &[T],
) -> Result<(), DimensionMismatch> {
    same_dimension(greatest, vector)?;
    greatest.iter_mut().zip(vector).for_each(|(most, x)| *most = most.max((*x).into()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fold_takes_component_by_component() {
        let mut folded = [1.0, 2.0, f64::NAN];
        add(&mut folded[..2], &[0.5_f32, -1.0]).expect("equal");
        assert_eq!(folded[..2], [1.5, 1.0]);
        keep_min(&mut folded, &[2.0_f32, -3.0, 1.0]).expect("equal");
        assert_eq!(folded, [1.5, -3.0, 1.0]);
        keep_max(&mut folded, &[9.0_f64, f64::NAN, 0.0]).expect("equal");
        assert_eq!(folded, [9.0, -3.0, 1.0]);
    }

    #[test]
    fn a_mismatch_changes_nothing() {
        let mut folded = [1.0];
        assert!(add(&mut folded, &[1.0_f32, 2.0]).is_err());
        assert!(keep_min(&mut folded, &[0.0_f32; 2]).is_err());
        assert!(keep_max(&mut folded, &[5.0_f32; 2]).is_err());
        assert_eq!(folded, [1.0]);
    }
}
