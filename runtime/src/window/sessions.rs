//! Sessions of static rows: a sort and one pass, where a stream merges row by row.

use super::{Window, WindowKind, check_time};
use crate::{Error, Result};

/// Of each row the session that it is in, for rows in any order. `keys` has one key for each row;
/// `&[(); n]` is one key for all. In a stream the rows of a key that lie less than the gap apart,
/// one after another, come to the same sessions. O(n log n).
///
/// # Errors
/// [`Error::Data`] for a time outside of [`super::TIMES_US`], [`Error::Option`] for a gap that
/// can't be, [`Error::Bug`] for another number of keys than of rows.
pub fn sessions_of<K: Ord>(gap_us: i64, times_us: &[i64], keys: &[K]) -> Result<Vec<Window>> {
    WindowKind::Session { gap_us }.check()?;
    if keys.len() != times_us.len() {
        return Err(Error::Bug(format!("{} rows with {} keys", times_us.len(), keys.len())));
    }
    times_us.iter().try_for_each(|time_us| check_time(*time_us))?;

    let mut order: Vec<usize> = (0..times_us.len()).collect();
    order.sort_unstable_by(|&a, &b| keys[a].cmp(&keys[b]).then(times_us[a].cmp(&times_us[b])));
    let is_one_session =
        |a: &usize, b: &usize| keys[*a] == keys[*b] && times_us[*b] - times_us[*a] < gap_us;

    let mut sessions = vec![Window { end_us: 0, start_us: 0 }; times_us.len()];
    for session in order.chunk_by(is_one_session) {
        if let (Some(&first), Some(&last)) = (session.first(), session.last()) {
            let window = Window { start_us: times_us[first], end_us: times_us[last] + gap_us };
            session.iter().for_each(|&row| sessions[row] = window);
        }
    }
    Ok(sessions)
}
