//! What is declared about a finding once: its inputs, its options, and what it says of itself.
//!
//! The check of names and values, EXPLAIN, the error messages and `SHOW FUNCTIONS` all read it
//! here.

use std::sync::Arc;

use super::finding::Finding;
use super::options::{OptionDef, OptionKind, OptionValue, OptionValues};
use super::roles::InputTypes;
use super::row_filter::RowFilter;
use crate::SqlError;
use crate::engine::Models;
use crate::engine::indexes::Index;

/// Whether a finding uses the texts or the vectors of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Never.
    No,
    /// Where the input has them.
    IfThere,
    /// Always; an input without them is a mistake, and vectors are made of texts.
    Must,
    /// Always, unless an option is given; where the input has them then.
    MustUnless(&'static str),
}

/// An input of a finding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputDef {
    /// Its name: the first input has it for the reader only, further ones are given by it.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) about: &'static str,
    /// Whether it must be given.
    pub(crate) required: bool,
    /// Whether the texts themselves are used, apart from being embedded.
    pub(crate) texts: Need,
    /// Whether vectors are used.
    pub(crate) vectors: Need,
    /// The option that names the prompt its texts are embedded with.
    pub(crate) prompt: &'static str,
    /// The prompt where the option is not given.
    pub(crate) default_prompt: Option<&'static str>,
    /// The option that gives one text or vector in place of the input.
    pub(crate) single: Option<&'static str>,
    /// Whether each of its rows is answered by itself, so that it can be a stream.
    pub(crate) by_row: bool,
    /// Whether it is read piece by piece, since nothing is made of two of its rows: rows have no
    /// ids then, and there are no groups of them.
    pub(crate) one_by_one: bool,
    /// Columns that are known by these names, for an input that is no table of texts or vectors.
    pub(crate) columns: &'static [&'static str],
    /// Whether its rows come window by window, so that it has the columns of windows.
    pub(crate) windowed: bool,
    /// What the names of its other columns begin with in the result, for a further input whose
    /// columns go along too.
    pub(crate) carried_as: Option<&'static str>,
}

/// An input whose vectors are compared, with the options that most findings have.
pub(crate) const VECTORS: InputDef = InputDef {
    name: "input",
    about: "A table, file or query.",
    required: true,
    texts: Need::No,
    vectors: Need::Must,
    prompt: "prompt",
    default_prompt: None,
    single: None,
    by_row: false,
    one_by_one: false,
    columns: &[],
    windowed: false,
    carried_as: None,
};

/// The input of a finding that goes from window to window.
pub(crate) const WINDOWS: InputDef = InputDef {
    about: "A tumble, hop or session window, or any query with window_start and window_end.",
    windowed: true,
    ..VECTORS
};

/// What a finding gets to know when it is planned.
pub(crate) struct Planning<'a> {
    /// The finding's name, for messages.
    pub(crate) name: &'static str,
    /// The values of its options.
    pub(crate) options: &'a OptionValues,
    /// The inputs that were given, in the order of the declaration; `None` where one was left out.
    pub(crate) inputs: &'a [Option<InputTypes>],
    /// The columns that options name, by option, where they are names and not expressions.
    pub(crate) names: &'a [(&'static str, String)],
    /// The models.
    pub(crate) models: &'a Models,
    /// The index that stands in the place of the first input, if one does.
    pub(crate) index: Option<&'a Arc<Index>>,
    /// What its rows have to meet, if something.
    pub(crate) filter: Option<Arc<RowFilter>>,
}

/// A finding: what it takes, and how it is made.
#[derive(Debug)]
pub(crate) struct Declaration {
    /// Its name in SQL.
    pub(crate) name: &'static str,
    /// What comes out.
    pub(crate) about: &'static str,
    /// A query that shows it.
    pub(crate) example: &'static str,
    /// Its inputs; the first is given without a name.
    pub(crate) inputs: &'static [InputDef],
    /// Its own options.
    pub(crate) options: &'static [OptionDef],
    /// Whether the other columns of the first input go along with each row that is found.
    pub(crate) carries: bool,
    /// Whether an index can stand in the place of the first input.
    pub(crate) takes_index: bool,
    /// Checks the options against each other and makes the finding.
    pub(crate) plan: fn(&Planning<'_>) -> Result<Arc<dyn Finding>, SqlError>,
}

const ID: OptionDef = OptionDef {
    name: "id",
    kind: OptionKind::Column,
    about: "Column with the id of a row; 'id' if there is one, else rows are numbered from 0.",
};
const TEXT: OptionDef = OptionDef {
    name: "text",
    kind: OptionKind::Column,
    about: "Column with the texts; 'text' if there is one, else the only column of strings.",
};
const VECTOR: OptionDef = OptionDef {
    name: "vector",
    kind: OptionKind::Column,
    about: "Column with the vectors; 'embedding' or 'vector' if there is one, else the only column of vectors. Without one, texts are embedded.",
};
const MODEL: OptionDef = OptionDef {
    name: "model",
    kind: OptionKind::Text,
    about: "Embedding model; the session's default model if none is named.",
};
const PARTITION_BY: OptionDef = OptionDef {
    name: "partition_by",
    kind: OptionKind::Columns,
    about: "A column, or several in parentheses: each group of equal values is processed separately.",
};

impl Declaration {
    /// Whether it goes from window to window with a state.
    pub(crate) fn is_online(&self) -> bool {
        self.inputs.iter().any(|input| input.windowed)
    }

    /// Whether its input is read piece by piece.
    pub(crate) fn is_one_by_one(&self) -> bool {
        self.inputs.iter().any(|input| input.one_by_one)
    }

    /// The input of that name.
    pub(crate) fn input(&self, name: &str) -> Option<(usize, &'static InputDef)> {
        self.inputs.iter().enumerate().find(|(_, input)| input.name.eq_ignore_ascii_case(name))
    }

    /// The input that an option gives as one value.
    pub(crate) fn single(&self, name: &str) -> Option<(usize, &'static InputDef)> {
        let is_it = |input: &InputDef| input.single.is_some_and(|s| s.eq_ignore_ascii_case(name));
        self.inputs.iter().enumerate().find(|(_, input)| is_it(input))
    }

    /// All options, its own and those that its inputs bring.
    pub(crate) fn all_options(&self) -> Vec<OptionDef> {
        let uses = |need: fn(&InputDef) -> Need| self.inputs.iter().any(|i| need(i) != Need::No);
        let vectors = uses(|input| input.vectors);
        let named = self.inputs.iter().all(|input| !input.columns.is_empty());
        let mut all = if named || self.is_one_by_one() { Vec::new() } else { vec![ID] };
        if vectors || uses(|input| input.texts) {
            all.push(TEXT);
        }
        if vectors {
            all.extend([VECTOR, MODEL]);
            for input in self.inputs {
                if all.iter().all(|option| option.name != input.prompt) {
                    all.push(OptionDef {
                        name: input.prompt,
                        kind: OptionKind::Text,
                        about: "Prompt of the model to put before each text: 'query', 'document' or the name of one it has; NULL or '' for none.",
                    });
                }
            }
        }
        if !self.is_online() && !self.is_one_by_one() {
            all.push(PARTITION_BY);
        }
        all.extend_from_slice(self.options);
        all
    }

    /// The option of that name.
    pub(crate) fn option(&self, name: &str) -> Option<OptionDef> {
        self.all_options().into_iter().find(|option| option.name.eq_ignore_ascii_case(name))
    }

    /// Whether an option names a prompt.
    pub(crate) fn is_prompt(&self, option: &str) -> bool {
        self.inputs.iter().any(|input| input.prompt == option)
    }

    /// The names of everything that can be given by name.
    pub(crate) fn names(&self) -> Vec<String> {
        let further = self.inputs.iter().skip(1).map(|input| input.name);
        let single = self.inputs.iter().filter_map(|input| input.single);
        let options = self.all_options();
        single
            .chain(further)
            .map(str::to_string)
            .chain(options.iter().map(|option| option.name.to_string()))
            .collect()
    }

    /// How it is called, with the defaults of its options.
    pub(crate) fn usage(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        for (position, input) in self.inputs.iter().enumerate() {
            if position == 0 {
                parts.push(input.name.to_string());
            }
            parts.extend(input.single.map(|single| format!("{single} => …")));
            if position > 0 {
                parts.push(format!("{} => …", input.name));
            }
        }
        parts.extend(self.all_options().iter().map(|option| match option.kind.default_value() {
            Some(OptionValue::Text(word)) => format!("{} => '{word}'", option.name),
            Some(value) => format!("{} => {value}", option.name),
            None => format!("{} => …", option.name),
        }));
        format!("{}({})", self.name, parts.join(", "))
    }

    /// What comes out, what goes in, and a query that shows it.
    pub(crate) fn documentation(&self) -> String {
        let inputs = self.inputs.iter().map(|input| (input.name, input.about));
        let options = self.all_options();
        let options = options.iter().map(|option| (option.name, option.about));
        let parts: Vec<String> =
            inputs.chain(options).map(|(name, about)| format!("{name}: {about}")).collect();
        format!("{} {} Example: {}", self.about, parts.join(" "), self.example)
    }

    /// The finding's name as plans write it: `ParaphraseMining`.
    pub(crate) fn plan_name(&self) -> String {
        let capital = |word: &str| {
            let mut letters = word.chars();
            let first = letters.next().map(|c| c.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        };
        self.name.split('_').map(capital).collect()
    }
}
