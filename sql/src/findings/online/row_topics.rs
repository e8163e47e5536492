//! `online_topics(windows)`: topics whose ids go on from window to window.

use super::clusters::numbered;
use super::options::online_cluster_options;
use crate::findings::topics::options::{
    NGRAMS, REDUCE_FREQUENT_WORDS, STOP_WORDS, WORDS, described,
};
use crate::relations::declaration::{Declaration, WINDOWS};

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "online_topics",
    about: "The topic of each row, window by window: window_start, window_end, id, topic_id (stable from window to \
            window, never reused; NULL for outliers and for rows without a vector), and the other columns. \
            online_topic_table with the same options describes the topics and how they change; options about words have no \
            effect here.",
    example: "SELECT window_end, topic_id, text FROM online_topics((SELECT * FROM tumble(messages, ts, INTERVAL '10 minutes')))",
    inputs: &[WINDOWS],
    options: online_cluster_options!(WORDS, NGRAMS, STOP_WORDS, REDUCE_FREQUENT_WORDS),
    carries: true,
    takes_index: false,
    plan: |planning| {
        described(planning.options)?;
        numbered("topic_id", planning)
    },
};
