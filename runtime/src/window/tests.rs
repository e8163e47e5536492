//! Tests of the windows of a time.

use super::*;

fn windows(kind: WindowKind, time_us: i64) -> Vec<(i64, i64)> {
    kind.assign(time_us).unwrap().map(|window| (window.start_us, window.end_us)).collect()
}

#[test]
fn a_row_is_in_every_window_that_spans_it() {
    let hop = WindowKind::Hop { slide_us: 3, size_us: 7, offset_us: 1 };
    assert_eq!(windows(hop, 0), [(-5, 2), (-2, 5)]);
    assert_eq!(windows(hop, 1), [(-5, 2), (-2, 5), (1, 8)]);
    let tumble = WindowKind::Tumble { size_us: 10, offset_us: 0 };
    assert_eq!(windows(tumble, -1), [(-10, 0)]);
    assert_eq!(windows(tumble, 0), [(0, 10)]);
    assert_eq!(windows(WindowKind::Session { gap_us: 4 }, -3), [(-3, 1)]);
}

/// Tries every start near the time.
#[test]
fn assignment_is_as_the_definition_says() {
    for (slide_us, size_us) in [(1, 1), (1, 5), (3, 7), (4, 4), (5, 10), (6, 11)] {
        for offset_us in [-13, -1, 0, 2, 100] {
            let kind = WindowKind::Hop { slide_us, size_us, offset_us };
            for time_us in -40..40 {
                let starts = (-1000..1000).map(|n| offset_us + n * slide_us);
                let expected: Vec<_> = starts
                    .filter(|start| (*start..start + size_us).contains(&time_us))
                    .map(|start| (start, start + size_us))
                    .collect();
                assert_eq!(windows(kind, time_us), expected, "{kind:?} {time_us}");

                let slice = kind.grid().slice_start(time_us);
                assert!(slice <= time_us);
                let edges = |time| windows(kind, time);
                assert!((slice..time_us).all(|time| edges(time) == expected), "one slice");
                assert_ne!(edges(slice - 1), expected, "{kind:?} {time_us}: a slice is not cut");
            }
        }
    }
}

#[test]
fn the_edges_of_time_do_not_overflow() {
    let longest = [
        WindowKind::Tumble { size_us: LENGTH_MAX_US, offset_us: -LENGTH_MAX_US },
        WindowKind::Hop { slide_us: LENGTH_MAX_US, size_us: LENGTH_MAX_US, offset_us: 1 },
        WindowKind::Session { gap_us: LENGTH_MAX_US },
    ];
    for kind in longest {
        for time_us in [*TIMES_US.start(), *TIMES_US.end()] {
            let spans = |window: Window| (window.start_us..window.end_us).contains(&time_us);
            assert!(kind.assign(time_us).unwrap().all(spans));
        }
        for time_us in [i64::MIN, i64::MAX, TIMES_US.start() - 1, TIMES_US.end() + 1] {
            let message = kind.assign(time_us).err().unwrap().to_string();
            assert!(message.contains(&time_us.to_string()) && message.contains("years"));
        }
    }
}

#[test]
fn windows_that_can_not_be_are_refused() {
    let wrong = [
        (WindowKind::Tumble { size_us: 0, offset_us: 0 }, "size must be longer than 0"),
        (WindowKind::Tumble { size_us: 1, offset_us: i64::MIN }, "offset"),
        (WindowKind::Hop { slide_us: -1, size_us: 5, offset_us: 0 }, "slide must be longer than 0"),
        (WindowKind::Hop { slide_us: 1, size_us: i64::MAX, offset_us: 0 }, "size"),
        (WindowKind::Hop { slide_us: 6, size_us: 5, offset_us: 0 }, "at most its size"),
        (WindowKind::Hop { slide_us: 1, size_us: 10_001, offset_us: 0 }, "10001 windows"),
        (WindowKind::Session { gap_us: 0 }, "gap must be longer than 0"),
    ];
    for (kind, part) in wrong {
        let error = kind.check().unwrap_err();
        assert!(matches!(&error, Error::Option(message) if message.contains(part)), "{error}");
        assert!(kind.assign(0).is_err());
    }
    assert!(WindowKind::Hop { slide_us: 1, size_us: 10_000, offset_us: 0 }.check().is_ok());
}

#[test]
fn sessions_end_where_a_key_is_silent_for_the_gap() {
    let times = [14, 0, 9, 5, 19, 100];
    let keys = ["a", "a", "b", "a", "b", "a"];
    let sessions = sessions_of(10, &times, &keys).unwrap();
    let bounds: Vec<_> = sessions.iter().map(|w| (w.start_us, w.end_us)).collect();
    // b's rows are exactly the gap apart.
    assert_eq!(bounds, [(0, 24), (0, 24), (9, 19), (0, 24), (19, 29), (100, 110)]);
    assert!(sessions_of::<()>(10, &[], &[]).unwrap().is_empty());
    assert!(sessions_of(10, &[1], &[(), ()]).is_err());
    assert!(sessions_of(10, &[i64::MAX], &[()]).is_err());
}
