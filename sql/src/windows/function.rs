//! What is declared about each kind of window once: its lengths of time and its options. The check
//! of names, the messages and `SHOW FUNCTIONS` read it here.

use datafusion::sql::sqlparser::ast::ObjectName;
use sembla_runtime::window::WindowKind;

/// Something that a window is called with, apart from its input.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) about: &'static str,
}

/// The column that windows go by.
pub(super) const TIME: Parameter = Parameter {
    name: "time",
    about: "Column with the event time of a row: a timestamp or a date, never NULL. It can be left out \
            where the input is a source with a watermark.",
};
pub(super) const OFFSET: Parameter = Parameter {
    name: "offset",
    about: "Shift of the windows from 1970-01-01 00:00 UTC; none by default.",
};
pub(super) const PARTITION_BY: Parameter = Parameter {
    name: "partition_by",
    about: "A column, or several in parentheses: rows with equal values form their own sessions.",
};
pub(super) const EARLY: Parameter = Parameter {
    name: "early",
    about: "In a stream, how often an open window emits an early result; never by default.",
};
pub(super) const LATENESS: Parameter = Parameter {
    name: "lateness",
    about: "In a stream, how long after its end a window still accepts rows and emits its result again; not at all by default.",
};

/// A kind of window.
#[derive(Debug)]
pub(crate) struct WindowFunction {
    /// Its name in SQL.
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) example: &'static str,
    /// The lengths of time that it needs, in the order in which they are given.
    pub(crate) lengths: &'static [Parameter],
    /// What else it takes, apart from what all take.
    pub(super) options: &'static [Parameter],
    /// Makes the windows of the lengths, in their order, and the offset.
    pub(super) kind: fn(&[i64], i64) -> Option<WindowKind>,
}

/// All kinds of windows.
pub(super) static FUNCTIONS: &[WindowFunction] = &[
    WindowFunction {
        name: "tumble",
        about: "Fixed-size windows, one after another: the rows of the input with the window that each is in.",
        example: "SELECT window_start, count(*) FROM tumble(messages, ts, INTERVAL '10 minutes') GROUP BY window_start, window_end",
        lengths: &[Parameter { name: "size", about: "The length of a window." }],
        options: &[OFFSET],
        kind: |lengths, offset_us| match lengths {
            [size] => Some(WindowKind::Tumble { size_us: *size, offset_us }),
            _ => None,
        },
    },
    WindowFunction {
        name: "hop",
        about: "Fixed-size windows that overlap: the rows of the input, each once for every window that it is in.",
        example: "SELECT window_start, count(*) FROM hop(messages, ts, INTERVAL '5 minutes', INTERVAL '1 hour') GROUP BY window_start, window_end",
        lengths: &[
            Parameter {
                name: "slide",
                about: "Time from the start of one window to the start of the next.",
            },
            Parameter { name: "size", about: "The length of a window." },
        ],
        options: &[OFFSET],
        kind: |lengths, offset_us| match lengths {
            [slide, size] => Some(WindowKind::Hop { slide_us: *slide, size_us: *size, offset_us }),
            _ => None,
        },
    },
    WindowFunction {
        name: "session",
        about: "Sessions: the rows of the input with the session that each is in. Rows less than a gap apart \
            share a session, which ends a gap after its last row.",
        example: "SELECT user, window_start, count(*) FROM session(visits, ts, INTERVAL '30 minutes', partition_by => user) \
            GROUP BY user, window_start, window_end",
        lengths: &[Parameter { name: "gap", about: "Silence that ends a session." }],
        options: &[PARTITION_BY],
        kind: |lengths, _| match lengths {
            [gap] => Some(WindowKind::Session { gap_us: *gap }),
            _ => None,
        },
    },
];

/// The kind of window of that name.
pub(crate) fn function_of(name: &ObjectName) -> Option<&'static WindowFunction> {
    let [part] = name.0.as_slice() else { return None };
    let name = part.as_ident()?.value.to_lowercase();
    FUNCTIONS.iter().find(|function| function.name == name)
}

impl WindowFunction {
    /// The function that makes windows of a kind.
    pub(super) fn of(kind: &WindowKind) -> &'static str {
        match kind {
            WindowKind::Tumble { .. } => "tumble",
            WindowKind::Hop { .. } => "hop",
            WindowKind::Session { .. } => "session",
        }
    }

    /// Everything that it takes after the input.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &'static Parameter> {
        const SHARED: &[Parameter] = &[EARLY, LATENESS];
        let own = self.lengths.iter().chain(self.options);
        [&TIME].into_iter().chain(own).chain(SHARED)
    }

    /// Its names, as a list.
    pub(super) fn names(&self) -> String {
        self.parameters().map(|parameter| parameter.name).collect::<Vec<_>>().join(", ")
    }

    /// How it is called.
    pub(crate) fn usage(&self) -> String {
        let lengths = self.lengths.iter().map(|length| length.name.to_string());
        let options = self.options.iter().chain(&[EARLY, LATENESS]);
        let options = options.map(|option| format!("{} => …", option.name));
        let parts: Vec<String> = lengths.chain(options).collect();
        format!("{}(input, time, {})", self.name, parts.join(", "))
    }

    /// What comes out, what goes in, and a query that shows it.
    pub(super) fn documentation(&self) -> String {
        let parts: Vec<String> = self
            .parameters()
            .map(|parameter| format!("{}: {}", parameter.name, parameter.about))
            .collect();
        format!(
            "{} The columns of the input, window_start and window_end; with early or lateness also window_pane. \
             input: A table, a file or a query. {} Example: {}",
            self.about,
            parts.join(" "),
            self.example
        )
    }
}
