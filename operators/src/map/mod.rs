//! A map of vectors: two coordinates for each, for a picture.
//!
//! PCA shows the directions of the largest variance and is fast. t-SNE (van der Maaten 2008, by the
//! crate bhtsne with Barnes–Hut) shows neighbourhoods. It begins at the PCA and runs on one thread,
//! because bhtsne's sums on many threads have no fixed order: so a map depends on its input alone.
//! Above [`MapOptions::rows_max`] rows a map is made of an even sample. By PCA the other rows fall
//! on the sample's plane; by t-SNE each is placed among those of the sample that it is nearest to.

mod pca;
mod tsne;

use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, check};
use crate::neighbours;
use crate::unit::UnitVectors;

/// Rows of the sample that place another row.
const PLACING_NEIGHBOURS: usize = 5;

/// How a map is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By neighbourhoods.
    Tsne,
    /// By variance.
    Pca,
}

impl Method {
    /// Reads an option.
    ///
    /// # Errors
    /// [`OperatorError::Option`] that names the methods.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "tsne" => Ok(Self::Tsne),
            "pca" => Ok(Self::Pca),
            _ => {
                Err(OperatorError::Option(format!("method must be 'tsne' or 'pca', got '{name}'")))
            }
        }
    }
}

/// Options of a map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapOptions {
    /// How the map is made.
    pub method: Method,
    /// Of t-SNE: about how many neighbours count, 1 to 1000. With few rows it is lowered to a third
    /// of them.
    pub perplexity: f32,
    /// Of t-SNE: steps.
    pub epochs: usize,
    /// Shifts which rows are sampled.
    pub seed: u64,
    /// Rows that the map is made of; others are placed among them.
    pub rows_max: usize,
}

impl Default for MapOptions {
    fn default() -> Self {
        Self { method: Method::Tsne, perplexity: 30.0, epochs: 750, seed: 0, rows_max: 5000 }
    }
}

/// Two coordinates for each row; `None` for a row without a direction.
///
/// # Errors
/// [`OperatorError::Option`] for a perplexity outside 1..=1000, 0 epochs, or fewer than 10 rows at
/// most; what the host says.
///
/// # Examples
/// ```
/// use sembla_operators::map::{self, MapOptions, Method};
/// use sembla_operators::{Unbounded, UnitVectors};
///
/// let vectors = UnitVectors::new(3, vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0])?;
/// let options = MapOptions { method: Method::Pca, ..MapOptions::default() };
/// let places = map::map(&vectors, &options, &Unbounded)?;
/// assert!(places[0].is_some() && places[2].is_none());
/// # Ok::<(), sembla_operators::OperatorError>(())
/// ```
pub fn map(
    vectors: &UnitVectors,
    options: &MapOptions,
    host: &dyn Host,
) -> Result<Vec<Option<[f32; 2]>>> {
    check_options(options)?;
    let rows = vectors.rows();
    let directed: Vec<u32> =
        (0..rows).filter(|row| vectors.has_direction(*row)).map(|row| row as u32).collect();
    let step = directed.len().div_ceil(options.rows_max).max(1);
    let first = (options.seed % step as u64) as usize;
    let (sampled, others): (Vec<_>, Vec<_>) =
        directed.iter().enumerate().partition(|(place, _)| place % step == first);
    let rows_of = |part: Vec<(usize, &u32)>| part.into_iter().map(|(_, row)| *row).collect();
    let (sampled, others): (Vec<u32>, Vec<u32>) = (rows_of(sampled), rows_of(others));

    let _loan = Loan::new(host, directed.len() * vectors.dimension() * size_of::<f32>())?;
    let sample = vectors.select(&sampled);
    let others_vectors = vectors.select(&others);
    let plane = pca::Plane::fit(&sample, host)?;
    let start = plane.places(&sample);
    let (places, placed) = match options.method {
        Method::Pca => (rounded(&start), rounded(&plane.places(&others_vectors))),
        Method::Tsne => {
            let places = tsne::fit(&sample, &start, options, host)?;
            let placed = place_others(&others_vectors, &sample, &places, host)?;
            (places, placed)
        }
    };
    let mut found = vec![None; rows];
    for (row, place) in sampled.iter().zip(places).chain(others.iter().zip(placed)) {
        found[*row as usize] = Some(place);
    }
    Ok(found)
}

/// Coordinates as they are drawn.
fn rounded(places: &[[f64; 2]]) -> Vec<[f32; 2]> {
    places.iter().map(|place| place.map(|x| x as f32)).collect()
}

fn check_options(options: &MapOptions) -> Result<()> {
    let wrong = |message: String| Err(OperatorError::Option(message));
    if !(1.0..=1000.0).contains(&options.perplexity) {
        return wrong(format!(
            "perplexity must be a number of neighbours between 1 and 1000, got {}",
            options.perplexity
        ));
    }
    if options.epochs == 0 {
        return wrong("epochs must be a number of steps >= 1, got 0".to_string());
    }
    if options.rows_max < 10 {
        return wrong(format!("rows_max must be >= 10, got {}", options.rows_max));
    }
    Ok(())
}

/// Places rows at the mean of the rows of the sample that they are nearest to.
fn place_others(
    others: &UnitVectors,
    sample: &UnitVectors,
    places: &[[f32; 2]],
    host: &dyn Host,
) -> Result<Vec<[f32; 2]>> {
    check(host)?;
    let nearest = neighbours::top_k(others, sample, PLACING_NEIGHBOURS, -1.0, host)?;
    let place = |row: usize| {
        let found = nearest.of(row);
        let mut sum = [0.0; 2];
        for neighbour in found {
            let place = places[neighbour.row as usize];
            sum.iter_mut().zip(place).for_each(|(sum, x)| *sum += x / found.len() as f32);
        }
        sum
    };
    Ok((0..others.rows()).map(place).collect())
}

#[cfg(test)]
mod tests;
