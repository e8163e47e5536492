//! Eigenvalues and eigenvectors of a symmetric matrix, in 64 bits: Householder's reflections make
//! it tridiagonal, and QL steps with implicit shifts diagonal. Takes about 3·n³ steps.

/// QL steps for one eigenvalue; a few are usual.
const STEPS_MAX: usize = 60;

/// The eigenvalues of the symmetric matrix `a` (`n × n`), largest first, and their eigenvectors of
/// length 1, a row each. `None` where it holds what is no number.
pub(crate) fn symmetric(mut a: Vec<f64>, n: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    if a.len() != n * n || a.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let (mut diagonal, mut beside) = (vec![0.0; n], vec![0.0; n]);
    tridiagonal(&mut a, n, &mut diagonal, &mut beside);
    // Rotations mix two columns; in the transpose those are rows, which lie together.
    let mut rows = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..n {
            rows[j * n + i] = a[i * n + j];
        }
    }
    diagonalise(&mut diagonal, &mut beside, &mut rows, n)?;
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|x, y| diagonal[*y].total_cmp(&diagonal[*x]));
    let values = order.iter().map(|i| diagonal[*i]).collect();
    let vectors = order.iter().flat_map(|i| rows[i * n..(i + 1) * n].iter().copied()).collect();
    Some((values, vectors))
}

/// Householder's reduction: `a` becomes the product of the reflections, `d` the diagonal and
/// `e[1..]` what lies beside it.
fn tridiagonal(a: &mut [f64], n: usize, d: &mut [f64], e: &mut [f64]) {
    for i in (1..n).rev() {
        let scale: f64 = a[i * n..i * n + i].iter().map(|value| value.abs()).sum();
        if i == 1 || scale == 0.0 {
            e[i] = a[i * n + i - 1];
            d[i] = 0.0;
            continue;
        }
        d[i] = reflect(a, n, i, scale, e);
    }
    if n > 0 {
        (d[0], e[0]) = (0.0, 0.0);
    }
    for i in 0..n {
        if d[i] != 0.0 {
            let mut sums = vec![0.0; i];
            for k in 0..i {
                let factor = a[i * n + k];
                let row = &a[k * n..k * n + i];
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += factor * value);
            }
            for k in 0..i {
                let factor = a[k * n + i];
                let row = &mut a[k * n..k * n + i];
                row.iter_mut().zip(&sums).for_each(|(value, sum)| *value -= sum * factor);
            }
        }
        d[i] = a[i * n + i];
        a[i * n + i] = 1.0;
        for j in 0..i {
            (a[j * n + i], a[i * n + j]) = (0.0, 0.0);
        }
    }
}

/// One reflection, of row `i`; gives half the square of its vector's length.
fn reflect(a: &mut [f64], n: usize, i: usize, scale: f64, e: &mut [f64]) -> f64 {
    let mut h = 0.0;
    for value in &mut a[i * n..i * n + i] {
        *value /= scale;
        h += *value * *value;
    }
    let f = a[i * n + i - 1];
    let g = -h.sqrt().copysign(f);
    e[i] = scale * g;
    h -= f * g;
    a[i * n + i - 1] = f - g;
    let mut sum = 0.0;
    for j in 0..i {
        a[j * n + i] = a[i * n + j] / h;
        let near: f64 = (0..=j).map(|k| a[j * n + k] * a[i * n + k]).sum();
        let far: f64 = (j + 1..i).map(|k| a[k * n + j] * a[i * n + k]).sum();
        e[j] = (near + far) / h;
        sum += e[j] * a[i * n + j];
    }
    let half = sum / (h + h);
    for j in 0..i {
        let f = a[i * n + j];
        let g = e[j] - half * f;
        e[j] = g;
        for k in 0..=j {
            a[j * n + k] -= f * e[k] + g * a[i * n + k];
        }
    }
    h
}

/// QL with implicit shifts; `rows` gets every rotation.
fn diagonalise(d: &mut [f64], e: &mut [f64], rows: &mut [f64], n: usize) -> Option<()> {
    e.rotate_left(usize::from(n > 0));
    for l in 0..n {
        for step in 0.. {
            let is_small = |m: &usize| {
                let size = d[*m].abs() + d[m + 1].abs();
                e[*m].abs() <= f64::EPSILON * size
            };
            let m = (l..n - 1).find(is_small).unwrap_or(n - 1);
            if m == l {
                break;
            }
            if step == STEPS_MAX {
                return None;
            }
            sweep(d, e, rows, n, l, m);
        }
    }
    Some(())
}

/// One QL step on the block from `l` to `m`.
fn sweep(d: &mut [f64], e: &mut [f64], rows: &mut [f64], n: usize, l: usize, m: usize) {
    let shift = (d[l + 1] - d[l]) / (2.0 * e[l]);
    let length = shift.hypot(1.0);
    let mut g = d[m] - d[l] + e[l] / (shift + length.copysign(shift));
    let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
    for i in (l..m).rev() {
        let (f, b) = (s * e[i], c * e[i]);
        let r = f.hypot(g);
        e[i + 1] = r;
        if r == 0.0 {
            d[i + 1] -= p;
            e[m] = 0.0;
            return;
        }
        (s, c) = (f / r, g / r);
        let before = d[i + 1] - p;
        let r = (d[i] - before) * s + 2.0 * c * b;
        p = s * r;
        d[i + 1] = before + p;
        g = c * r - b;
        let (left, right) = rows.split_at_mut((i + 1) * n);
        for (x, y) in left[i * n..].iter_mut().zip(&mut right[..n]) {
            (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
        }
    }
    d[l] -= p;
    e[l] = g;
    e[m] = 0.0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvectors_are_orthonormal_and_make_the_matrix_again() {
        for n in [1, 2, 3, 17, 40] {
            let value = |i: usize, j: usize| ((i * j) as f64 * 0.7 + (i + j) as f64).sin();
            let a: Vec<f64> = (0..n * n).map(|p| value(p / n, p % n)).collect();
            let (values, vectors) = symmetric(a.clone(), n).expect("eigenvalues");
            assert!(values.windows(2).all(|pair| pair[0] >= pair[1]));
            for i in 0..n {
                for j in 0..n {
                    let dot: f64 = (0..n).map(|k| vectors[i * n + k] * vectors[j * n + k]).sum();
                    assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-12);
                    let part = |k: usize| values[k] * vectors[k * n + i] * vectors[k * n + j];
                    let again: f64 = (0..n).map(part).sum();
                    assert!((again - a[i * n + j]).abs() < 1e-12 * n as f64);
                }
            }
        }
    }

    #[test]
    fn a_diagonal_matrix_and_what_is_no_number() {
        let (values, _) = symmetric(vec![1.0, 0.0, 0.0, 3.0], 2).expect("eigenvalues");
        assert_eq!(values, [3.0, 1.0]);
        assert_eq!(symmetric(vec![f64::NAN], 1), None);
        assert_eq!(symmetric(Vec::new(), 0), Some((Vec::new(), Vec::new())));
    }
}
