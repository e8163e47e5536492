//! The dialect and the columns of a JSON file.

use arrow::datatypes::DataType;
use memchr::memchr;

use crate::error::Result;
use crate::limits::Limits;
use crate::text::buffer::Buffer;
use crate::text::dialect::{JsonDialect, TextOptions};
use crate::text::guess::{Guess, GuessedFields, Seen};
use crate::text::number;
use crate::text::records::{Records, Step};
use crate::text::survey::{Column, Splits, Surveyed};

use super::records::JsonRecords;
use super::scan::{Bounds, Kind, Scan, Scanner, Trouble};

/// Bytes that are looked at, behind white space.
const SAMPLE_BYTES: usize = 64 << 10;
/// Bytes of white space before the first value that are looked at.
const SPACE_BYTES_MAX: usize = 1 << 20;

/// Finds how the file is written, without consuming any of it.
pub(crate) fn sniff(buffer: &mut Buffer, limits: &Limits) -> Result<JsonDialect> {
    let is_space = |byte: &u8| byte.is_ascii_whitespace();
    buffer.fill_to(SAMPLE_BYTES)?;
    let begin = loop {
        let data = buffer.data();
        let begin = data.iter().take_while(|byte| is_space(byte)).count();
        if begin < data.len() || buffer.is_ended() || begin > SPACE_BYTES_MAX {
            break begin;
        }
        buffer.fill()?;
    };
    let is_array = buffer.data().get(begin) == Some(&b'[');
    let first = match is_array {
        true => {
            let rest = buffer.data().get(begin + 1..).unwrap_or_default();
            begin + 1 + rest.iter().take_while(|byte| is_space(byte)).count()
        }
        false => begin,
    };
    let rest = buffer.data().get(first..).unwrap_or_default();
    let mut scanner = Scanner::new(rest, buffer.is_ended(), Bounds::of(limits));
    let end = match scanner.check(0) {
        Ok(()) => scanner.at(),
        // The part of it that is there tells whether it has line breaks, unless it isn't JSON.
        Err(Trouble::Incomplete) => rest.len(),
        Err(_) => 0,
    };
    let is_pretty = memchr(b'\n', rest.get(..end).unwrap_or_default().trim_ascii_end()).is_some();
    Ok(JsonDialect { compression: buffer.compression(), is_array, is_pretty })
}

/// Reads a whole file.
pub(crate) fn survey(
    buffer: Buffer,
    dialect: &JsonDialect,
    options: &TextOptions,
    limits: &Limits,
) -> Result<Surveyed> {
    let name = buffer.name().to_string();
    let mut records = JsonRecords::over(buffer, dialect, limits);
    let mut observer = Observer { columns: 0, columns_max: limits.columns_max };
    let mut root = GuessedFields::default();
    let mut splits = Splits::new(dialect.compression);
    let mut rows = 0;
    loop {
        let step = records.next_with(&mut |scanner| observer.object(scanner, &mut root, 0))?;
        match step {
            Step::Record => {
                records.text().map_err(|fault| fault.into_error(&name))?;
                splits.offer(records.place());
                rows += 1;
            }
            Step::Bad(fault) => return Err(fault.into_error(&name)),
            Step::End => break,
        }
    }
    let declared = |name: &str| -> Option<DataType> {
        let given = options.types.iter().find(|(column, _)| column == name);
        given.map(|(_, data_type)| data_type.clone())
    };
    let columns = root.into_fields().into_iter().map(|(name, guess)| {
        let declared = declared(&name);
        Column { name, guess, declared }
    });
    Ok(Surveyed { columns: columns.collect(), rows, splits, bytes: records.bytes_read() })
}

/// Adds values to guesses.
struct Observer {
    /// Columns and nested fields so far.
    columns: usize,
    columns_max: usize,
}

impl Observer {
    fn value(&mut self, scanner: &mut Scanner<'_>, guess: &mut Guess, depth: usize) -> Scan<()> {
        match scanner.kind()? {
            Kind::Null => scanner.check(depth),
            Kind::Boolean => {
                guess.seen |= Seen::BOOLEAN;
                scanner.check(depth)
            }
            Kind::Text => {
                guess.seen |= Seen::TEXT;
                scanner.string().map(drop)
            }
            Kind::Number => {
                guess.seen |= match scanner.number()? {
                    b"NaN" | b"Infinity" | b"-Infinity" => Seen::FLOAT,
                    digits => number::number(digits).unwrap_or(Seen::TEXT),
                };
                Ok(())
            }
            Kind::List => {
                guess.seen |= Seen::LIST;
                scanner.open(b'[', depth)?;
                let mut is_first = true;
                while scanner.item(&mut is_first)? {
                    self.value(scanner, guess.items_mut(), depth + 1)?;
                }
                Ok(())
            }
            Kind::Object => {
                guess.seen |= Seen::OBJECT;
                self.object(scanner, &mut guess.fields, depth)
            }
        }
    }

    fn object(
        &mut self,
        scanner: &mut Scanner<'_>,
        fields: &mut GuessedFields,
        depth: usize,
    ) -> Scan<()> {
        let start = scanner.at();
        scanner.open(b'{', depth)?;
        fields.begin();
        let mut is_first = true;
        while let Some(raw) = scanner.key(&mut is_first)? {
            let known = fields.len();
            let name = scanner.text_of(raw);
            let (place, _) = fields.entry(name);
            if !fields.is_first(place) {
                let what = format!("an object names '{name}' twice");
                return Err(Trouble::Invalid { at: raw.start, what });
            }
            self.columns += fields.len() - known;
            if self.columns > self.columns_max {
                let what = format!("more than columns_max ({}) fields", self.columns_max);
                return Err(Trouble::Limit { at: start, what });
            }
            self.value(scanner, fields.at(place), depth + 1)?;
        }
        Ok(())
    }
}
