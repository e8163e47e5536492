//! Multinomial logistic regression on vectors: a linear classifier with a penalty on its weights.
//!
//! What is minimised is what scikit-learn's `LogisticRegression` minimises: the sum of the log
//! losses of all rows and half of `l2` (its `1 / C`) times the squares of the weights; the biases
//! are free. Two classes have one row of weights, as there. The minimum is unique, so two solvers
//! that come near enough agree. `kernel` has the passes over the rows; the solver is L-BFGS.
//!
//! *Invariant:* the result depends on the rows and the options alone, never on threads.

mod kernel;
mod lbfgs;
#[cfg(test)]
mod tests;

use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan};
use kernel::Problem;

/// Most classes.
pub const CLASSES_MAX: usize = 10_000;

/// What a fit is asked for.
#[derive(Clone, Copy, Debug)]
pub struct LogisticOptions {
    /// How strongly large weights are penalised, > 0: scikit-learn's `1 / C`.
    pub l2: f64,
    /// Most steps of the solver.
    pub steps_max: usize,
    /// The fit ends when no component of the gradient of the mean loss is larger.
    pub tolerance: f64,
}

impl Default for LogisticOptions {
    fn default() -> Self {
        Self { l2: 1.0, steps_max: 1000, tolerance: 1e-6 }
    }
}

/// A fitted classifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Logistic {
    /// Components of a vector.
    pub dimension: usize,
    /// `classes × dimension` weights.
    pub weights: Vec<f32>,
    /// A number for each class that is added to its product.
    pub biases: Vec<f32>,
    /// Steps that the solver took.
    pub steps: usize,
    /// Whether the solver came as near as the tolerance asks.
    pub converged: bool,
}

impl Logistic {
    /// The class of a vector: that of the largest score, the first of equally large ones.
    pub fn predict(&self, vector: &[f32]) -> u32 {
        let rows = self.weights.chunks_exact(self.dimension.max(1)).zip(&self.biases);
        let score =
            |(weights, bias): (&[f32], &f32)| crate::lanes::dot(weights, vector) + f64::from(*bias);
        let mut best = (0, f64::NEG_INFINITY);
        for (class, row) in rows.enumerate() {
            let score = score(row);
            if score > best.1 {
                best = (class as u32, score);
            }
        }
        best.0
    }
}

/// Fits a classifier to `vectors`, of `dimension` components each, one after another, and the class
/// of each, a number below `classes`.
///
/// Takes some hundred passes over the vectors, each 4 × rows × dimension × classes operations, on
/// all cores. Memory beside the input: some twenty times the weights, in f64, and the scores of a
/// thousand rows.
///
/// # Errors
/// [`OperatorError::Option`] for a penalty or tolerance that is no positive number,
/// [`OperatorError::Data`] for lengths that don't fit, fewer than two classes, a class without
/// rows, and components that are no numbers; [`OperatorError::Cancelled`], and what the host says
/// of memory.
pub fn fit(
    vectors: &[f32],
    dimension: usize,
    classes_of_rows: &[u32],
    classes: usize,
    options: &LogisticOptions,
    host: &dyn Host,
) -> Result<Logistic> {
    check(vectors, dimension, classes_of_rows, classes, options)?;
    let problem = Problem::new(vectors, dimension, classes_of_rows, classes, options.l2);
    let _loan = Loan::new(host, problem.bytes() + lbfgs::bytes(problem.parameters()))?;
    let found = lbfgs::minimise(&problem, options, host)?;
    let (weights, biases) = problem.unpack(&found.at);
    Ok(Logistic { dimension, weights, biases, steps: found.steps, converged: found.converged })
}

fn check(
    vectors: &[f32],
    dimension: usize,
    classes_of_rows: &[u32],
    classes: usize,
    options: &LogisticOptions,
) -> Result<()> {
    let is_positive = |value: f64| value.is_finite() && value > 0.0;
    if !is_positive(options.l2) || !is_positive(options.tolerance) {
        return Err(OperatorError::Option(format!(
            "the L2 penalty must be a positive number, got {}",
            options.l2
        )));
    }
    let data = |problem: String| Err(OperatorError::Data(problem));
    if dimension == 0 || vectors.len() != dimension * classes_of_rows.len() {
        return data(format!(
            "{} labels do not go with {} components of vectors of {dimension}",
            classes_of_rows.len(),
            vectors.len()
        ));
    }
    if !(2..=CLASSES_MAX).contains(&classes) {
        return data(format!("a classifier takes 2 to {CLASSES_MAX} labels, got {classes}"));
    }
    let mut counts = vec![0_u64; classes];
    for class in classes_of_rows {
        match counts.get_mut(*class as usize) {
            Some(count) => *count += 1,
            None => return data(format!("class {class} is not one of {classes}")),
        }
    }
    if let Some(empty) = counts.iter().position(|count| *count == 0) {
        return data(format!("class {empty} has no row"));
    }
    if vectors.iter().any(|value| !value.is_finite()) {
        return data("a vector has a component that is NaN or infinite".into());
    }
    Ok(())
}
