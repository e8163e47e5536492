//! L-BFGS: Newton's method with an estimate of the curvature from the last steps (Nocedal and
//! Wright, Numerical Optimization, algorithm 7.4), and a backtracking line search.

use std::collections::VecDeque;

use super::LogisticOptions;
use super::kernel::Problem;
use crate::error::Result;
use crate::host::Host;

/// Steps that the curvature is estimated from.
const HISTORY: usize = 10;

/// The share of the promised decrease that a step must bring.
const DECREASE: f64 = 1e-4;

/// Most halvings of a step.
const HALVINGS_MAX: usize = 30;

/// Where no step along the way brings less, the gradient is as small as f32 can tell, up to this.
const NOISE: f64 = 1e-4;

/// Where the solver ended.
pub(super) struct Minimum {
    pub(super) at: Vec<f64>,
    pub(super) steps: usize,
    pub(super) converged: bool,
}

/// A step and the change of the gradient along it.
struct Curve {
    step: Vec<f64>,
    change: Vec<f64>,
    /// The inverse of the product of the two.
    inverse: f64,
}

/// The memory that [`minimise`] takes.
pub(super) fn bytes(parameters: usize) -> usize {
    (2 * HISTORY + 6) * parameters * size_of::<f64>()
}

/// The minimum of a convex function.
///
/// # Errors
/// [`OperatorError::Cancelled`](crate::OperatorError::Cancelled).
pub(super) fn minimise(
    problem: &Problem<'_>,
    options: &LogisticOptions,
    host: &dyn Host,
) -> Result<Minimum> {
    let mut at = vec![0.0; problem.parameters()];
    let (mut gradient, mut next) = (at.clone(), at.clone());
    let mut value = problem.value(&at, &mut gradient, host)?;
    let mut curves: VecDeque<Curve> = VecDeque::with_capacity(HISTORY);
    let mut steps = 0;
    while steps < options.steps_max && largest(&gradient) > options.tolerance {
        host.progress("fitting the classifier, step", steps as u64, options.steps_max as u64);
        let mut way = direction(&gradient, &curves);
        let mut slope = dot(&way, &gradient);
        if slope >= 0.0 {
            // Rounding has spoilt the estimate: the steepest way is always one down.
            curves.clear();
            way = gradient.iter().map(|slope| -slope).collect();
            slope = -dot(&gradient, &gradient);
        }
        let mut length = if curves.is_empty() { 1.0 / dot(&way, &way).sqrt() } else { 1.0 };
        let mut found = None;
        for _ in 0..HALVINGS_MAX {
            let there: Vec<f64> = at.iter().zip(&way).map(|(at, way)| at + length * way).collect();
            let new = problem.value(&there, &mut next, host)?;
            if new <= value + DECREASE * length * slope {
                found = Some((there, new));
                break;
            }
            length /= 2.0;
        }
        let Some((there, new)) = found else { break };
        let step: Vec<f64> = there.iter().zip(&at).map(|(new, old)| new - old).collect();
        let change: Vec<f64> = next.iter().zip(&gradient).map(|(new, old)| new - old).collect();
        let product = dot(&step, &change);
        if product > f64::EPSILON * dot(&change, &change) {
            if curves.len() == HISTORY {
                curves.pop_front();
            }
            curves.push_back(Curve { step, change, inverse: 1.0 / product });
        }
        std::mem::swap(&mut gradient, &mut next);
        (at, value) = (there, new);
        steps += 1;
    }
    let left = largest(&gradient);
    let is_stuck = steps < options.steps_max && left <= options.tolerance.max(NOISE);
    Ok(Minimum { at, steps, converged: left <= options.tolerance || is_stuck })
}

/// The way down: minus the gradient, by the estimated curvature.
fn direction(gradient: &[f64], curves: &VecDeque<Curve>) -> Vec<f64> {
    let mut way: Vec<f64> = gradient.iter().map(|slope| -slope).collect();
    let mut shares = Vec::with_capacity(curves.len());
    for curve in curves.iter().rev() {
        let share = curve.inverse * dot(&curve.step, &way);
        way.iter_mut().zip(&curve.change).for_each(|(way, change)| *way -= share * change);
        shares.push(share);
    }
    if let Some(last) = curves.back() {
        let scale = 1.0 / (last.inverse * dot(&last.change, &last.change));
        way.iter_mut().for_each(|way| *way *= scale);
    }
    for (curve, share) in curves.iter().zip(shares.into_iter().rev()) {
        let other = curve.inverse * dot(&curve.change, &way);
        way.iter_mut().zip(&curve.step).for_each(|(way, step)| *way += (share - other) * step);
    }
    way
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, value| value.abs().max(largest))
}
