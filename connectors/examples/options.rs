//! Lists the connectors with their options, and checks options as `CREATE SOURCE` does.
//!
//! ```text
//! cargo run --release -p sembla-connectors --example options
//! ```

#![expect(clippy::print_stdout, reason = "an example prints what it finds")]

use sembla_connectors::CONNECTORS;
use sembla_options::{OptionError, Options};

fn main() -> Result<(), OptionError> {
    for connector in CONNECTORS {
        let source = connector.source().map(|source| source.options().len());
        let sink = connector.sink().map(|sink| sink.options().len());
        println!("{}: {source:?} options of a source, {sink:?} of a sink", connector.name());
    }

    // Unknown keys, values out of range and missing options are errors of one line.
    let given = [("path".to_string(), "logs/*.csv".to_string())];
    let files = CONNECTORS.iter().find(|connector| connector.name() == "files");
    if let Some(source) = files.and_then(|files| files.source()) {
        let options = Options::read("a files source", &source.options(), &given)?;
        println!("reads {} at speed {}", options.text("path")?, options.text("speed")?);
    }
    Ok(())
}
