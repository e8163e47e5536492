//! The bound of event times ahead of the others, which all sources have.

use sembla_runtime::{Error, Result};

use crate::options::{Kind, OptionDef, Options, parse_time};

/// How far ahead a single row may be and still move the watermark; sources have it.
pub(crate) const MAX_AHEAD: OptionDef = OptionDef::new(
    "max_ahead",
    Kind::Text,
    "how far ahead of earlier rows (and of the clock, in a live stream) the event time of one row may be and still \
     advance the watermark: a time, or none for no limit",
)
.or("1 day");

/// The value of [`MAX_AHEAD`] in microseconds; `None` for no bound.
///
/// # Errors
/// [`Error::Option`] for what is neither a time nor `none`.
pub(crate) fn max_ahead_us(options: &Options) -> Result<Option<i64>> {
    let text = options.text(MAX_AHEAD.key)?.trim();
    if text.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    let time = parse_time(text).and_then(|time| i64::try_from(time.as_micros()).ok());
    let time = time.filter(|time| *time > 0);
    time.map(Some).ok_or_else(|| {
        Error::Option(format!(
            "{} must be a time such as '1 h' or '1 day', or 'none', got '{text}'",
            MAX_AHEAD.key
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_event_times_is_a_time_or_none() {
        let read = |text: &str| {
            let given = [("max_ahead".to_string(), text.to_string())];
            max_ahead_us(&Options::read("a source", &[MAX_AHEAD], &given)?)
        };
        assert_eq!(read("2 h"), Ok(Some(7_200_000_000)));
        assert_eq!(read("None"), Ok(None));
        let none_given = Options::read("a source", &[MAX_AHEAD], &[]).expect("options");
        assert_eq!(max_ahead_us(&none_given), Ok(Some(86_400_000_000)));
        for bad in ["0 s", "soon", "1", "-1 h"] {
            let line = read(bad).expect_err(bad).to_string();
            assert!(line.ends_with(&format!("'1 day', or 'none', got '{bad}'")), "{line}");
        }
    }
}
