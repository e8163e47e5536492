//! Arithmetic of single vectors that losses share: cosines, distances, unit vectors, with their way
//! back. Sums are taken in 64 bits.

/// A vector that is shorter than this counts as this long.
const LENGTH_MIN: f64 = 1e-12;

/// The dot product.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// A cosine, with what its gradient needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cosine {
    pub(super) value: f64,
    lengths: (f64, f64),
}

impl Cosine {
    pub(super) fn of(a: &[f32], b: &[f32]) -> Self {
        let lengths = (dot(a, a).sqrt().max(LENGTH_MIN), dot(b, b).sqrt().max(LENGTH_MIN));
        Self { value: dot(a, b) / (lengths.0 * lengths.1), lengths }
    }

    /// Adds `slope` times the gradient of the cosine to those of its vectors.
    pub(super) fn back(
        &self,
        slope: f64,
        (a, b): (&[f32], &[f32]),
        (to_a, to_b): (&mut [f32], &mut [f32]),
    ) {
        let (first, second) = self.lengths;
        let across = slope / (first * second);
        let (own_a, own_b) =
            (slope * self.value / (first * first), slope * self.value / (second * second));
        for i in 0..a.len() {
            let (x, y) = (f64::from(a[i]), f64::from(b[i]));
            to_a[i] += (across * y - own_a * x) as f32;
            to_b[i] += (across * x - own_b * y) as f32;
        }
    }
}

/// The distance in a straight line.
pub(super) fn distance(a: &[f32], b: &[f32]) -> f64 {
    let square = |(a, b): (&f32, &f32)| {
        let d = f64::from(*a) - f64::from(*b);
        d * d
    };
    a.iter().zip(b).map(square).sum::<f64>().sqrt()
}

/// Adds `slope` times the gradient of the distance `d` to those of its vectors. Equal vectors have
/// none.
pub(super) fn distance_back(
    slope: f64,
    d: f64,
    (a, b): (&[f32], &[f32]),
    (to_a, to_b): (&mut [f32], &mut [f32]),
) {
    if d == 0.0 {
        return;
    }
    for i in 0..a.len() {
        let step = (slope * (f64::from(a[i]) - f64::from(b[i])) / d) as f32;
        to_a[i] += step;
        to_b[i] -= step;
    }
}

/// Each row divided by its length, and the lengths.
pub(super) fn unit_rows(values: &[f32], width: usize) -> (Vec<f32>, Vec<f64>) {
    let (mut rows, mut lengths) = (Vec::with_capacity(values.len()), Vec::new());
    for row in values.chunks_exact(width) {
        let length = dot(row, row).sqrt().max(LENGTH_MIN);
        rows.extend(row.iter().map(|value| (f64::from(*value) / length) as f32));
        lengths.push(length);
    }
    (rows, lengths)
}

/// Adds the gradient of rows to `out`, given that of their unit vectors `units`.
pub(super) fn unit_rows_back(
    units: &[f32],
    lengths: &[f64],
    gradient: &[f32],
    width: usize,
    out: &mut [f32],
) {
    let rows = units.chunks_exact(width).zip(gradient.chunks_exact(width)).zip(lengths);
    for (((unit, gradient), length), out) in rows.zip(out.chunks_exact_mut(width)) {
        let along = dot(unit, gradient);
        for i in 0..width {
            out[i] += ((f64::from(gradient[i]) - along * f64::from(unit[i])) / length) as f32;
        }
    }
}

/// Adds a multiple of a row to another.
pub(super) fn add(to: &mut [f32], from: &[f32], factor: f32) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += factor * from);
}

/// Row number `row` of some vectors.
pub(super) fn row(values: &[f32], width: usize, row: usize) -> &[f32] {
    &values[row * width..(row + 1) * width]
}

/// The same, to be changed.
pub(super) fn row_mut(values: &mut [f32], width: usize, row: usize) -> &mut [f32] {
    &mut values[row * width..(row + 1) * width]
}

/// Row `row` of two columns of gradients at once.
pub(super) fn two_rows(
    columns: &mut [Vec<f32>],
    (first, second): (usize, usize),
    width: usize,
    row: usize,
) -> (&mut [f32], &mut [f32]) {
    let (left, right) = columns.split_at_mut(second);
    (row_mut(&mut left[first], width, row), row_mut(&mut right[0], width, row))
}
