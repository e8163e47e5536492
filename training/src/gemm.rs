//! Products of matrices of f32, on all cores.
//!
//! The product itself is the crate `matrixmultiply`'s. Of the crates for it, that one was as fast
//! as `gemm` 0.18 and 0.19 here (60 to 100 Gop/s on a core of Zen 4 in the shapes of a transformer,
//! where the peak is 108), and was compiled in already. Each value of a product is summed in one
//! order that depends on the inner size alone, so that how rows are split over threads, and how
//! many there are, changes no bit.

use rayon::prelude::*;

/// Pieces per thread: some more than one, so that a thread that is held up does not hold up all.
const PIECES_PER_THREAD: usize = 2;

/// Rows that the kernel takes at once; pieces are cut at multiples.
const KERNEL_ROWS: usize = 8;

/// Products of fewer multiplications stay on one thread.
const PARALLEL_FROM: usize = 1 << 18;

/// A matrix somewhere in a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// A matrix that fills a slice, row after row.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "a matrix of {rows} × {columns}");
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The same matrix with rows for columns.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Writes `a · b` into `out` (`a.rows × b.columns`), or adds it.
pub(crate) fn multiply(a: View<'_>, b: View<'_>, out: &mut [f32], add: bool) {
    let (rows, inner, columns) = (a.rows, a.columns, b.columns);
    assert_eq!(inner, b.rows, "the inner sizes of a product");
    assert_eq!(out.len(), rows * columns, "the size of a product");
    if rows == 0 || columns == 0 {
        return;
    }
    let threads = rayon::current_num_threads();
    let piece = if threads == 1 || rows * inner * columns < PARALLEL_FROM {
        rows
    } else {
        rows.div_ceil(threads * PIECES_PER_THREAD).next_multiple_of(KERNEL_ROWS)
    };
    let one = |(number, out): (usize, &mut [f32])| {
        let first = number * piece;
        let beta = if add { 1.0 } else { 0.0 };
        // SAFETY: the assertions above and those of `View::new` keep every access inside the three
        // slices: the piece has the rows `first..first + out.len() / columns` of `a`, all of `b`,
        // and the whole of its own `out`.
        unsafe {
            matrixmultiply::sgemm(
                out.len() / columns,
                inner,
                columns,
                1.0,
                a.data.as_ptr().wrapping_add(first * a.row_stride),
                a.row_stride as isize,
                a.column_stride as isize,
                b.data.as_ptr(),
                b.row_stride as isize,
                b.column_stride as isize,
                beta,
                out.as_mut_ptr(),
                columns as isize,
                1,
            );
        }
    };
    if piece >= rows {
        one((0, out));
    } else {
        out.par_chunks_mut(piece * columns).enumerate().for_each(one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn plain(a: View<'_>, b: View<'_>) -> Vec<f32> {
        let at = |m: &View<'_>, r: usize, c: usize| m.data[r * m.row_stride + c * m.column_stride];
        let mut out = Vec::new();
        for row in 0..a.rows {
            for column in 0..b.columns {
                let sum: f64 = (0..a.columns)
                    .map(|k| f64::from(at(&a, row, k)) * f64::from(at(&b, k, column)))
                    .sum();
                out.push(sum as f32);
            }
        }
        out
    }

    fn in_threads(threads: usize, work: impl FnOnce() + Send) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(work);
    }

    #[test]
    fn products_are_right_and_the_same_bits_on_any_number_of_threads() {
        let mut random = Random::new(1);
        for (m, k, n) in [(1, 1, 1), (7, 33, 5), (130, 300, 70), (65, 600, 96)] {
            let left: Vec<f32> = (0..m * k).map(|_| random.normal()).collect();
            let right: Vec<f32> = (0..k * n).map(|_| random.normal()).collect();
            let forms = [
                (View::new(&left, m, k), View::new(&right, k, n)),
                (View::new(&left, m, k), View::new(&right, n, k).transposed()),
                (View::new(&left, k, m).transposed(), View::new(&right, k, n)),
            ];
            for (a, b) in forms {
                let want = plain(a, b);
                let mut once = vec![1.0; m * n];
                in_threads(1, || multiply(a, b, &mut once, false));
                for (value, want) in once.iter().zip(&want) {
                    assert!((value - want).abs() < 1e-3, "{value} for {want}");
                }
                for threads in [2, 3, 8] {
                    let mut again = vec![0.0; m * n];
                    in_threads(threads, || multiply(a, b, &mut again, false));
                    assert_eq!(once, again, "{m} × {k} × {n} on {threads} threads");
                }
                let mut twice = once.clone();
                multiply(a, b, &mut twice, true);
                for (twice, once) in twice.iter().zip(&once) {
                    assert!((twice - 2.0 * once).abs() < 1e-3);
                }
            }
        }
    }
}
