//! The kinds of tasks: what each measures, and which tables and columns it takes. Names of columns
//! say what they are.

use arrow::datatypes::{DataType, Schema};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};
use crate::train::TEXTS;

/// A kind of task, as MTEB has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Semantic textual similarity.
    Sts,
    /// Pairs that belong together, and pairs that don't.
    Pairs,
    /// Texts with labels that clusters should agree with.
    Clustering,
    /// Texts with labels that a linear classifier learns from few of them.
    Classify,
    /// Sentences and their translations.
    Bitext,
    /// Queries, documents, and which of those are relevant.
    Retrieval,
    /// Queries, each with its own candidates.
    Rerank,
}

/// What is known of a kind.
#[derive(Debug)]
pub struct KindDef {
    /// The kind.
    pub kind: Kind,
    /// Its name in suites.
    pub name: &'static str,
    /// What is measured, from 0 (Spearman: -1) to 1.
    pub measure: &'static str,
    /// What it asks of a model, for people.
    pub about: &'static str,
    /// The tables that it takes: any of these sets.
    pub forms: &'static [&'static [Part]],
}

/// A table of a task.
#[derive(Debug)]
pub struct Part {
    /// Its key in a suite.
    pub name: &'static str,
    /// Its columns.
    pub roles: &'static [Role],
}

/// A column of a table.
#[derive(Debug)]
pub struct Role {
    /// What messages call it, one of the names.
    pub shown: &'static str,
    /// Names that a column of this role may have.
    pub names: &'static [&'static str],
    /// What it holds.
    pub takes: Takes,
    /// Whether the table can do without.
    pub is_optional: bool,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Texts.
    Text,
    /// Numbers.
    Number,
    /// Booleans, or numbers 0 and 1.
    Flag,
    /// Texts or whole numbers that name something.
    Key,
}

const fn role(names: &'static [&'static str], takes: Takes) -> Role {
    Role { shown: names[0], names, takes, is_optional: false }
}

const fn optional(names: &'static [&'static str], takes: Takes) -> Role {
    Role { shown: names[0], names, takes, is_optional: true }
}

const SCORE: &[&str] = &["score", "similarity", "label", "similarity_score"];
const LABEL: &[&str] = &["label", "labels", "category", "class", "topic"];
const IS_PAIR: &[&str] = &["label", "labels", "is_duplicate", "is_paraphrase", "score"];
const RELEVANCE: &[&str] = &["score", "relevance", "label", "grade"];
const QUERY: &[&str] = &["query", "question", "anchor", "text1", "sentence1", "qtext"];
const DOCUMENT: &[&str] =
    &["document", "passage", "answer", "positive", "text2", "sentence2", "atext", "text"];

/// The first and the second text of a pair.
const FIRST: Role =
    Role { shown: "sentence1", names: TEXTS[0], takes: Takes::Text, is_optional: false };
const SECOND: Role =
    Role { shown: "sentence2", names: TEXTS[1], takes: Takes::Text, is_optional: false };

/// The text of a row with a label.
const TEXT: Role = role(&["text", "sentence", "sentences", "document"], Takes::Text);

/// All kinds.
pub const KINDS: &[KindDef] = &[
    KindDef {
        kind: Kind::Sts,
        name: "sts",
        measure: "Spearman",
        about: "pairs of sentences are as similar as people say",
        forms: &[&[Part { name: "data", roles: &[FIRST, SECOND, role(SCORE, Takes::Number)] }]],
    },
    KindDef {
        kind: Kind::Pairs,
        name: "pairs",
        measure: "average precision",
        about: "pairs that belong together are more similar than others",
        forms: &[&[Part { name: "data", roles: &[FIRST, SECOND, role(IS_PAIR, Takes::Flag)] }]],
    },
    KindDef {
        kind: Kind::Clustering,
        name: "clustering",
        measure: "V-measure",
        about: "clusters of the vectors agree with labels",
        forms: &[&[Part { name: "data", roles: &[TEXT, role(LABEL, Takes::Key)] }]],
    },
    KindDef {
        kind: Kind::Classify,
        name: "classify",
        measure: "accuracy",
        about: "a linear classifier that is shown eight texts of each label knows the others",
        forms: &[
            &[Part {
                name: "data",
                roles: &[TEXT, role(LABEL, Takes::Key), optional(&["split"], Takes::Key)],
            }],
            &[
                Part { name: "train", roles: &[TEXT, role(LABEL, Takes::Key)] },
                Part { name: "test", roles: &[TEXT, role(LABEL, Takes::Key)] },
            ],
        ],
    },
    KindDef {
        kind: Kind::Bitext,
        name: "bitext",
        measure: "F1",
        about: "the nearest sentence of the other language is the translation",
        forms: &[&[Part { name: "data", roles: &[FIRST, SECOND] }]],
    },
    KindDef {
        kind: Kind::Retrieval,
        name: "retrieval",
        measure: "nDCG@10",
        about: "relevant documents come first in a search",
        forms: &[
            &[Part {
                name: "data",
                roles: &[
                    role(QUERY, Takes::Text),
                    role(DOCUMENT, Takes::Text),
                    optional(RELEVANCE, Takes::Number),
                ],
            }],
            &[
                Part {
                    name: "queries",
                    roles: &[
                        role(&["id", "_id", "query_id", "qid"], Takes::Key),
                        role(&["text", "query", "question"], Takes::Text),
                    ],
                },
                Part {
                    name: "corpus",
                    roles: &[
                        role(&["id", "_id", "corpus_id", "document_id", "doc_id"], Takes::Key),
                        role(&["text", "document", "passage"], Takes::Text),
                        optional(&["title"], Takes::Text),
                    ],
                },
                Part {
                    name: "relevant",
                    roles: &[
                        role(&["query_id", "query-id", "qid"], Takes::Key),
                        role(&["corpus_id", "corpus-id", "document_id", "doc_id"], Takes::Key),
                        optional(RELEVANCE, Takes::Number),
                    ],
                },
            ],
        ],
    },
    KindDef {
        kind: Kind::Rerank,
        name: "rerank",
        measure: "MAP",
        about: "of the candidates of a query the relevant ones come first",
        forms: &[&[Part {
            name: "data",
            roles: &[
                role(QUERY, Takes::Text),
                role(DOCUMENT, Takes::Text),
                role(RELEVANCE, Takes::Number),
            ],
        }]],
    },
];

impl Kind {
    /// What is known of it.
    pub fn def(self) -> &'static KindDef {
        // Each kind is on the list, as a test says; the first would stand in for one that is not.
        KINDS.iter().find(|def| def.kind == self).unwrap_or(&KINDS[0])
    }

    /// The kind of a name.
    ///
    /// # Errors
    /// An unknown name, with those that are known.
    pub fn named(name: &str) -> Result<Self> {
        let found = KINDS.iter().find(|def| def.name.eq_ignore_ascii_case(name));
        found.map(|def| def.kind).ok_or_else(|| {
            Failure::user(format!("unknown kind of task '{name}'; kinds: {}", names()))
        })
    }
}

/// The names of all kinds.
pub fn names() -> String {
    KINDS.iter().map(|def| def.name).collect::<Vec<_>>().join(", ")
}

impl Takes {
    /// Whether a column of that type can be read so.
    fn fits(self, kind: &DataType) -> bool {
        let is_text = matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
            || matches!(kind, DataType::Dictionary(_, of) if **of == DataType::Utf8);
        match self {
            Self::Text => is_text,
            Self::Number => kind.is_numeric(),
            Self::Flag => kind.is_numeric() || *kind == DataType::Boolean,
            Self::Key => is_text || kind.is_integer() || *kind == DataType::Boolean,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Flag => "true or false, or 1 or 0",
            Self::Key => "a text or a whole number",
        }
    }
}

impl Part {
    /// The place of the column of each role; `None` where there is none.
    ///
    /// # Errors
    /// A role without a column, or with one of another type; `what` is what messages call the
    /// table.
    pub fn columns(&self, schema: &Schema, what: &str) -> Result<Vec<Option<usize>>> {
        let mut taken = Vec::new();
        let mut columns = Vec::new();
        for role in self.roles {
            let place = role.find(schema, &taken);
            match place {
                Some(place) if role.takes.fits(schema.field(place).data_type()) => {}
                Some(place) => {
                    return Err(Failure::user(format!(
                        "{what}: column '{}' must be {}, got {}",
                        schema.field(place).name(),
                        role.takes.words(),
                        schema.field(place).data_type()
                    )));
                }
                None if role.is_optional => {}
                None => return Err(self.missing(schema, what)),
            }
            taken.extend(place);
            columns.push(place);
        }
        Ok(columns)
    }

    /// Whether a table has all columns that this one needs.
    fn fits(&self, schema: &Schema) -> bool {
        let mut taken = Vec::new();
        self.roles.iter().all(|role| {
            let place = role.find(schema, &taken);
            taken.extend(place);
            match place {
                Some(place) => role.takes.fits(schema.field(place).data_type()),
                None => role.is_optional,
            }
        })
    }

    fn missing(&self, schema: &Schema, what: &str) -> Failure {
        let has: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let fitting = KINDS
            .iter()
            .filter(|def| def.forms.iter().any(|form| form.len() == 1 && form[0].fits(schema)));
        let fitting: Vec<&str> = fitting.map(|def| def.name).collect();
        let fix = match (self.name, fitting.is_empty()) {
            ("data", false) => format!("; kinds that take these: {}", fitting.join(", ")),
            _ => "; name columns in a query, as in SELECT title AS text".to_string(),
        };
        Failure::user(format!(
            "{what} has columns {}, but needs {}{fix}",
            has.join(", "),
            self.needs()
        ))
    }

    /// The columns that it takes, for messages.
    pub fn needs(&self) -> String {
        let needed = self.roles.iter().filter(|role| !role.is_optional);
        needed.map(|role| role.shown).collect::<Vec<_>>().join(", ")
    }
}

impl Role {
    /// The first column with one of the names, in the order of the names.
    fn find(&self, schema: &Schema, taken: &[usize]) -> Option<usize> {
        let place = |name: &&str| {
            let is_it = |(place, field): &(usize, &std::sync::Arc<arrow::datatypes::Field>)| {
                !taken.contains(place) && field.name().eq_ignore_ascii_case(name)
            };
            schema.fields().iter().enumerate().find(is_it).map(|(place, _)| place)
        };
        self.names.iter().find_map(place)
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        let field = |(name, kind): &(&str, DataType)| Field::new(*name, kind.clone(), true);
        Schema::new(columns.iter().map(field).collect::<Vec<_>>())
    }

    const PAIRS: [(&str, DataType); 3] =
        [("query", DataType::Utf8), ("answer", DataType::Utf8), ("label", DataType::Int64)];

    fn data(kind: Kind) -> &'static Part {
        &kind.def().forms[0][0]
    }

    #[test]
    fn each_kind_is_on_the_list_under_its_name() {
        for def in KINDS {
            assert_eq!(Kind::named(def.name).expect("known"), def.kind);
            assert_eq!(def.kind.def().name, def.name);
        }
        let message = Kind::named("stss").expect_err("unknown").message().expect("words");
        assert!(message.contains("unknown kind of task 'stss'; kinds: sts, pairs"), "{message}");
    }

    #[test]
    fn columns_are_found_by_their_names_in_any_case_and_order() {
        let schema = schema(&[
            ("Score", DataType::Float64),
            ("sentence2", DataType::Utf8View),
            ("other", DataType::Int64),
            ("SENTENCE1", DataType::Utf8),
        ]);
        let columns = data(Kind::Sts).columns(&schema, "x").expect("found");
        assert_eq!(columns, [Some(3), Some(1), Some(0)]);
    }

    #[test]
    fn a_mismatch_says_what_is_missing_and_what_would_fit() {
        let refused = |kind: Kind, schema: &Schema| {
            let failure = data(kind).columns(schema, "task 'x' (data)").expect_err("refused");
            failure.message().expect("words")
        };
        let message = refused(Kind::Bitext, &schema(&[("query", DataType::Utf8)]));
        assert!(message.contains("task 'x' (data) has columns query, but needs"), "{message}");
        let message = refused(Kind::Clustering, &schema(&[("query", DataType::Utf8)]));
        assert!(message.contains("needs text, label; name columns in a query"), "{message}");
        let rated = schema(&[("anchor", DataType::Utf8), ("score", DataType::Float64)]);
        assert!(refused(Kind::Sts, &rated).contains("needs sentence1"));
        let message = refused(Kind::Clustering, &schema(&PAIRS));
        assert!(message.contains("; kinds that take these: sts, pairs, bitext"), "{message}");
        let texts = schema(&[("words", DataType::Utf8), ("label", DataType::Utf8)]);
        assert!(refused(Kind::Clustering, &texts).contains("needs text, label; name columns"));
        let typed = schema(&[("text", DataType::Utf8), ("label", DataType::Float64)]);
        let message = refused(Kind::Clustering, &typed);
        assert!(message.contains("column 'label' must be a text or a whole number"), "{message}");
    }
}
