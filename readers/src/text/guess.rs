//! The type of a column, found from all of its values.
//!
//! A guess is the set of the kinds of values that were seen. Sets are united in any order with the
//! same result, so that a file's type doesn't depend on how it was read, nor a folder's on the
//! order of its files.

use std::collections::HashMap;
use std::ops::{BitAnd, BitOr, BitOrAssign};

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

use super::{number, temporal};

/// Kinds of values, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(u32);

impl Seen {
    pub(crate) const NOTHING: Self = Self(0);
    pub(crate) const BOOLEAN: Self = Self(1);
    /// A whole number that 64 bits hold.
    pub(crate) const INTEGER: Self = Self(1 << 1);
    /// … that isn't exact as `Float64`.
    pub(crate) const WIDE: Self = Self(1 << 2);
    /// … above those of `Int64`.
    pub(crate) const UNSIGNED: Self = Self(1 << 3);
    /// … below 0, or -0.
    pub(crate) const NEGATIVE: Self = Self(1 << 4);
    pub(crate) const FLOAT: Self = Self(1 << 5);
    pub(crate) const DATE: Self = Self(1 << 6);
    /// A time without a fraction; the next three are those with one.
    pub(crate) const SECONDS: Self = Self(1 << 7);
    pub(crate) const MILLIS: Self = Self(1 << 8);
    pub(crate) const MICROS: Self = Self(1 << 9);
    pub(crate) const NANOS: Self = Self(1 << 10);
    /// A date or time that 64 bits don't hold in nanoseconds.
    pub(crate) const FAR: Self = Self(1 << 11);
    pub(crate) const TEXT: Self = Self(1 << 12);
    pub(crate) const LIST: Self = Self(1 << 13);
    pub(crate) const OBJECT: Self = Self(1 << 14);

    const NUMBERS: Self = Self(0b11_1110);
    const TEMPORAL: Self = Self(0b1111_1100_0000);

    /// Whether any of these kinds is in the set.
    pub(crate) fn has(self, kinds: Self) -> bool {
        self.0 & kinds.0 != 0
    }

    /// Whether nothing but these kinds is in the set.
    fn is_only(self, kinds: Self) -> bool {
        self.0 & !kinds.0 == 0
    }

    /// What a field of CSV is.
    pub(crate) fn in_text(text: &str) -> Self {
        let bytes = text.as_bytes();
        let found = match bytes.first() {
            Some(b'0'..=b'9' | b'-' | b'.') => number::number(bytes)
                .or_else(|| temporal::seen(text))
                .or_else(|| (text == "-inf").then_some(Self::FLOAT)),
            Some(b't' | b'T' | b'f' | b'F') => {
                let is_boolean =
                    text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false");
                is_boolean.then_some(Self::BOOLEAN)
            }
            Some(b'N' | b'n' | b'i') => {
                matches!(text, "NaN" | "nan" | "inf").then_some(Self::FLOAT)
            }
            _ => None,
        };
        found.unwrap_or(Self::TEXT)
    }

    /// The narrowest type of single values.
    fn data_type(self) -> DataType {
        if self == Self::NOTHING {
            DataType::Utf8
        } else if self == Self::BOOLEAN {
            DataType::Boolean
        } else if self.is_only(Self::NUMBERS) {
            self.number()
        } else if self.is_only(Self::TEMPORAL) {
            self.temporal()
        } else {
            DataType::Utf8
        }
    }

    fn number(self) -> DataType {
        match (self.has(Self::FLOAT), self.has(Self::UNSIGNED)) {
            (true, _) if self.has(Self::WIDE) => DataType::Utf8,
            (true, _) => DataType::Float64,
            (false, true) if self.has(Self::NEGATIVE) => DataType::Utf8,
            (false, true) => DataType::UInt64,
            (false, false) => DataType::Int64,
        }
    }

    fn temporal(self) -> DataType {
        let unit = match () {
            () if self.has(Self::NANOS) && self.has(Self::FAR) => return DataType::Utf8,
            () if self.has(Self::NANOS) => TimeUnit::Nanosecond,
            () if self.has(Self::MICROS) => TimeUnit::Microsecond,
            () if self.has(Self::MILLIS) => TimeUnit::Millisecond,
            () if self.has(Self::SECONDS) => TimeUnit::Second,
            () => return DataType::Date32,
        };
        DataType::Timestamp(unit, None)
    }
}

impl BitOr for Seen {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Seen {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOrAssign for Seen {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// What was seen in a column. Guesses of parts of a file and of several files can be united, in any
/// order, with the same result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guess {
    pub(crate) seen: Seen,
    /// What was seen in its lists.
    pub(crate) items: Option<Box<Guess>>,
    /// What was seen in its objects.
    pub(crate) fields: GuessedFields,
}

impl Guess {
    /// Adds what was seen in another part or file.
    pub fn unite(&mut self, other: &Guess) {
        self.seen |= other.seen;
        if let Some(items) = &other.items {
            self.items_mut().unite(items);
        }
        for (name, guess) in other.fields.iter() {
            self.fields.entry(name).1.unite(guess);
        }
    }

    /// The narrowest type that holds every value seen: `Boolean`, `Int64`, `UInt64`, `Float64`,
    /// `Date32`, `Timestamp` without a time zone, `Utf8`, a `List` or a `Struct`. A column without
    /// a value is `Utf8`, and so is one of values that no other type holds without a loss.
    pub fn data_type(&self) -> DataType {
        if self.seen == Seen::LIST {
            let item = self.items.as_ref().map_or(DataType::Utf8, |items| items.data_type());
            return DataType::new_list(item, true);
        }
        if self.seen == Seen::OBJECT && self.fields.len() > 0 {
            return DataType::Struct(self.fields.to_arrow());
        }
        self.seen.data_type()
    }

    pub(crate) fn items_mut(&mut self) -> &mut Guess {
        self.items.get_or_insert_default()
    }
}

/// Guesses by name, in the order in which the names were first seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct GuessedFields {
    fields: Vec<(String, Guess)>,
    places: HashMap<String, usize>,
    /// The place behind the field that was looked up last, where the next most often is.
    expected: usize,
    /// Of each field the object in which it was seen last.
    last: Vec<u64>,
    objects: u64,
}

impl PartialEq for GuessedFields {
    fn eq(&self, other: &Self) -> bool {
        self.fields == other.fields
    }
}

impl Eq for GuessedFields {}

impl GuessedFields {
    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Guess)> {
        self.fields.iter().map(|(name, guess)| (name.as_str(), guess))
    }

    pub(crate) fn into_fields(self) -> Vec<(String, Guess)> {
        self.fields
    }

    /// Begins another object, in which each field may be seen once.
    pub(crate) fn begin(&mut self) {
        self.objects += 1;
        self.expected = 0;
    }

    /// Whether a field wasn't seen in this object before.
    pub(crate) fn is_first(&mut self, place: usize) -> bool {
        if self.last.len() <= place {
            self.last.resize(self.fields.len().max(place + 1), 0);
        }
        std::mem::replace(&mut self.last[place], self.objects) != self.objects
    }

    /// The field of that name, made if need be, and its place.
    pub(crate) fn entry(&mut self, name: &str) -> (usize, &mut Guess) {
        let is_expected = self.fields.get(self.expected).is_some_and(|(at, _)| at == name);
        let place = match is_expected {
            true => self.expected,
            false => self.place(name),
        };
        self.expected = place + 1;
        (place, &mut self.fields[place].1)
    }

    /// The field at a place that [`GuessedFields::entry`] gave.
    pub(crate) fn at(&mut self, place: usize) -> &mut Guess {
        &mut self.fields[place].1
    }

    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = self.fields.len();
        self.fields.push((name.to_string(), Guess::default()));
        self.places.insert(name.to_string(), place);
        place
    }

    fn to_arrow(&self) -> Fields {
        self.fields.iter().map(|(name, guess)| Field::new(name, guess.data_type(), true)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guessed(texts: &[&str]) -> DataType {
        let seen = texts.iter().fold(Seen::NOTHING, |seen, text| seen | Seen::in_text(text));
        Guess { seen, ..Guess::default() }.data_type()
    }

    #[test]
    fn the_narrowest_type_that_loses_nothing() {
        use DataType::{Boolean, Date32, Float64, Int64, Timestamp, UInt64, Utf8};
        let cases: &[(&[&str], DataType)] = &[
            (&[], Utf8),
            (&["1", "-2"], Int64),
            (&["1", "18446744073709551615"], UInt64),
            (&["-1", "18446744073709551615"], Utf8),
            (&["1", "2.5"], Float64),
            (&["9007199254740993", "2.5"], Utf8),
            (&["1", "123456789012345678901"], Utf8),
            (&["007", "8"], Utf8),
            (&["1e5", "2"], Float64),
            (&["1", "NaN", "-inf"], Float64),
            (&["1_000"], Utf8),
            (&["+1"], Utf8),
            (&["true", "FALSE"], Boolean),
            (&["true", "1"], Utf8),
            (&["2024-05-31"], Date32),
            (&["2024-05-31", "2024-05-31 10:00:00"], Timestamp(TimeUnit::Second, None)),
            (
                &["2024-05-31 10:00:00", "2024-05-31T10:00:00.5"],
                Timestamp(TimeUnit::Millisecond, None),
            ),
            (&["2024-05-31 10:00:00.123456789"], Timestamp(TimeUnit::Nanosecond, None)),
            (&["2024-05-31 10:00:00.123456789", "9999-12-31"], Utf8),
            (&["2024-05-31", "1"], Utf8),
            (&["2024-02-31"], Utf8),
            (&["[1, 2]"], Utf8),
        ];
        for (texts, expected) in cases {
            assert_eq!(guessed(texts), *expected, "{texts:?}");
        }
    }

    #[test]
    fn lists_and_objects_unite_by_name() {
        let object = |name: &str, text: &str| {
            let mut guess = Guess { seen: Seen::OBJECT, ..Guess::default() };
            guess.fields.entry(name).1.seen = Seen::in_text(text);
            guess
        };
        let mut left = object("a", "1");
        left.unite(&object("b", "x"));
        left.unite(&object("a", "2.5"));
        let fields = [("a", DataType::Float64), ("b", DataType::Utf8)];
        let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
        assert_eq!(left.data_type(), DataType::Struct(Fields::from(fields.to_vec())));

        let mut list = Guess { seen: Seen::LIST, ..Guess::default() };
        list.items_mut().unite(&left);
        assert_eq!(list.data_type(), DataType::new_list(left.data_type(), true));
        list.unite(&object("a", "1"));
        assert_eq!(list.data_type(), DataType::Utf8);
        let empty = Guess { seen: Seen::OBJECT, ..Guess::default() };
        assert_eq!(empty.data_type(), DataType::Utf8);
    }
}
