//! Embeds two sentences with a bundled model and compares them.
//!
//! ```text
//! cargo run --release -p sembla-models --example embed
//! ```

#![expect(clippy::print_stdout, reason = "an example prints what it finds")]

use sembla_models::{CancelToken, Model, ModelSpec, Prompt};

fn main() -> sembla_models::Result<()> {
    // A bundled name, a model directory, an `.onnx` file or a Hugging Face id.
    let model = Model::load(&ModelSpec::new("potion"))?;
    let texts = ["my card was stolen", "somebody took my bank card"];
    let vectors = model.embed(&texts, Prompt::Default, &CancelToken::new())?;

    // Vectors lie one after another.
    let mut rows = vectors.values.chunks_exact(vectors.dimension);
    if let (Some(one), Some(two)) = (rows.next(), rows.next()) {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        let cosine = dot(one, two) / (dot(one, one) * dot(two, two)).sqrt();
        println!("{}: {} components, cosine {cosine:.3}", model.info().name, vectors.dimension);
    }
    Ok(())
}
