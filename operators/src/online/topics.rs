//! Topics of a stream: clusters whose ids persist ([`super::clusters`]), with the words that they
//! are about.
//!
//! Words are counted by micro-cluster, and counts decay as weights do. So the words of a topic go
//! with its micro-clusters wherever these go when topics merge and split, and each window weighs
//! them again, by c-TF-IDF among the topics that are there. Words of outliers and of forgotten
//! micro-clusters count as the class of no topic.

use std::collections::BTreeMap;

use super::Window;
use super::bytes::{Reader, Writer};
use super::clusters::{ClusterInWindow, ClusterOptions, OnlineClusters};
use crate::error::Result;
use crate::host::{Host, Loan, check};
use crate::topics::representatives::by_vectors;
use crate::topics::{
    ScoredWord, Sparse, TopicOptions, TopicWords, WordWeights, Words, label, members,
};
use crate::unit::UnitVectors;

/// Whose state it is.
const NAME: &str = "online topics";

/// Counts of words that have decayed below this are forgotten.
const COUNT_MIN: f64 = 0.01;

/// How topics of a stream are found and described.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnlineTopicOptions {
    /// How rows become topics.
    pub clusters: ClusterOptions,
    /// How topics are described.
    pub topics: TopicOptions,
}

/// A topic in a window, or one that is over since the last.
#[derive(Clone, Debug, PartialEq)]
pub struct OnlineTopic {
    /// Its id, event and size.
    pub cluster: ClusterInWindow,
    /// Its words, decayed with their rows, the best first; if it is over, those of its last window.
    pub words: Vec<ScoredWord>,
    /// Its best words in one line.
    pub label: String,
    /// Rows of the window that are nearest to the centre of the topic's rows in it, the best first,
    /// with different texts.
    pub representatives: Vec<u32>,
}

/// What was found in a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WindowTopics {
    /// The topic of each row; `None` for outliers and rows without a direction.
    pub topic_of: Vec<Option<u64>>,
    /// The topics that are there, the heaviest first, then those that are over.
    pub topics: Vec<OnlineTopic>,
}

/// Topics of a stream, window by window.
///
/// Cost: that of [`OnlineClusters`], the words of the window's texts, and a pass over the words of
/// all micro-clusters. Memory: about 24 bytes for each different word of a micro-cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct OnlineTopics {
    options: TopicOptions,
    clusters: OnlineClusters,
    /// By the place of a micro-cluster.
    words: TopicWords,
    /// What was last reported about each topic that is there.
    told: BTreeMap<u64, Vec<ScoredWord>>,
}

impl OnlineTopics {
    /// Before the first window.
    ///
    /// # Errors
    /// [`crate::OperatorError::Option`] for options out of range.
    pub fn new(options: OnlineTopicOptions) -> Result<Self> {
        Words::new(&options.topics.words, &[])?;
        Ok(Self {
            words: TopicWords::new(options.topics.vocabulary_max)?,
            options: options.topics,
            clusters: OnlineClusters::new(options.clusters)?,
            told: BTreeMap::new(),
        })
    }

    /// Takes in a window, its rows in their order.
    ///
    /// # Errors
    /// Vectors of another dimension than those before, not as many texts as vectors, what the host
    /// says. The state is then what it was.
    pub fn step(
        &mut self,
        window: Window,
        texts: &[&str],
        vectors: &UnitVectors,
        host: &dyn Host,
    ) -> Result<WindowTopics> {
        let _grouped = Loan::new(host, 2 * self.words.bytes())?;
        let mut clusters = self.clusters.clone();
        let (advanced, words) = rayon::join(
            || clusters.advance(window, vectors, host),
            || Words::new(&self.options.words, texts),
        );
        let ((found, places), words) = (advanced?, words?);
        let vocabulary_max = self.options.vocabulary_max;
        let (counts, _loan) =
            TopicWords::count(texts, &places.of_row, &words, vocabulary_max, host)?;
        let group = |place: u32| places.group_of.get(place as usize).copied().flatten();
        let groups: Vec<Option<u32>> =
            places.of_row.iter().map(|place| place.and_then(group)).collect();
        let members = members(&groups);
        let wanted = self.options.representatives;
        let representatives = by_vectors(texts, &members, vectors, wanted, host)?;
        let representatives = members.into_keys().zip(representatives).collect();
        check(host)?;
        // From here on nothing fails, so the state is as it was or as it should be.
        self.clusters = clusters;
        let moved = |place: u32| places.moved.get(place as usize).copied().flatten();
        self.words.relabel(moved);
        self.words.scale(places.factor);
        self.words.merge(&counts);
        self.words.forget_below(COUNT_MIN);
        let topics = self.told(found.clusters, group, representatives);
        Ok(WindowTopics { topic_of: found.cluster_of, topics })
    }

    /// What is reported about the clusters of a window. `group` tells of a micro-cluster the place
    /// of its cluster among them.
    fn told(
        &mut self,
        clusters: Vec<ClusterInWindow>,
        group: impl Fn(u32) -> Option<u32>,
        mut representatives: BTreeMap<u32, Vec<u32>>,
    ) -> Vec<OnlineTopic> {
        let weights = WordWeights::grouped(&self.words, group, &self.options.weighting);
        let earlier = std::mem::take(&mut self.told);
        let topics = (0..).zip(clusters).map(|(group, cluster)| {
            let words = if cluster.event.is_alive() {
                weights.top_words(group, self.options.top_words)
            } else {
                earlier.get(&cluster.id).cloned().unwrap_or_default()
            };
            let representatives = representatives.remove(&group).unwrap_or_default();
            OnlineTopic { label: label(&words), cluster, words, representatives }
        });
        let topics: Vec<OnlineTopic> = topics.collect();
        let alive = topics.iter().filter(|topic| topic.cluster.event.is_alive());
        self.told = alive.map(|topic| (topic.cluster.id, topic.words.clone())).collect();
        topics
    }

    /// The state. Equal states give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = Writer::new(NAME);
        to.bytes(&self.clusters.to_bytes());
        let (terms, topics) = self.words.parts();
        to.count(terms.len());
        for (word, texts) in terms {
            to.text(word);
            to.f64(texts);
        }
        to.count(topics.len());
        for (topic, counts) in topics {
            to.option(topic, Writer::u32);
            to.count(counts.len());
            for (id, count) in counts {
                to.u32(id);
                to.f64(count);
            }
        }
        to.count(self.told.len());
        for (id, words) in &self.told {
            to.u64(*id);
            to.count(words.len());
            for word in words {
                to.text(&word.word);
                to.f64(word.score);
            }
        }
        to.finish()
    }

    /// The operator with a state that [`Self::to_bytes`] gave.
    ///
    /// # Errors
    /// Options out of range, and [`crate::OperatorError::Data`] for bytes that are damaged or of
    /// another operator or version.
    pub fn from_bytes(options: OnlineTopicOptions, bytes: &[u8]) -> Result<Self> {
        let new = Self::new(options.clone())?;
        let mut from = Reader::new(NAME, bytes)?;
        let clusters = OnlineClusters::from_bytes(options.clusters, from.bytes()?)?;
        let terms = from.list(16, |from| Ok((from.text()?, from.f64()?)))?;
        let topics = from.list(9, |from| {
            let topic = from.option(Reader::u32)?;
            let counts: Sparse = from.list(12, |from| Ok((from.u32()?, from.f64()?)))?;
            Ok((topic, counts))
        })?;
        let words = TopicWords::of_parts(options.topics.vocabulary_max, &terms, topics);
        let words = words.ok_or_else(|| from.wrong("words that can't be"))?;
        let told = from.list(16, |from| {
            let id = from.u64()?;
            let word = |from: &mut Reader<'_>| {
                Ok(ScoredWord { word: from.text()?.to_string(), score: from.f64()? })
            };
            Ok((id, from.list(16, word)?))
        })?;
        from.finish()?;
        Ok(Self { clusters, words, told: told.into_iter().collect(), ..new })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::OperatorError;
    use crate::host::Unbounded;
    use crate::host::tests::Limited;
    use crate::online::bytes::tests::every_damage_is_refused;
    use crate::online::clusters::{Event, Grouping};
    use crate::topics::{StopWords, WordOptions};

    fn options() -> OnlineTopicOptions {
        let words = WordOptions { stop_words: StopWords::None, ..WordOptions::default() };
        OnlineTopicOptions {
            clusters: ClusterOptions {
                threshold: 0.95,
                half_life: Some(100),
                min_weight: 2.0,
                grouping: Grouping::Distance(0.1),
                ..ClusterOptions::default()
            },
            topics: TopicOptions { words, top_words: 3, ..TopicOptions::default() },
        }
    }

    /// A text and the angle of its vector.
    type Row = (&'static str, f32);

    const WINDOWS: [&[Row]; 5] = [
        &[
            ("card stolen", 0.0),
            ("stolen card abroad", 2.0),
            ("rain wind", 90.0),
            ("rain tomorrow", 91.0),
            ("lonely", 200.0),
        ],
        &[("snow rain", 90.0), ("snow", 91.0), ("snow again", 90.0)],
        &[("card lost", 1.0), ("snow rain", 92.0), ("snow", 91.0)],
        &[],
        &[("snow", 91.0), ("snow melts", 92.0)],
    ];

    fn step(topics: &mut OnlineTopics, number: usize, host: &dyn Host) -> Result<WindowTopics> {
        let rows = WINDOWS[number];
        let texts: Vec<&str> = rows.iter().map(|row| row.0).collect();
        let angles = rows.iter().map(|row| row.1.to_radians());
        let vectors = UnitVectors::new(2, angles.flat_map(|a| [a.cos(), a.sin()]).collect())?;
        let start = number as i64 * 100;
        topics.step(Window { start, end: start + 100 }, &texts, &vectors, host)
    }

    fn words(topic: &OnlineTopic) -> Vec<&str> {
        topic.words.iter().map(|word| word.word.as_str()).collect()
    }

    #[test]
    fn words_decay_and_go_with_their_topic() {
        let mut topics = OnlineTopics::new(options()).expect("options");
        let found: Vec<WindowTopics> =
            (0..5).map(|number| step(&mut topics, number, &Unbounded).expect("found")).collect();
        assert_eq!(found[0].topic_of, [Some(0), Some(0), Some(1), Some(1), None]);
        assert_eq!(words(&found[0].topics[0])[..2], ["card", "stolen"]);
        assert_eq!(words(&found[0].topics[1])[0], "rain");
        assert_eq!(found[0].topics[1].label, "rain, tomorrow, wind");
        let mut representatives = found[0].topics[0].representatives.clone();
        representatives.sort_unstable();
        assert_eq!(representatives, [0, 1]);
        // Rain was there before, but snow is what it is about now.
        let weather = &found[1].topics[0];
        assert_eq!((weather.cluster.id, words(weather)[0]), (1, "snow"));
        assert!(words(weather).contains(&"rain"));
        // The topic without rows is still told, with no row that stands for it.
        let card = &found[1].topics[1];
        assert_eq!((card.cluster.size, words(card)[0]), (0, "card"));
        assert!(card.representatives.is_empty());
        // One that is over is told with its last words.
        let over = found[3].topics.last().expect("topics");
        assert_eq!((over.cluster.id, over.cluster.event), (0, Event::Died));
        assert_eq!(words(over)[0], "card");
    }

    /// What a window says equals what one count over decayed texts says.
    #[test]
    fn counts_are_those_of_all_windows_decayed() {
        let mut topics = OnlineTopics::new(options()).expect("options");
        for number in 0..3 {
            step(&mut topics, number, &Unbounded).expect("found");
        }
        let plain = Words::new(&options().topics.words, &[]).expect("options");
        let mut wanted = TopicWords::new(1000).expect("options");
        for (number, rows) in WINDOWS[..3].iter().enumerate() {
            wanted.scale(if number == 0 { 1.0 } else { 0.5 });
            let texts: Vec<&str> = rows.iter().map(|(text, _)| *text).collect();
            // The row alone is forgotten when it weighs a quarter, but not its words.
            let topic = |angle: f32| (angle < 100.0).then_some(u32::from(angle >= 10.0));
            let of_rows: Vec<Option<u32>> = rows.iter().map(|(_, angle)| topic(*angle)).collect();
            let counts = TopicWords::count(&texts, &of_rows, &plain, 1000, &Unbounded);
            wanted.merge(&counts.expect("counts").0);
        }
        let mut found = topics.words.clone();
        found.relabel(|place| (place < 2).then_some(place));
        assert!(found == wanted, "{:?} and {:?}", found.parts(), wanted.parts());
    }

    #[test]
    fn a_state_goes_on_from_its_bytes_and_damage_is_refused() {
        let mut whole = OnlineTopics::new(options()).expect("options");
        let mut cut = whole.clone();
        for number in 0..5 {
            let bytes = cut.to_bytes();
            cut = OnlineTopics::from_bytes(options(), &bytes).expect("a state");
            assert_eq!(cut.to_bytes(), bytes);
            let wanted = step(&mut whole, number, &Unbounded);
            assert_eq!(step(&mut cut, number, &Unbounded), wanted);
        }
        assert_eq!(cut, whole);
        every_damage_is_refused(&cut.to_bytes(), |bytes| {
            OnlineTopics::from_bytes(options(), bytes)
        });
    }

    #[test]
    fn a_window_that_fails_changes_nothing() {
        let mut topics = OnlineTopics::new(options()).expect("options");
        step(&mut topics, 0, &Unbounded).expect("found");
        let before = topics.clone();
        let poor = Limited { limit: 2000, ..Limited::default() };
        assert!(matches!(step(&mut topics, 1, &poor), Err(OperatorError::Memory(_))));
        let cancelled = Limited { limit: usize::MAX, cancelled: true, ..Limited::default() };
        assert_eq!(step(&mut topics, 1, &cancelled), Err(OperatorError::Cancelled));
        assert_eq!(topics, before);
    }
}
