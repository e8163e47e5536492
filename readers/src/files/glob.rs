//! Patterns of names: `*`, `?`, `[a-z]`, `[!a]` and `{a,b}` within a name, `**` for any folders.

/// The alternatives a pattern may have in braces, all told.
const ALTERNATIVES_MAX: usize = 10_000;

/// Whether a name has letters that may mean a pattern.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// The patterns without braces that a pattern with braces stands for, in order; at most
/// `ALTERNATIVES_MAX`. Braces without a comma, or without their partner, are letters.
pub fn expanded(pattern: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_string()];
    while let Some(pattern) = open.pop() {
        if done.len() + open.len() >= ALTERNATIVES_MAX {
            break;
        }
        match alternatives(&pattern) {
            None => done.push(pattern),
            Some((before, choices, after)) => {
                let next = choices.iter().rev().map(|choice| format!("{before}{choice}{after}"));
                open.extend(next.collect::<Vec<_>>());
            }
        }
    }
    done
}

/// The first braces with a comma: what is before, the choices, and what is behind.
fn alternatives(pattern: &str) -> Option<(&str, Vec<&str>, &str)> {
    for (start, _) in pattern.match_indices('{') {
        let inside = pattern.get(start + 1..)?;
        let (mut depth, mut commas) = (0, Vec::new());
        for (at, letter) in inside.char_indices() {
            match letter {
                '{' => depth += 1,
                ',' if depth == 0 => commas.push(at),
                '}' if depth > 0 => depth -= 1,
                '}' if commas.is_empty() => break,
                '}' => {
                    let mut choices = Vec::new();
                    let mut from = 0;
                    for comma in commas {
                        choices.push(inside.get(from..comma)?);
                        from = comma + 1;
                    }
                    choices.push(inside.get(from..at)?);
                    return Some((pattern.get(..start)?, choices, inside.get(at + 1..)?));
                }
                _ => {}
            }
        }
    }
    None
}

/// Whether a name, which is one part of a path, fits a pattern without braces.
pub fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut read) = (0, 0);
    // Where the last star was, and what of the name it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(at), name.get(read)) {
            (None, None) => return true,
            (Some('*'), _) => {
                star = Some((at + 1, read));
                at += 1;
                continue;
            }
            (Some('?'), Some(_)) => Some(at + 1),
            (Some('['), Some(letter)) => in_class(&pattern, at, *letter),
            (Some(wanted), Some(letter)) if wanted == letter => Some(at + 1),
            _ => None,
        };
        match (step, star) {
            (Some(next), _) => {
                at = next;
                read += 1;
            }
            (None, Some((behind, taken))) if taken < name.len() => {
                star = Some((behind, taken + 1));
                at = behind;
                read = taken + 1;
            }
            _ => return false,
        }
    }
}

/// The place behind the class that begins at `start`, if the letter is in it. A bracket that is
/// never closed is a letter.
fn in_class(pattern: &[char], start: usize, letter: char) -> Option<usize> {
    let negated = matches!(pattern.get(start + 1), Some('!' | '^'));
    let first = start + 1 + usize::from(negated);
    // A bracket right at the beginning is a member.
    let end = (first + 1..pattern.len()).find(|at| pattern.get(*at) == Some(&']'));
    let Some(end) = end else {
        return (letter == '[').then_some(start + 1);
    };
    let members = pattern.get(first..end)?;
    let (mut at, mut found) = (0, false);
    while let Some(member) = members.get(at) {
        match (members.get(at + 1), members.get(at + 2)) {
            (Some('-'), Some(last)) => {
                found |= (*member..=*last).contains(&letter);
                at += 3;
            }
            _ => {
                found |= *member == letter;
                at += 1;
            }
        }
    }
    (found != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plain definition, by trying everything.
    fn slow(pattern: &[char], name: &[char]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => (0..=name.len()).any(|taken| slow(rest, &name[taken..])),
            (Some(('?', rest)), Some((_, left))) => slow(rest, left),
            (Some((wanted, rest)), Some((letter, left))) => wanted == letter && slow(rest, left),
            _ => false,
        }
    }

    #[test]
    fn stars_fit_as_the_plain_definition_says() {
        let letters = ['a', 'b', '*', '?'];
        let words = |length: u32, base: usize| {
            (0..base.pow(length)).map(move |number| {
                (0..length).map(|at| letters[number / base.pow(at) % base]).collect::<String>()
            })
        };
        for pattern in (0..5).flat_map(|length| words(length, 4)) {
            for name in (0..5).flat_map(|length| words(length, 2)) {
                let (left, right): (Vec<char>, Vec<char>) =
                    (pattern.chars().collect(), name.chars().collect());
                assert_eq!(fits(&pattern, &name), slow(&left, &right), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn classes_hold_letters_and_ranges() {
        for (pattern, name, is) in [
            ("[abc].csv", "b.csv", true),
            ("[a-c].csv", "d.csv", false),
            ("[!a-c].csv", "d.csv", true),
            ("[]x].csv", "].csv", true),
            ("run [1]", "run 1", true),
            ("run [1", "run [1", true),
            ("x[[]1]", "x[1]", true),
        ] {
            assert_eq!(fits(pattern, name), is, "{pattern} {name}");
        }
    }

    #[test]
    fn braces_stand_for_each_choice() {
        assert_eq!(expanded("{a,b}/{c,d{1,2}}"), ["a/c", "a/d1", "a/d2", "b/c", "b/d1", "b/d2"]);
        assert_eq!(expanded("x{1}.csv"), ["x{1}.csv"]);
        assert_eq!(expanded("x{a,b"), ["x{a,b"]);
        assert_eq!(expanded("{a}{b,c}"), ["{a}b", "{a}c"]);
    }
}
