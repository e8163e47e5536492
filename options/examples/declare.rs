//! Declares the options of something, describes them, and reads what a user wrote.
//!
//! ```text
//! cargo run --release -p sembla-options --example declare -- city=Bern days=3 key=env:HOME
//! cargo run --release -p sembla-options --example declare -- town=Bern
//! ```

#![expect(clippy::print_stdout, reason = "an example prints what it finds")]

use sembla_options::{GivenOptions, Kind, OptionDef, OptionError};

/// One declaration: messages, help, SQL and documentation all come from it.
const OPTIONS: &[OptionDef] = &[
    OptionDef::new("city", Kind::Text, "the city to forecast").required(),
    OptionDef::new("days", Kind::between(1, 14), "days to forecast").or("7"),
    OptionDef::new("timeout", Kind::Duration, "how long to wait for the answer").or("10 s"),
    OptionDef::new("unit", Kind::Choice(&["celsius", "fahrenheit"]), "unit of temperatures")
        .or("celsius"),
    OptionDef::new("key", Kind::Text, "key of the service").secret(),
];

fn main() -> Result<(), OptionError> {
    for option in OPTIONS {
        println!("{:8} {:11} {}", option.key, option.describe_value(), option.about);
    }
    let pairs = std::env::args().skip(1).map(|pair| match pair.split_once('=') {
        Some((key, value)) => (key.to_string(), value.to_string()),
        None => (pair, String::new()),
    });

    // Keys are matched first, so that a statement can be stored without its secrets.
    let given = GivenOptions::new("a forecast", OPTIONS.to_vec(), pairs.collect())?;
    println!("given: {given}");

    // Then values are read: defaults are filled in, and every value is checked.
    let options = given.read()?;
    println!("{} days of {}", options.count("days")?, options.text("city")?);
    println!("in {}, within {:?}", options.choice("unit")?, options.duration("timeout")?);
    Ok(())
}
