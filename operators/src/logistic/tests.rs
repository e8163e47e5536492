//! Fits beside scikit-learn's, and beside a plain gradient.

use super::kernel::Problem;
use super::*;
use crate::Unbounded;
use crate::host::tests::Limited;
use crate::similarity::tests::random_vector;

const DIMENSION: usize = 5;

/// Sixty rows around a centre for each class.
fn rows(classes: usize) -> (Vec<f32>, Vec<u32>) {
    let centres = random_vector(classes * DIMENSION, 8);
    let mut vectors = random_vector(60 * DIMENSION, 7);
    let labels: Vec<u32> = (0..60).map(|row| (row % classes) as u32).collect();
    for (vector, label) in vectors.chunks_exact_mut(DIMENSION).zip(&labels) {
        let centre = &centres[*label as usize * DIMENSION..][..DIMENSION];
        vector.iter_mut().zip(centre).for_each(|(x, centre)| *x += 0.5 * centre);
    }
    (vectors, labels)
}

fn fitted(classes: usize, l2: f64) -> Logistic {
    let (vectors, labels) = rows(classes);
    let options = LogisticOptions { l2, tolerance: 1e-7, ..LogisticOptions::default() };
    let found = fit(&vectors, DIMENSION, &labels, classes, &options, &Unbounded).expect("fits");
    assert!(found.converged && found.steps > 3, "{found:?}");
    found
}

fn near(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} is not {expected}");
    }
}

/// `LogisticRegression(C=1 / l2, tol=1e-10).fit(x, y)` of scikit-learn 1.9 on the same rows.
#[test]
fn weights_are_those_of_scikit_learn() {
    let three = fitted(3, 1.0);
    near(
        &three.weights,
        &[
            1.234988, -0.345045, -0.253171, 0.181497, -0.044873, -0.945491, 0.127222, 0.673965,
            -0.833523, 0.304708, -0.289497, 0.217823, -0.420794, 0.652026, -0.259835,
        ],
    );
    near(&three.biases, &[0.218715, -0.45269, 0.233975]);
    // Of two classes there is one row, the difference of ours.
    let two = fitted(2, 2.0);
    let row: Vec<f32> =
        (0..DIMENSION).map(|i| two.weights[DIMENSION + i] - two.weights[i]).collect();
    near(&row, &[-1.777962, 0.091186, 1.106267, -0.560748, 0.727701]);
    near(&[two.biases[1] - two.biases[0]], &[-0.547728]);
}

#[test]
fn predictions_are_those_of_scikit_learn() {
    for (classes, l2, right) in [(3, 1.0, 39), (2, 2.0, 56)] {
        let found = fitted(classes, l2);
        let (vectors, labels) = rows(classes);
        let vectors = vectors.chunks_exact(DIMENSION);
        let hits = vectors.zip(labels).filter(|(vector, label)| found.predict(vector) == *label);
        assert_eq!(hits.count(), right, "of {classes}");
    }
}

/// More rows than a block, more classes than a tile, sizes that no group divides.
#[test]
fn the_gradient_is_the_slope_of_the_value() {
    let (count, dimension, classes) = (1_100, 7, 19);
    let vectors = random_vector(count * dimension, 3);
    let labels: Vec<u32> = (0..count).map(|row| (row * row % classes) as u32).collect();
    let problem = Problem::new(&vectors, dimension, &labels, classes, 3.0);
    let stride = problem.parameters() / (dimension + 1);
    let mut at: Vec<f64> =
        random_vector(problem.parameters(), 4).iter().map(|x| f64::from(*x)).collect();
    at.chunks_exact_mut(stride).for_each(|row| row[classes..].fill(0.0));
    let mut gradient = vec![0.0; at.len()];
    problem.value(&at, &mut gradient, &Unbounded).expect("a value");
    let mut unused = gradient.clone();
    for place in [0, 5, stride + 18, 3 * stride + 16, 6 * stride, 7 * stride, 7 * stride + 18] {
        let mut moved = at.clone();
        moved[place] += 1e-2;
        let above = problem.value(&moved, &mut unused, &Unbounded).expect("a value");
        moved[place] -= 2e-2;
        let below = problem.value(&moved, &mut unused, &Unbounded).expect("a value");
        let slope = (above - below) / 2e-2;
        assert!((slope - gradient[place]).abs() < 2e-5, "{place}: {slope}, {}", gradient[place]);
    }
    assert!(gradient.chunks_exact(stride).all(|row| row[classes..].iter().all(|x| *x == 0.0)));
}

#[test]
fn the_number_of_threads_never_shows() {
    let (count, dimension, classes) = (2_100, 33, 5);
    let vectors = random_vector(count * dimension, 5);
    let labels: Vec<u32> = (0..count).map(|row| (row % classes) as u32).collect();
    let fit = || {
        let options = LogisticOptions { steps_max: 12, ..LogisticOptions::default() };
        fit(&vectors, dimension, &labels, classes, &options, &Unbounded).expect("fits")
    };
    let of = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads").install(fit)
    };
    assert_eq!(of(1), of(7));
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let (vectors, labels) = rows(2);
    let with = |vectors: &[f32], labels: &[u32], classes, options: LogisticOptions| {
        let error = fit(vectors, DIMENSION, labels, classes, &options, &Unbounded);
        error.expect_err("refused").to_string()
    };
    let usual = LogisticOptions::default();
    let message = with(&vectors, &labels, 2, LogisticOptions { l2: 0.0, ..usual });
    assert!(message.contains("must be a positive number, got 0"), "{message}");
    assert!(with(&vectors, &labels, 1, usual).contains("takes 2 to 10000 labels, got 1"));
    assert!(with(&vectors, &labels, 3, usual).contains("class 2 has no row"));
    assert!(with(&vectors, &[2; 60], 2, usual).contains("class 2 is not one of 2"));
    assert!(with(&vectors, &labels[1..], 2, usual).contains("do not go with"));
    let mut broken = vectors.clone();
    broken[7] = f32::NAN;
    assert!(with(&broken, &labels, 2, usual).contains("NaN or infinite"));
    let little = Limited { limit: 100, ..Limited::default() };
    let error = fit(&vectors, DIMENSION, &labels, 2, &usual, &little).expect_err("refused");
    assert!(matches!(error, OperatorError::Memory(_)));
    let ended = Limited { limit: usize::MAX, cancelled: true, ..Limited::default() };
    let error = fit(&vectors, DIMENSION, &labels, 2, &usual, &ended).expect_err("refused");
    assert_eq!(error, OperatorError::Cancelled);
}
