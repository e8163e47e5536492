//! ONNX Runtime over images: each worker makes a few images ready, runs them, and goes on to the
//! next few, so that decoding is spread like inference and no more than one decoded image and one
//! batch of patches is held by each.

use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;

use ort::session::Session;
use ort::value::TensorRef;

use super::batch::{OF_IMAGE_TOWERS, output_name};
use super::open::{After, LoadedGraph, built, graph};
use super::sessions::Sessions;
use super::{Job, on_all};
use crate::backends::{Facts, place};
use crate::error::one_line;
use crate::families::towers::ImageTower;
use crate::graph::Task;
use crate::images::{self, ImageError, Preprocessing};
use crate::layout::Layout;
use crate::onnx::check::Given;
use crate::weights::Weights;
use crate::{CancelToken, ModelError, ModelSpec, Result};

/// Tokens of one batch: small enough that its activations stay in a core's own cache. A picture has
/// 50 to a few hundred.
const BATCH_TOKENS: usize = 256;

/// An image tower that is ready to run.
pub(crate) struct ImageEngine {
    sessions: Sessions,
    facts: Facts,
    preprocessing: Preprocessing,
    /// Whether images are turned as their EXIF orientation says.
    upright: bool,
    feed: ImageFeed,
    /// Tokens that an image is for the model.
    tokens: usize,
    /// Name of the model, for messages.
    model: String,
    images_per_batch: usize,
}

/// What a graph takes of an image: rows of `3 · side²` values.
#[derive(Clone, Copy, Debug)]
struct ImageFeed {
    /// Whether a row is one patch of many, rather than the whole picture.
    of_patches: bool,
    /// Pixels on the side of what is in a row.
    side: usize,
    /// Rows of zeros before those of an image.
    leading: usize,
    /// Rows of an image, those of zeros included.
    rows: usize,
}

impl ImageFeed {
    /// Components of a row.
    fn width(&self) -> usize {
        3 * self.side * self.side
    }
}

/// What becomes of the vector of one image. It is called on many threads.
pub(crate) type EachImage<'a> = dyn Fn(&[f32]) -> Vec<f32> + Sync + 'a;

/// Rows of images, and what was wrong with those that have none.
pub(crate) struct ImageRows {
    /// `images × width`; zeros where there is a problem.
    pub(crate) values: Vec<f32>,
    /// Numbers of images and what is wrong with them, in order.
    pub(crate) problems: Vec<(usize, ImageError)>,
}

impl ImageEngine {
    /// Builds the graph and opens the first session.
    ///
    /// # Errors
    /// Weights that don't fit the configuration, a precision or device that can't be had, pictures
    /// that come out in another size than the model sees, ONNX Runtime's refusal.
    pub(crate) fn load(
        tower: ImageTower,
        preprocessing: Preprocessing,
        weights: &Weights,
        spec: &ModelSpec,
        name: &str,
    ) -> Result<Self> {
        let ImageTower { transformer, patch, leading, .. } = tower;
        let tokens = transformer.config.positions;
        let feed = ImageFeed { of_patches: true, side: patch, leading, rows: tokens };
        let loaded = built(transformer, weights, Task::Pool, After::default(), spec)?;
        Self::of(loaded, feed, tokens, preprocessing, spec, name)
    }

    /// Reads an ONNX graph of such a tower, which takes whole pictures, and opens the first
    /// session.
    ///
    /// # Errors
    /// A file that is no such graph, or takes pictures of another size; otherwise as
    /// [`ImageEngine::load`].
    pub(crate) fn load_graph(
        tower: &ImageTower,
        preprocessing: Preprocessing,
        path: &Path,
        layout: &Layout,
        spec: &ModelSpec,
        name: &str,
    ) -> Result<Self> {
        let feed = ImageFeed { of_patches: false, side: tower.side, leading: 0, rows: 1 };
        let tokens = tower.transformer.config.positions;
        let loaded = graph(layout, path, spec, Given::Images, OF_IMAGE_TOWERS)?;
        let mut engine = Self::of(loaded, feed, tokens, preprocessing, spec, name)?;
        let blank = vec![0.0; feed.width()];
        let mut session = engine.sessions.take(&CancelToken::new())?;
        let shape =
            session.inputs().first().and_then(|input| input.dtype().tensor_shape().cloned());
        let takes_one = shape.is_some_and(|shape| shape.first() == Some(&1));
        let (shape, _) = engine.output(&mut session, &blank, 1)?;
        drop(session);
        let width = match shape[..] {
            [1, width] => width,
            _ => 0,
        };
        if width == 0 {
            return Err(ModelError::file(
                path,
                format!(
                    "gives {shape:?} numbers for one picture; it needs an output image_embeds or pooler_output of [pictures, components]"
                ),
            ));
        }
        engine.facts.width = width;
        if takes_one {
            engine.images_per_batch = 1;
        }
        Ok(engine)
    }

    fn of(
        loaded: LoadedGraph,
        feed: ImageFeed,
        tokens: usize,
        preprocessing: Preprocessing,
        spec: &ModelSpec,
        name: &str,
    ) -> Result<Self> {
        Ok(Self {
            sessions: Sessions::open(loaded.source, spec, name, None)?,
            facts: loaded.facts,
            preprocessing,
            upright: spec.exif_orientation,
            feed,
            tokens,
            model: name.to_string(),
            images_per_batch: (spec.batch_tokens.unwrap_or(BATCH_TOKENS) / tokens.max(1)).max(1),
        })
    }

    /// What is known of the tower.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Tokens that an image is for the model.
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Runs images, each the bytes of a file; `each` turns the vector of one into `width` values.
    ///
    /// # Errors
    /// [`ModelError::Cancelled`], and ONNX Runtime's failures. An image that can't be used is a
    /// problem of that image.
    pub(crate) fn run(
        &self,
        images: &[&[u8]],
        width: usize,
        cancel: &CancelToken,
        each: &EachImage<'_>,
    ) -> Result<ImageRows> {
        let mut values = vec![0f32; images.len() * width];
        let mut jobs: Vec<Job<'_>> = Vec::new();
        // Few images still keep all workers busy.
        let share = images.len().div_ceil(self.sessions.limit().max(1)).max(1);
        let size = self.images_per_batch.min(share);
        for (number, part) in values.chunks_mut((size * width).max(1)).enumerate() {
            jobs.push((number * size..(number * size + part.len() / width.max(1)), part));
        }
        let workers = self.sessions.limit().min(jobs.len());
        jobs.reverse();
        let (jobs, problems) = (Mutex::new(jobs), Mutex::new(Vec::new()));
        on_all(workers, &jobs, || {
            let mut session = self.sessions.take(cancel)?;
            let next = || jobs.lock().map_or(None, |mut jobs| jobs.pop());
            while let Some((range, target)) = next() {
                cancel.check()?;
                let count = range.len();
                let found = self.batch(&mut session, images, range, target, each)?;
                if let Ok(mut problems) = problems.lock() {
                    problems.extend(found);
                }
                cancel.done(count);
            }
            Ok(())
        })?;
        let mut problems = problems.into_inner().unwrap_or_default();
        problems.sort_by_key(|(row, _)| *row);
        Ok(ImageRows { values, problems })
    }

    /// Makes the images of a range ready, runs those that can be used, and gives what is wrong with
    /// the others.
    fn batch(
        &self,
        session: &mut Session,
        images: &[&[u8]],
        range: Range<usize>,
        target: &mut [f32],
        each: &EachImage<'_>,
    ) -> Result<Vec<(usize, ImageError)>> {
        let (first, count) = (range.start, range.len());
        let feed = &self.feed;
        let mut patches = Vec::with_capacity(count * feed.rows * feed.width());
        let (mut sound, mut problems) = (Vec::new(), Vec::new());
        for row in range {
            match images::decode(images[row], self.upright) {
                Ok(pixels) => {
                    patches.resize(patches.len() + feed.leading * feed.width(), 0.0);
                    self.preprocessing.patches(&pixels, feed.side, &mut patches);
                    sound.push(row);
                }
                Err(problem) => problems.push((row, problem)),
            }
        }
        if sound.is_empty() {
            return Ok(problems);
        }
        let rows = self.infer(session, &patches, sound.len())?;
        let (wide, width) = (self.facts.width, target.len() / count.max(1));
        for (row, vector) in sound.iter().zip(rows.chunks_exact(wide.max(1))) {
            let at = (row - first) * width;
            place(&each(vector), &mut target[at..at + width])?;
        }
        Ok(problems)
    }

    /// The vectors of `count` images, `count × width`.
    fn infer(&self, session: &mut Session, patches: &[f32], count: usize) -> Result<Vec<f32>> {
        let (_, values) = self.output(session, patches, count)?;
        if values.len() != count * self.facts.width {
            return Err(ModelError::Inference {
                model: self.model.clone(),
                message: format!(
                    "the image tower gave {} numbers for {count} pictures of {} components",
                    values.len(),
                    self.facts.width
                ),
            });
        }
        Ok(values)
    }

    /// What the graph gives for `count` images, with its shape.
    fn output(
        &self,
        session: &mut Session,
        rows: &[f32],
        count: usize,
    ) -> Result<(Vec<usize>, Vec<f32>)> {
        let fail = |message: String| ModelError::Inference { model: self.model.clone(), message };
        let explain = |error: ort::Error| fail(one_line(&error.to_string()));
        let ImageFeed { side, rows: of_image, .. } = self.feed;
        let offsets: Vec<i64> = (0..=count).map(|image| (image * of_image) as i64).collect();
        let inputs = if self.feed.of_patches {
            let shape = vec![(count * of_image) as i64, self.feed.width() as i64];
            ort::inputs![
                "patches" => TensorRef::from_array_view((shape, rows)).map_err(explain)?,
                "offsets" => TensorRef::from_array_view((vec![offsets.len() as i64], offsets.as_slice()))
                    .map_err(explain)?,
            ]
        } else {
            let shape = vec![count as i64, 3, side as i64, side as i64];
            ort::inputs!["pixel_values" => TensorRef::from_array_view((shape, rows)).map_err(explain)?]
        };
        let name = output_name(session, OF_IMAGE_TOWERS);
        let name = name.ok_or_else(|| fail("the graph has no output".into()))?;
        let outputs = session.run(inputs).map_err(explain)?;
        let output = outputs.get(&name).ok_or_else(|| fail(format!("no output '{name}'")))?;
        let (shape, values) = output.try_extract_tensor::<f32>().map_err(explain)?;
        let shape = shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
        Ok((shape, values.to_vec()))
    }
}
