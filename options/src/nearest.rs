//! The name that a misspelt one was probably meant to be.

/// The name that is most like the given one; `None` where none is like it. Letters that are
/// missing, added, changed or swapped count, up to one in three.
///
/// ```
/// assert_eq!(sembla_options::nearest(["linger", "topic"], "tpoic"), Some("topic"));
/// assert_eq!(sembla_options::nearest(["linger", "topic"], "colour"), None);
/// ```
pub fn nearest<'a>(known: impl IntoIterator<Item = &'a str>, given: &str) -> Option<&'a str> {
    let given = given.to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&given, name);
    let (distance, name) = known.into_iter().map(|name| (distance(name), name)).min()?;
    (distance * 3 <= name.len().max(3)).then_some(name)
}

/// The line for a key that nobody declared: `what` is the thing that has options, as messages call
/// it.
pub fn unknown<'a>(what: &str, known: impl IntoIterator<Item = &'a str>, given: &str) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let takes = known.join(", ");
    match nearest(known.iter().copied(), given) {
        Some(name) => {
            format!("{what} has no option '{given}'; did you mean '{name}'? It takes {takes}")
        }
        None => format!("{what} has no option '{given}'; it takes {takes}"),
    }
}
