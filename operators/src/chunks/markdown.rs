//! The outline of a text in Markdown: its headings, and its blocks of code.

/// A heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heading {
    /// The first byte of its line.
    pub(super) start: usize,
    /// The byte behind it.
    pub(super) end: usize,
    /// From 1, the outermost, to 6.
    pub(super) level: usize,
    /// Its words.
    pub(super) title: String,
}

/// What is known of a text's structure.
#[derive(Debug, Default)]
pub(super) struct Outline {
    /// In the order of the text.
    pub(super) headings: Vec<Heading>,
    /// The bytes of blocks of code, fences included.
    pub(super) fences: Vec<(usize, usize)>,
}

impl Outline {
    /// How many headings begin up to a byte.
    pub(super) fn section(&self, byte: usize) -> usize {
        self.headings.partition_point(|heading| heading.start <= byte)
    }

    /// The level of a section; 0 for what is before the first heading.
    pub(super) fn level(&self, section: usize) -> usize {
        section.checked_sub(1).and_then(|n| self.headings.get(n)).map_or(0, |h| h.level)
    }

    /// The headings that a section stands under, its own one included, outermost first.
    pub(super) fn path(&self, section: usize) -> Vec<&Heading> {
        let mut path: Vec<&Heading> = Vec::new();
        for heading in self.headings.iter().take(section).rev() {
            if path.last().is_none_or(|inner| heading.level < inner.level) {
                path.push(heading);
            }
            if heading.level == 1 {
                break;
            }
        }
        path.reverse();
        path
    }
}

/// Reads headings (`# …` and underlined ones) and fenced code.
pub(super) fn outline(text: &str) -> Outline {
    let mut outline = Outline::default();
    let mut fence: Option<(usize, &str)> = None;
    let mut paragraph: Option<(usize, &str)> = None;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let (begin, end) = (start, start + line.len());
        start = end;
        let bare = line.trim();
        if let Some((opened, mark)) = fence {
            if bare.starts_with(mark) && bare.chars().all(|c| mark.starts_with(c)) {
                outline.fences.push((opened, end));
                fence = None;
            }
            continue;
        }
        if let Some(mark) = ["```", "~~~"].into_iter().find(|mark| bare.starts_with(mark)) {
            (fence, paragraph) = (Some((begin, mark)), None);
            continue;
        }
        let underlined = paragraph.and_then(|(at, title)| Some((at, title, underline(bare)?)));
        if let Some((level, title)) = atx(line) {
            outline.headings.push(Heading { start: begin + indent(line), end, level, title });
            paragraph = None;
        } else if let Some((at, title, level)) = underlined {
            outline.headings.push(Heading { start: at, end, level, title: title.to_string() });
            paragraph = None;
        } else {
            // A heading is one line: of a paragraph of several, none is.
            let is_alone =
                paragraph.is_none() && !bare.is_empty() && !bare.starts_with(['-', '|', '>']);
            let was_text = !bare.is_empty() && paragraph.is_some();
            paragraph = match (is_alone, was_text) {
                (true, _) => Some((begin + indent(line), bare)),
                (_, true) => Some((begin, "")),
                _ => None,
            };
        }
    }
    if let Some((opened, _)) = fence {
        outline.fences.push((opened, text.len()));
    }
    outline
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// `## Title ##`.
fn atx(line: &str) -> Option<(usize, String)> {
    let bare = line.trim();
    let level = bare.bytes().take_while(|byte| *byte == b'#').count();
    let rest = &bare[level..];
    if !(1..=6).contains(&level)
        || indent(line) > 3
        || !(rest.is_empty() || rest.starts_with([' ', '\t']))
    {
        return None;
    }
    Some((level, rest.trim().trim_end_matches('#').trim_end().to_string()))
}

/// The level that a line gives to the one above it.
fn underline(bare: &str) -> Option<usize> {
    let all = |mark: u8| bare.len() >= 2 && bare.bytes().all(|byte| byte == mark);
    if all(b'=') { Some(1) } else { all(b'-').then_some(2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(text: &str) -> Vec<(usize, String)> {
        outline(text).headings.into_iter().map(|h| (h.level, h.title)).collect()
    }

    #[test]
    fn headings_are_found_and_code_is_none() {
        let text =
            "# A #\n\ntext\n\n```\n# no\n```\n## B\nSet\n===\n\na\nb\n---\n\n#no\n| a |\n|---|\n";
        let known = [(1, "A"), (2, "B"), (1, "Set")];
        let known: Vec<_> =
            known.iter().map(|(level, title)| (*level, title.to_string())).collect();
        let mut found = titles(text);
        found.retain(|(_, title)| !title.is_empty());
        assert_eq!(found, known);
        assert_eq!(outline(text).fences.len(), 1);
    }

    #[test]
    fn a_path_has_the_headings_above() {
        let outline = outline("# A\n## B\n### C\n## D\n# E\n");
        let path = |section| -> Vec<&str> {
            outline.path(section).iter().map(|heading| heading.title.as_str()).collect()
        };
        assert_eq!(path(0), [""; 0]);
        assert_eq!(path(3), ["A", "B", "C"]);
        assert_eq!(path(4), ["A", "D"]);
        assert_eq!(path(5), ["E"]);
    }
}
