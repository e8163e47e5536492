//! The page as HTML. Styles and script are the files beside this one, as they are.

use std::fmt::Write;

use plotly::Plot;

use super::colours::colour;
use super::{Group, Page, map, plain};
use crate::failure::{Failure, Result};
use crate::numbers::count;
use crate::printable;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Allows what is in the page, and no request to anywhere.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:";
/// What the number says.
const COHERENCE: &str =
    "How often its words occur together in a text: from −1, never, to 1, always";
/// Words in the name of a group.
const LABEL_WORDS: usize = 3;

impl Group {
    /// A name for people: its first words.
    pub(super) fn label(&self) -> String {
        if self.words.is_empty() {
            return format!("#{}", self.id);
        }
        let words: Vec<_> = self.words.iter().take(LABEL_WORDS).map(String::as_str).collect();
        words.join(", ")
    }
}

/// The page.
///
/// # Errors
/// When the chart can't be made.
pub(super) fn render(page: &Page) -> Result<String> {
    let library = chart_library()?;
    let chart = map::chart(page)?.replace('<', "\\u003c");
    let title = escape(&page.title);
    let mut html = plain::open(&page.title, POLICY, STYLE);
    header(&mut html, page, &title);
    html += "<main>\n";
    map_section(&mut html, page);
    groups_section(&mut html, page);
    html += "</main>\n";
    footer(&mut html, page);
    // Writing to a string does not fail, here and below.
    let _ = write!(
        html,
        "<script>{library}</script>\n<script type=\"application/json\" id=\"chart\">{chart}</script>\n\
         <script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    );
    Ok(html)
}

/// The source of the chart library. What comes after it in the crate's sources typesets formulas,
/// and would take dollar signs in texts for such.
fn chart_library() -> Result<String> {
    let sources = Plot::offline_js_sources();
    let library = sources
        .split_once("<script type=\"text/javascript\">")
        .and_then(|(_, rest)| rest.split_once("</script>"))
        .map(|(library, _)| library.to_string());
    library.ok_or_else(|| Failure::other("internal error: the chart library is missing"))
}

fn header(html: &mut String, page: &Page, title: &str) {
    let groups = page.groups.len() as u64;
    let largest = page.groups.iter().map(|group| group.size).max().unwrap_or_default();
    let figure = |number: u64, words: &str| {
        format!("<div><dt>{words}</dt><dd>{}</dd></div>\n", count(number))
    };
    let name = page.group_name;
    let _ = write!(
        html,
        "<header>\n<h1>{title}</h1>\n<dl class=\"figures\">\n{}{}{}",
        figure(page.rows, "texts"),
        figure(groups, &format!("{name}s")),
        figure(largest, &format!("in the largest {name}")),
    );
    if page.ungrouped > 0 {
        let share = percent(page.ungrouped, page.rows);
        html.push_str(&figure(page.ungrouped, &format!("in no {name}, {share}")));
    }
    html.push_str("</dl>\n</header>\n");
}

fn map_section(html: &mut String, page: &Page) {
    let name = page.group_name;
    let shown = page.points.len() as u64;
    let sampled = if shown < page.rows {
        format!("{} of {} texts, picked evenly. ", count(shown), count(page.rows))
    } else {
        String::new()
    };
    let _ = write!(
        html,
        "<section class=\"map\" aria-label=\"Map of the texts\">\n<div class=\"tools\">\n\
         <input id=\"search\" type=\"search\" placeholder=\"Find texts…\" aria-label=\"Find texts\">\n\
         <output id=\"found\"></output>\n<button id=\"clear\" type=\"button\" hidden>Show all</button>\n</div>\n\
         <div id=\"board\"><div id=\"plot\"></div><div id=\"labels\" aria-hidden=\"true\"></div></div>\n\
         <ol id=\"hits\" aria-label=\"Texts found\" hidden></ol>\n\
         <p class=\"note\">{sampled}Texts that lie close together say similar things; distances between far-off \
         {name}s mean little. Scroll to zoom, drag to move, click a text or a {name} to see it alone.</p>\n</section>\n"
    );
}

fn groups_section(html: &mut String, page: &Page) {
    let largest = page.groups.iter().map(|group| group.size).max().unwrap_or(1).max(1);
    let _ = write!(
        html,
        "<section class=\"groups\" aria-label=\"The {0}s\">\n<h2>{0}s</h2>\n<ol>\n",
        page.group_name
    );
    for (index, group) in page.groups.iter().enumerate() {
        group_item(html, page, group, index, largest);
    }
    html.push_str("</ol>\n</section>\n");
}

fn group_item(html: &mut String, page: &Page, group: &Group, index: usize, largest: u64) {
    let _ = write!(
        html,
        "<li data-trace=\"{}\" style=\"--colour:{}\">\n<button type=\"button\" aria-pressed=\"false\">\
         <span class=\"label\">{}</span><span class=\"size\">{} <small>{}</small></span>\
         <span class=\"bar\"><i style=\"width:{:.1}%\"></i></span></button>\n",
        // The first trace is that of no group.
        index + 1,
        colour(index),
        escape(&group.label()),
        count(group.size),
        percent(group.size, page.rows),
        100.0 * group.size as f64 / largest as f64,
    );
    let words: Vec<_> = group.words.iter().skip(LABEL_WORDS).map(|word| escape(word)).collect();
    if !words.is_empty() {
        let _ = writeln!(html, "<p class=\"words\">{}</p>", words.join(", "));
    }
    if !group.examples.is_empty() {
        html.push_str("<ul class=\"examples\">");
        for example in &group.examples {
            let _ = write!(html, "<li>{}</li>", escape(example));
        }
        html.push_str("</ul>\n");
    }
    let coherence = group.coherence.map(|value| {
        let value = format!("{value:.2}").replace('-', "−");
        format!(" · <span title=\"{COHERENCE}\">coherence {value}</span>")
    });
    let _ = writeln!(
        html,
        "<p class=\"fine\">{} {}{}</p>\n</li>",
        page.group_name,
        group.id,
        coherence.unwrap_or_default()
    );
}

fn footer(html: &mut String, page: &Page) {
    html.push_str("<footer>\n<h2>How this was made</h2>\n<dl>\n");
    for (name, value) in &page.facts {
        let _ = writeln!(html, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    html.push_str("</dl>\n</footer>\n");
}

/// A part of the whole in percent.
fn percent(part: u64, whole: u64) -> String {
    let percent = 100.0 * part as f64 / whole.max(1) as f64;
    if percent < 9.95 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

/// A text as HTML, for elements and for attributes in double quotes. What can't be seen is named.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => printable::push(&mut escaped, letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Point;

    const ATTACK: &str = "</script><script>alert(1)</script><img src=x onerror=alert(2)>";

    fn page() -> String {
        let group = Group {
            id: 0,
            size: 2,
            words: vec![ATTACK.to_string(); 5],
            coherence: Some(0.25),
            examples: vec![ATTACK.to_string()],
        };
        let point = Point { x: 0.0, y: 0.0, group: Some(0), text: ATTACK.to_string() };
        render(&Page {
            title: ATTACK.to_string(),
            group_name: "topic",
            rows: 3,
            ungrouped: 1,
            groups: vec![group],
            points: vec![point],
            facts: vec![("input", ATTACK.to_string())],
        })
        .expect("a page")
    }

    #[test]
    fn what_comes_from_the_data_never_becomes_markup() {
        let page = page();
        assert!(!page.contains("<script>alert"));
        assert!(!page.contains("<img src=x"));
        // Three scripts of our own and no other.
        assert_eq!(page.matches("<script").count(), 3 + STRAY_SCRIPT_TAGS);
        assert_eq!(page.matches("</script>").count(), 3);
        assert!(page.contains("&lt;img src=x onerror=alert(2)&gt;"));
    }

    #[test]
    fn what_can_not_be_seen_is_named() {
        let text = "a\0b\u{1b}c\u{202e}d\u{2028}e".to_string();
        let point = Point { text: text.clone(), group: Some(0), ..Point::default() };
        let group = Group { examples: vec![text.clone()], words: vec![text], ..Group::default() };
        let page = Page { groups: vec![group], points: vec![point], ..Page::default() };
        let page = render(&page).expect("a page");
        let own = page.split("plotly.js v").next().unwrap_or_default();
        let (_, chart) = page.rsplit_once("application/json").expect("a chart");
        for part in [own, chart] {
            assert!(!part.contains(['\0', '\u{1b}', '\u{202e}', '\u{2028}']));
            assert!(part.contains("202e"), "{part}");
        }
        assert!(chart.contains("\\\\u{202e}"), "named, not only escaped for JSON");
    }

    /// Times that the chart library itself has the characters of a script tag in its strings.
    const STRAY_SCRIPT_TAGS: usize = 0;

    #[test]
    fn the_page_loads_nothing() {
        let page = page();
        for loading in [" src=\"", " href=\"", "@import", "url(http"] {
            let outside_of_library = page.split("plotly.js v").next().unwrap_or_default();
            assert!(!outside_of_library.contains(loading), "{loading}");
        }
        assert!(page.contains("default-src 'none'"));
        assert!(!page.contains("combineDefaults"), "the library for formulas stays out");
    }

    #[test]
    fn a_part_that_was_sampled_says_so() {
        assert!(page().contains("1 of 3 texts, picked evenly"));
        assert!(page().contains("in no topic, 33 %"));
    }
}
