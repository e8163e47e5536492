//! What an exchange hears of event time: the marks of partitions that have moved.

use std::collections::BTreeMap;

use crate::partitions::Partitions;
use crate::watermark::Watermarks;
use crate::{Mark, Standing};

/// What has been told.
#[derive(Debug, Default)]
pub(super) struct ReportedMarks(BTreeMap<i32, Mark>);

impl ReportedMarks {
    /// The marks that differ from what was reported, which are reported now. The first call gives
    /// all partitions, those of other instances too.
    pub(super) fn news(
        &mut self,
        partitions: &Partitions,
        watermarks: &Watermarks,
        now_ms: u64,
    ) -> Vec<Mark> {
        let marks = partitions.all().map(|(source, number, name)| {
            let known = watermarks.standing(source, name, now_ms);
            let (watermark_us, standing) = known.unwrap_or((i64::MIN, Standing::Elsewhere));
            Mark { partition: number, watermark_us, standing }
        });
        marks.filter(|mark| self.0.insert(mark.partition, *mark) != Some(*mark)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watermark::{Ahead, WatermarkRule};
    use crate::{Assignment, Partition};

    #[test]
    fn all_partitions_are_told_once_and_then_what_moves() {
        let names =
            |all: &[&str]| all.iter().map(|name| Partition::from(*name)).collect::<Vec<_>>();
        let assignment = Assignment {
            others: Some(names(&["t/1"])),
            ..Assignment::whole(names(&["t/0", "t/2"]))
        };
        let partitions = Partitions::new(&[assignment]).expect("few");
        let rule = WatermarkRule { delay_us: 5, idle_timeout_ms: Some(100), max_ahead_us: None };
        let mut watermarks = Watermarks::new(vec![rule]);
        watermarks.assign(0, partitions.of(0), 0);
        let mut reported = ReportedMarks::default();
        let mark = |partition, watermark_us, standing| Mark { partition, watermark_us, standing };
        let unknown = i64::MIN;
        assert_eq!(
            reported.news(&partitions, &watermarks, 0),
            [
                mark(0, unknown, Standing::Awake),
                mark(1, unknown, Standing::Elsewhere),
                mark(2, unknown, Standing::Awake)
            ]
        );
        assert_eq!(reported.news(&partitions, &watermarks, 1), []);
        let row = Ahead { time_us: 25, sequence: 0 };
        watermarks.observe(0, &"t/2".into(), [row].into_iter(), 50, None);
        assert_eq!(reported.news(&partitions, &watermarks, 50), [mark(2, 20, Standing::Awake)]);
        assert_eq!(
            reported.news(&partitions, &watermarks, 120),
            [mark(0, unknown, Standing::Idle)]
        );
        watermarks.end(0, &"t/2".into());
        assert_eq!(reported.news(&partitions, &watermarks, 130), [mark(2, 20, Standing::Ended)]);
    }
}
