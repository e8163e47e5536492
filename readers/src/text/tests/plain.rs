//! CSV read the slow and obvious way, a character at a time, to compare with.

/// Records by their fields, each with the line it begins on, and the row and line of a quote that
/// is never closed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plain {
    pub(super) records: Vec<(u64, Vec<String>)>,
    pub(super) unclosed: Option<(usize, u64)>,
}

pub(super) fn parse(text: &str, delimiter: char) -> Plain {
    let mut records: Vec<(u64, Vec<String>)> = Vec::new();
    let mut rest = text.chars().peekable();
    let mut line = 1;
    loop {
        while let Some(c) = rest.next_if(|c| *c == '\n' || *c == '\r') {
            if c == '\r' {
                rest.next_if_eq(&'\n');
            }
            line += 1;
        }
        if rest.peek().is_none() {
            return Plain { records, unclosed: None };
        }
        let begin = line;
        let mut fields = Vec::new();
        loop {
            let mut field = String::new();
            if rest.next_if_eq(&'"').is_some() {
                let opened = line;
                loop {
                    match rest.next() {
                        None => {
                            return Plain { unclosed: Some((records.len(), opened)), records };
                        }
                        Some('"') if rest.next_if_eq(&'"').is_some() => field.push('"'),
                        Some('"') => break,
                        Some(c) => {
                            line += u64::from(c == '\n');
                            field.push(c);
                        }
                    }
                }
            }
            while let Some(c) = rest.next_if(|c| *c != delimiter && *c != '\n' && *c != '\r') {
                field.push(c);
            }
            fields.push(field);
            if rest.next_if_eq(&delimiter).is_none() {
                break;
            }
        }
        if let Some(c) = rest.next() {
            if c == '\r' {
                rest.next_if_eq(&'\n');
            }
            line += 1;
        }
        records.push((begin, fields));
    }
}
