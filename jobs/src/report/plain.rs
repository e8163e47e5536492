//! What pages without a script have in common: their beginning, their looks, and how they were
//! made.

use std::fmt::Write as _;

use super::page::escape;

/// The looks of a plain page.
pub(crate) const PLAIN_STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:780px;margin:2rem auto;padding:0 1rem;color:#1c1c1c}\
h1{font-size:1.5rem}svg{width:100%;height:auto}text{font-size:12px;fill:#555}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.5rem}dt{color:#555}dd{margin:0}\
@media(prefers-color-scheme:dark){body{background:#161616;color:#eee}text,dt{fill:#aaa;color:#aaa}}";

/// Allows styles that are in the page, and nothing else.
pub(crate) const PLAIN_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// A page up to the beginning of its body. The title is escaped here.
pub(crate) fn open(title: &str, policy: &str, style: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"generator\" content=\"sembla {}\">\n<title>{}</title>\n\
         <style>\n{style}</style>\n</head>\n<body>\n",
        env!("CARGO_PKG_VERSION"),
        escape(title),
    )
}

/// Names and values as a list.
pub(crate) fn facts<'a>(html: &mut String, facts: impl IntoIterator<Item = (&'a str, String)>) {
    html.push_str("<dl>\n");
    for (name, value) in facts {
        // Writing to a string does not fail.
        let _ = writeln!(html, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(&value));
    }
    html.push_str("</dl>\n");
}
