//! The report of a run of training: one page with its curves, drawn as SVG, and its options. No
//! script, nothing fetched.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use super::{TrainRequest, Trained};
use crate::failure::{Failure, Result};
use crate::numbers::{count, per_second};
use crate::report::escape;
use crate::report::plain::{self, PLAIN_POLICY, PLAIN_STYLE};
use crate::whole_file::write_whole;

/// Points of a curve; longer ones are averaged.
const POINTS_MAX: usize = 400;

/// The size of a chart.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
/// Room for the axes.
const MARGIN: f64 = 48.0;

/// Writes the page.
///
/// # Errors
/// Those of the disk.
pub(super) fn write(
    path: &Path,
    request: &TrainRequest,
    trained: &Trained,
    parameters: usize,
) -> Result<()> {
    let html = render(request, trained, parameters);
    write_whole(path, |file| {
        file.write_all(html.as_bytes()).map_err(|error| Failure::file(path, &error))
    })
}

fn render(request: &TrainRequest, trained: &Trained, parameters: usize) -> String {
    let title = trained.output.display().to_string();
    let history = &trained.summary.history;
    let mut html = plain::open(&title, PLAIN_POLICY, PLAIN_STYLE);
    // Writing to a string does not fail, here and below.
    let _ = writeln!(html, "<h1>{}</h1>", escape(&title));
    let losses: Vec<(f64, f64)> = history
        .losses
        .iter()
        .enumerate()
        .map(|(step, loss)| (step as f64, f64::from(*loss)))
        .collect();
    chart(&mut html, "Loss by step", &averaged(&losses), "#3b6fb6");
    if let Some(metric) = trained.summary.metric {
        let values: Vec<(f64, f64)> =
            history.evaluations.iter().map(|(step, value)| (*step as f64, *value)).collect();
        chart(&mut html, &format!("{metric} by step"), &values, "#b6563b");
    }
    let options = &request.options;
    let mut facts = vec![
        ("base", request.base.source.clone()),
        ("loss", trained.loss.to_string()),
        ("rows", count(trained.rows as u64)),
        ("steps", count(trained.summary.steps as u64)),
        ("batch", count(options.batch as u64)),
        ("epochs", count(options.epochs as u64)),
        ("schedule", format!("{:?}", options.schedule).to_lowercase()),
        ("seed", options.seed.to_string()),
        ("trained weights", count(parameters as u64)),
        ("texts/s", per_second(trained.summary.texts_per_second)),
        ("seconds", format!("{:.0}", trained.took.as_secs_f64())),
    ];
    if let Some((step, value)) = history.best {
        facts.push(("best", format!("{value:.4} after {} steps", count(step as u64))));
    }
    html.push_str("<h2>How this was made</h2>\n");
    plain::facts(&mut html, facts);
    html.push_str("</body>\n</html>\n");
    html
}

/// At most [`POINTS_MAX`] points: the mean of each stretch.
fn averaged(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let stretch = points.len().div_ceil(POINTS_MAX).max(1);
    let mean = |points: &[(f64, f64)]| {
        let sum = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / points.len() as f64, sum.1 / points.len() as f64)
    };
    points.chunks(stretch).map(mean).collect()
}

/// A curve with its axes. Values that are no numbers are left out.
fn chart(html: &mut String, title: &str, points: &[(f64, f64)], colour: &str) {
    let points: Vec<_> = points.iter().filter(|(_, value)| value.is_finite()).collect();
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
    let low = points.iter().map(|(_, value)| *value).fold(f64::INFINITY, f64::min);
    let high = points.iter().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max);
    let (across, up) = ((last.0 - first.0).max(1.0), (high - low).max(1e-9));
    let place = |(x, y): &(f64, f64)| {
        let x = MARGIN + (x - first.0) / across * (WIDTH - 2.0 * MARGIN);
        let y = HEIGHT - MARGIN - (y - low) / up * (HEIGHT - 2.0 * MARGIN);
        format!("{x:.1},{y:.1}")
    };
    let line: Vec<String> = points.iter().map(|point| place(point)).collect();
    let bottom = HEIGHT - MARGIN;
    let _ = write!(
        html,
        "<h2>{title}</h2>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n\
         <path d=\"M{MARGIN},{MARGIN}V{bottom}H{}\" fill=\"none\" stroke=\"#999\"/>\n\
         <polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
         <text x=\"4\" y=\"{}\">{high:.4}</text>\n<text x=\"4\" y=\"{bottom}\">{low:.4}</text>\n\
         <text x=\"{MARGIN}\" y=\"{}\">{:.0}</text>\n<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{:.0}</text>\n</svg>\n",
        WIDTH - MARGIN,
        line.join(" "),
        MARGIN + 4.0,
        bottom + 18.0,
        first.0,
        WIDTH - MARGIN,
        bottom + 18.0,
        last.0,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_curve_keeps_its_mean_and_a_chart_its_ends() {
        let points: Vec<(f64, f64)> = (0..10_000).map(|step| (f64::from(step), 2.0)).collect();
        let short = averaged(&points);
        assert!(short.len() <= POINTS_MAX && short.iter().all(|(_, value)| *value == 2.0));
        let mut html = String::new();
        chart(&mut html, "Loss", &[(0.0, 3.0), (1.0, f64::NAN), (10.0, 1.0)], "#000");
        assert!(html.contains("48.0,48.0 672.0,212.0"), "{html}");
        assert!(html.contains(">3.0000<") && html.contains(">1.0000<") && html.contains(">10<"));
    }
}
