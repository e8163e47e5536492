//! The report of a search among images: for each query the pictures that were found, as thumbnails.
//!
//! Invariants: as for the other report, the page is whole and asks for nothing, and a text of the
//! data stays a text. Its size is bounded by the number of thumbnails and their side.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sembla_models::images::{FILE_BYTES_MAX, decode, thumbnail};

use super::page::escape;
use super::plain;
use crate::failure::{Failure, Result};
use crate::whole_file::write_whole;

const STYLE: &str = include_str!("gallery.css");

/// Allows the pictures that are in the page, and no request to anywhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// Pixels on the longer side of a thumbnail.
const THUMBNAIL_SIDE: usize = 224;

/// Most thumbnails of a page; pictures past that are named only. One takes about ten kB.
pub const THUMBNAILS_MAX: usize = 1000;

/// What a page says.
#[derive(Clone, Debug, Default)]
pub struct Gallery {
    /// The heading.
    pub title: String,
    /// Images that were searched.
    pub images: u64,
    /// Queries with what they found.
    pub queries: Vec<Query>,
    /// How the page was made: names and values.
    pub facts: Vec<(&'static str, String)>,
}

/// A query and what it found.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Its text, or the path of its image.
    pub words: String,
    /// Whether it is an image.
    pub is_image: bool,
    /// Paths and scores, best first.
    pub hits: Vec<(String, f32)>,
}

/// Writes the page; takes a few milliseconds for each picture, which is read and decoded again.
///
/// # Errors
/// Those of the disk. A picture that can't be shown says so in its place.
pub fn write(gallery: &Gallery, path: &Path) -> Result<()> {
    let html = render(gallery);
    write_whole(path, |file| {
        file.write_all(html.as_bytes()).map_err(|error| Failure::file(path, &error))
    })
}

fn render(gallery: &Gallery) -> String {
    let title = escape(&gallery.title);
    let mut html = plain::open(&gallery.title, POLICY, STYLE);
    let _ = write!(
        html,
        "<header>\n<h1>{title}</h1>\n<p>{} images</p>\n</header>\n<main>\n",
        crate::numbers::count(gallery.images)
    );
    let mut room = THUMBNAILS_MAX;
    let folder = common_folder(gallery.queries.iter().flat_map(|query| &query.hits));
    for query in &gallery.queries {
        html.push_str("<section>\n");
        // The heading of the page says the words of a single query.
        if query.is_image {
            let shown = picture(&query.words, &mut room);
            let _ = writeln!(html, "<h2>{shown}{}</h2>", escape(&query.words));
        } else if gallery.queries.len() > 1 {
            let _ = writeln!(html, "<h2>{}</h2>", escape(&query.words));
        }
        html.push_str("<ol>\n");
        for (path, score) in &query.hits {
            let _ = writeln!(
                html,
                "<li><div class=\"frame\">{}</div><div class=\"words\"><span class=\"score\">{score:.3}</span>\
                 <span class=\"path\" title=\"{}\">{}</span></div></li>",
                picture(path, &mut room),
                escape(path),
                escape(&path[folder..])
            );
        }
        html.push_str("</ol>\n</section>\n");
    }
    html.push_str("</main>\n<footer>\n");
    plain::facts(&mut html, gallery.facts.iter().cloned());
    html.push_str("</footer>\n</body>\n</html>\n");
    html
}

/// The bytes of the folder that all paths begin with, to its slash: what need not be shown.
fn common_folder<'p>(hits: impl Iterator<Item = &'p (String, f32)>) -> usize {
    let mut paths = hits.map(|(path, _)| path.as_str());
    let Some(first) = paths.next() else { return 0 };
    let common = paths.fold(first, |common, path| {
        let same = common.bytes().zip(path.bytes()).take_while(|(a, b)| a == b).count();
        &common[..common.floor_char_boundary(same)]
    });
    common.rfind('/').map_or(0, |slash| slash + 1)
}

/// A thumbnail, or why there is none.
fn picture(path: &str, room: &mut usize) -> String {
    let none = |why: &str| format!("<span class=\"none\">{}</span>", escape(why));
    if *room == 0 {
        return none("not shown: the page is full");
    }
    *room -= 1;
    match small(path) {
        Ok(jpeg) => {
            let data = STANDARD.encode(jpeg);
            format!("<img alt=\"{}\" src=\"data:image/jpeg;base64,{data}\">", escape(path))
        }
        Err(why) => none(&why),
    }
}

fn small(path: &str) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err("too large to show".into());
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let pixels = decode(&bytes, true).map_err(|error| error.to_string())?;
    thumbnail(&pixels, THUMBNAIL_SIDE).ok_or_else(|| "can't be shown".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_a_missing_picture_says_so() {
        let gallery = Gallery {
            title: "<script>alert(1)</script>".into(),
            images: 3,
            queries: vec![Query {
                words: "two \"red\" & blue".into(),
                is_image: false,
                hits: vec![("no/<b>such</b>.png".into(), 0.25)],
            }],
            facts: vec![("model", "a < b".into())],
        };
        let html = render(&gallery);
        assert!(html.contains("&lt;script&gt;") && !html.contains("<script"), "{html}");
        assert!(html.contains("0.250") && html.contains("no/&lt;b&gt;such"), "{html}");
        assert!(html.contains("class=\"none\"") && html.contains("a &lt; b"), "{html}");
        assert!(html.contains("default-src 'none'"));
    }

    #[test]
    fn the_folder_of_all_is_not_shown() {
        let common = |paths: &[&str]| {
            let hits: Vec<_> = paths.iter().map(|path| ((*path).to_string(), 0.0)).collect();
            common_folder(hits.iter())
        };
        assert_eq!(common(&["a/b/c.png", "a/b/d.png"]), 4);
        assert_eq!(common(&["a/b1/c.png", "a/b2/d.png"]), 2);
        assert_eq!(common(&["a/é.png", "a/è.png"]), 2);
        assert_eq!(common(&["a.png", "a.png"]), 0);
        assert_eq!(common(&["x/a.png"]), 2);
        assert_eq!(common(&[]), 0);
    }
}
