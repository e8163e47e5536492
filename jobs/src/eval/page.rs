//! The ranking as a page: quality against speed, drawn as SVG, and the table. No script, nothing
//! fetched.

use std::fmt::Write as _;

use super::measure::Measured;
use super::ranking::{Ranking, hundredths};
use crate::numbers::per_second;
use crate::report::escape;
use crate::report::plain::{self, PLAIN_POLICY, PLAIN_STYLE};

/// The size of the chart.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 460.0;
/// Room for the axes, and for names to the right.
const LEFT: f64 = 56.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 52.0;

/// Characters of a model's name in the chart.
const NAME_CHARACTERS: usize = 32;

const STYLE: &str = "body{max-width:1080px}table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}\
th,td{padding:.3rem .6rem;text-align:right;border-bottom:1px solid #8884}th:first-child,td:first-child{text-align:left}\
th{font-weight:600;vertical-align:bottom}th small{display:block;font-weight:400;color:#777}.scroll{overflow-x:auto}\
td.best{font-weight:700}.grid{stroke:#8883}.axis{stroke:#888;fill:none}.front{stroke:#3b6fb6;stroke-dasharray:4 4;fill:none}\
circle{fill:#3b6fb6;fill-opacity:.75}circle.behind{fill:#8a8f98}svg .name{font-size:13px;fill:#222}\
@media(prefers-color-scheme:dark){svg .name{fill:#ddd}}";

/// The page.
pub(super) fn render(ranking: &Ranking, facts: &[(&str, String)]) -> String {
    let title = "Ranking of models";
    let mut html = plain::open(title, PLAIN_POLICY, &format!("{PLAIN_STYLE}{STYLE}"));
    let _ = writeln!(html, "<h1>{title}</h1>");
    chart(&mut html, ranking);
    table(&mut html, ranking);
    html.push_str("<h2>What was measured</h2>\n");
    let tasks = ranking.tasks.iter().map(|(name, kind)| {
        let def = kind.def();
        (name.as_str(), format!("{}: {} ({})", def.name, def.about, def.measure))
    });
    plain::facts(&mut html, tasks);
    html.push_str("<h2>How this was made</h2>\n");
    plain::facts(&mut html, facts.iter().cloned());
    html.push_str("</body>\n</html>\n");
    html
}

/// A model in the chart.
struct Point<'a> {
    model: &'a Measured,
    quality: f64,
    /// The logarithm of texts per second.
    speed: f64,
}

impl Point<'_> {
    /// Whether another is at least as good and as fast, and better in one of them.
    fn is_behind(&self, others: &[Point<'_>]) -> bool {
        others.iter().any(|other| {
            (other.quality >= self.quality && other.speed >= self.speed)
                && (other.quality > self.quality || other.speed > self.speed)
        })
    }
}

/// Where values lie between two sides of the chart.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis with room for the values, of which there is at least one.
    fn of(values: &[f64], least: f64, from: f64, to: f64) -> Self {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let room = ((high - low) * 0.08).max(least);
        Self { low: low - room, high: high + room, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }
}

fn chart(html: &mut String, ranking: &Ranking) {
    let points: Vec<Point<'_>> = ranking
        .models
        .iter()
        .filter_map(|model| {
            let speed = model.texts_per_second().max(1e-3).log10();
            Some(Point { model, quality: 100.0 * model.average()?, speed })
        })
        .collect();
    if points.is_empty() {
        return;
    }
    let speeds: Vec<f64> = points.iter().map(|point| point.speed).collect();
    let qualities: Vec<f64> = points.iter().map(|point| point.quality).collect();
    let across = Axis::of(&speeds, 0.1, LEFT, WIDTH - RIGHT);
    let up = Axis::of(&qualities, 0.5, HEIGHT - BOTTOM, TOP);
    let _ = writeln!(
        html,
        "<h2>Quality against speed</h2>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"Average score against texts per second\">"
    );
    grid(html, &across, &up);
    front(html, &points, &across, &up);
    for point in &points {
        let (x, y) = (across.place(point.speed), up.place(point.quality));
        // The area is in proportion to the square root of the parameters, so that small ones show.
        let radius = 3.0 + (point.model.parameters as f64 / 1e6).max(0.0).powf(0.25) * 2.5;
        let class = if point.is_behind(&points) { " class=\"behind\"" } else { "" };
        let name: String = point.model.model.chars().take(NAME_CHARACTERS).collect();
        let _ = writeln!(
            html,
            "<circle{class} cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"><title>{}: {}, {} texts/s, {:.1} million parameters\
             </title></circle>\n<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            escape(&point.model.model),
            hundredths(point.model.average()),
            per_second(point.model.texts_per_second()),
            point.model.parameters as f64 / 1e6,
            x + radius + 5.0,
            y + 4.0,
            escape(&name),
        );
    }
    html.push_str(
        "</svg>\n<p><small>The larger a circle, the more parameters. No model is both better and faster than one in \
         blue, which the line joins.</small></p>\n",
    );
}

/// Lines and figures of the axes.
fn grid(html: &mut String, across: &Axis, up: &Axis) {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for (exponent, factor) in
        (-3..9).flat_map(|exponent| [1.0, 3.0].map(|factor| (exponent, factor)))
    {
        let rate = factor * 10_f64.powi(exponent);
        if (across.low..=across.high).contains(&rate.log10()) {
            let x = across.place(rate.log10());
            let _ = writeln!(
                html,
                "<path class=\"grid\" d=\"M{x:.1},{TOP}V{bottom}\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 18.0,
                per_second(rate)
            );
        }
    }
    let step =
        [0.5, 1.0, 2.0, 5.0, 10.0, 20.0].into_iter().find(|step| (up.high - up.low) / step <= 8.0);
    let step = step.unwrap_or(50.0);
    let first = (up.low / step).ceil();
    for value in
        (0..9).map(|line| (first + f64::from(line)) * step).filter(|value| *value <= up.high)
    {
        let y = up.place(value);
        let _ = writeln!(
            html,
            "<path class=\"grid\" d=\"M{LEFT},{y:.1}H{right}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
            LEFT - 8.0,
            y + 4.0
        );
    }
    let _ = writeln!(
        html,
        "<path class=\"axis\" d=\"M{LEFT},{TOP}V{bottom}H{right}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">texts per second (logarithmic)</text>\
         <text x=\"{LEFT}\" y=\"{:.1}\">average score</text>",
        f64::midpoint(LEFT, right),
        HEIGHT - 10.0,
        TOP - 6.0
    );
}

/// A line through the models that no other beats in both.
fn front(html: &mut String, points: &[Point<'_>], across: &Axis, up: &Axis) {
    let mut front: Vec<&Point<'_>> =
        points.iter().filter(|point| !point.is_behind(points)).collect();
    front.sort_by(|a, b| a.speed.total_cmp(&b.speed));
    let place = |point: &&Point<'_>| {
        format!("{:.1},{:.1}", across.place(point.speed), up.place(point.quality))
    };
    let line: Vec<String> = front.iter().map(place).collect();
    let _ = writeln!(html, "<polyline class=\"front\" points=\"{}\"/>", line.join(" "));
}

fn table(html: &mut String, ranking: &Ranking) {
    let columns = ranking.columns();
    html.push_str("<h2>Scores</h2>\n<div class=\"scroll\">\n<table>\n<thead><tr>");
    for column in &columns {
        let _ = write!(html, "<th>{}<small>{}</small></th>", escape(&column.name), column.unit);
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in 0..ranking.models.len() {
        html.push_str("<tr>");
        for column in &columns {
            let best = if column.best == Some(row) { " class=\"best\"" } else { "" };
            let _ = write!(html, "<td{best}>{}</td>", escape(&column.cells[row]));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table>\n</div>\n");
}

#[cfg(test)]
mod tests {
    use super::super::ranking::tests::ranking;
    use super::*;

    #[test]
    fn the_page_shows_every_model_and_loads_nothing() {
        let mut ranking = ranking();
        ranking.models[0].model = "<img src=x>".into();
        let page = render(&ranking, &[("machine", "two <cores>".into())]);
        assert_eq!(page.matches("<circle").count(), 2, "a model without an average has no place");
        assert_eq!(page.matches("<tr>").count(), 4);
        assert!(page.contains("&lt;img src=x&gt;") && !page.contains("<img"));
        assert!(page.contains("two &lt;cores&gt;") && !page.contains("<script"));
        assert!(page.contains("class=\"best\">82.03<"), "{page}");
    }

    #[test]
    fn one_model_has_its_place_and_models_that_are_beaten_are_grey() {
        let mut ranking = ranking();
        ranking.models.truncate(1);
        let page = render(&ranking, &[]);
        assert!(page.contains("<circle cx=") && !page.contains("NaN"), "{page}");
        let mut worse = ranking.models[0].clone();
        worse.scores = vec![Some(0.1), Some(0.1)];
        ranking.models.push(worse);
        assert_eq!(render(&ranking, &[]).matches("circle class=\"behind\"").count(), 1);
        ranking.models.clear();
        assert!(!render(&ranking, &[]).contains("<svg"));
    }
}
