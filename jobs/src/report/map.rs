//! The map as a chart of plotly: one trace a group, so that each has a colour and a name, with the
//! texts to read under the pointer.
//!
//! Plotly takes some HTML tags in names and texts for markup; [`markup`] keeps texts what they are.

use std::collections::HashMap;

use plotly::common::{Marker, Mode};
use plotly::configuration::ModeBarButtonName;
use plotly::layout::{Axis, DragMode, HoverMode, Margin};
use plotly::{Configuration, Layout, Plot, Scatter};

use super::colours::colour;
use super::{Page, Point};
use crate::failure::{Failure, Result};
use crate::printable::printable;

/// Characters of a line under the pointer.
const LINE_CHARACTERS: usize = 64;
/// Characters of a text under the pointer.
const TEXT_CHARACTERS: usize = 400;
/// The colour of texts of no group.
const NONE_COLOUR: &str = "#8a8f98";

/// The chart as JSON: `data`, `layout` and `config` as `Plotly.newPlot` takes them. Texts of no
/// group are the first trace and lie below; then come the groups in their order.
///
/// # Errors
/// When the chart can't be put into JSON.
pub(super) fn chart(page: &Page) -> Result<String> {
    let mut plot = Plot::new();
    let mut of_group: HashMap<Option<i64>, Vec<&Point>> = HashMap::new();
    for point in &page.points {
        of_group.entry(point.group).or_default().push(point);
    }
    let mut take = |group: Option<i64>| of_group.remove(&group).unwrap_or_default();
    let size = marker_size(page.points.len());
    let none = format!("no {}", page.group_name);
    let marker = Marker::new().color(NONE_COLOUR).size(size.saturating_sub(1)).opacity(0.45);
    plot.add_trace(trace(&take(None), &none, marker));
    for (index, group) in page.groups.iter().enumerate() {
        let marker = Marker::new().color(colour(index)).size(size).opacity(0.8);
        plot.add_trace(trace(&take(Some(group.id)), &group.label(), marker));
    }
    plot.set_layout(layout());
    plot.set_configuration(configuration());
    serde_json::to_string(&plot)
        .map_err(|error| Failure::other(format!("internal error: the map: {error}")))
}

/// The points of one group.
fn trace(points: &[&Point], name: &str, marker: Marker) -> Box<Scatter<f32, f32>> {
    let x = points.iter().map(|point| point.x).collect();
    let y = points.iter().map(|point| point.y).collect();
    let texts = points.iter().map(|point| markup(&lines(&point.text))).collect();
    Scatter::new(x, y)
        .mode(Mode::Markers)
        .name(markup(&[name.to_string()]))
        .text_array(texts)
        .hover_template("<b>%{fullData.name}</b><br>%{text}<extra></extra>")
        .show_legend(false)
        .marker(marker)
}

/// The diameter of a point in pixels: the more there are, the smaller.
fn marker_size(points: usize) -> usize {
    match points {
        0..400 => 9,
        400..1_500 => 8,
        1_500..4_000 => 7,
        4_000..12_000 => 6,
        _ => 5,
    }
}

/// No axes, since the numbers on them mean nothing; one unit is as long across as it is high.
fn layout() -> Layout {
    let axis = || Axis::new().visible(false).zero_line(false);
    Layout::new()
        .auto_size(true)
        .margin(Margin::new().left(8).right(8).top(8).bottom(8))
        .paper_background_color("rgba(0,0,0,0)")
        .plot_background_color("rgba(0,0,0,0)")
        .hover_mode(HoverMode::Closest)
        .drag_mode(DragMode::Pan)
        .show_legend(false)
        .x_axis(axis())
        .y_axis(axis().scale_anchor("x"))
}

fn configuration() -> Configuration {
    Configuration::new()
        .responsive(true)
        .scroll_zoom(true)
        .display_logo(false)
        .mode_bar_buttons_to_remove(vec![
            ModeBarButtonName::Select2d,
            ModeBarButtonName::Lasso2d,
            ModeBarButtonName::AutoScale2d,
            ModeBarButtonName::Zoom2d,
            ModeBarButtonName::Pan2d,
        ])
}

/// The text in lines of about equal length, at most so many characters of it.
fn lines(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut left = TEXT_CHARACTERS;
    for word in text.split_whitespace() {
        if left == 0 {
            break;
        }
        let mut word: Vec<char> = word.chars().collect();
        if word.len() >= left {
            word.truncate(left);
            word.push('…');
            left = 0;
        } else {
            left -= word.len() + 1;
        }
        // Scripts without spaces have words that are longer than a line.
        for piece in word.chunks(LINE_CHARACTERS) {
            add_word(&mut lines, &piece.iter().collect::<String>());
        }
    }
    lines
}

/// Puts a word at the end of the last line, or on a new one.
fn add_word(lines: &mut Vec<String>, word: &str) {
    match lines.last_mut() {
        Some(line) if line.is_empty() => line.push_str(word),
        Some(line) if line.chars().count() + word.chars().count() < LINE_CHARACTERS => {
            line.push(' ');
            line.push_str(word);
        }
        _ => lines.push(word.to_string()),
    }
}

/// Lines as plotly's markup.
fn markup(lines: &[String]) -> String {
    let escaped: Vec<_> = lines
        .iter()
        .map(|line| printable(line).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
        .collect();
    escaped.join("<br>")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::report::Group;

    #[test]
    fn each_group_is_a_trace_and_texts_stay_texts() {
        let point = |group, text: &str| Point { x: 1.0, y: 2.0, group, text: text.to_string() };
        let page = Page {
            group_name: "topic",
            groups: vec![
                Group { id: 7, words: vec!["<b>".into()], ..Group::default() },
                Group { id: 3, ..Group::default() },
            ],
            points: vec![
                point(Some(3), "plain"),
                point(None, "a < b & %{x}"),
                point(Some(7), "<script>alert(1)</script>"),
            ],
            ..Page::default()
        };
        let chart: Value = serde_json::from_str(&chart(&page).expect("a chart")).expect("JSON");
        let traces = chart["data"].as_array().expect("traces");
        let texts: Vec<_> = traces.iter().map(|trace| trace["text"][0].clone()).collect();
        assert_eq!(
            texts,
            ["a &lt; b &amp; %{x}", "&lt;script&gt;alert(1)&lt;/script&gt;", "plain"]
        );
        assert_eq!(traces[1]["name"], "&lt;b&gt;");
    }

    #[test]
    fn a_long_text_is_cut_and_broken_into_lines() {
        let long = lines(&"日本語".repeat(500));
        assert!(long.iter().all(|line| line.chars().count() <= LINE_CHARACTERS));
        assert_eq!(long.concat().chars().count(), TEXT_CHARACTERS + 1);
        let words = lines(&"word ".repeat(30));
        assert_eq!(words.len(), 3);
        assert_eq!(words.join(" "), "word ".repeat(30).trim_end());
    }
}
