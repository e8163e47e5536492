//! Lists and objects as columns, and the fields of an object.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, NullBufferBuilder, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, Fields, TimeUnit};

use crate::error::{Error, Result};
use crate::text::cell::{Cell, Fits, Misfit, cell};

use super::scan::{Bounds, Kind, Scanner};

/// Bounds of JSON within a field of CSV, whose size was checked before.
const IN_TEXT: Bounds = Bounds { depth_max: 100, value_bytes_max: usize::MAX };

/// Cells by the name of a field.
pub(crate) struct Members {
    cells: Vec<Box<dyn Cell>>,
    names: Vec<String>,
    places: HashMap<String, usize>,
    /// The place behind the field that came last, where the next most often is.
    expected: usize,
}

impl Members {
    /// Empty cells for fields.
    ///
    /// # Errors
    /// [`Error::Option`] for a type that can't be read from text.
    pub(crate) fn new(fields: &Fields, epoch_unit: TimeUnit) -> Result<Self> {
        let mut members = Self {
            cells: Vec::with_capacity(fields.len()),
            names: fields.iter().map(|field| field.name().clone()).collect(),
            places: HashMap::with_capacity(fields.len()),
            expected: 0,
        };
        for (place, field) in fields.iter().enumerate() {
            let made = cell(field.data_type(), epoch_unit)
                .map_err(|error| Error::Option(format!("column '{}': {error}", field.name())))?;
            members.cells.push(made);
            members.places.insert(field.name().clone(), place);
        }
        Ok(members)
    }

    /// Appends an object to cells of `length` values each. Fields that it lacks are NULL, fields of
    /// other names are passed over. The misfit has the name of the field as its outermost one.
    pub(crate) fn push_object(&mut self, scanner: &mut Scanner<'_>, length: usize) -> Fits {
        let mut result = Ok(());
        let mut is_first = true;
        let opened = scanner.open(b'{', 0);
        self.expected = 0;
        while let (Ok(()), Ok(Some(name))) = (&opened, scanner.key(&mut is_first)) {
            let place = self.place(scanner.text_of(name));
            let named = place.and_then(|place| Some((self.cells.get_mut(place)?, place)));
            let pushed = match named {
                None => {
                    // It was checked before.
                    let _ = scanner.check(0);
                    Ok(())
                }
                Some((cell, _)) if cell.len() > length => {
                    let _ = scanner.check(0);
                    Err(Misfit::because("the object names it twice".into()))
                }
                Some((cell, _)) => cell.push_json(scanner),
            };
            if let (Err(misfit), Some(place), true) = (pushed, place, result.is_ok()) {
                result = Err(misfit.within(&self.names[place]));
            }
        }
        self.fill(length + 1);
        result
    }

    /// Appends NULL to each cell that has fewer values.
    pub(crate) fn fill(&mut self, length: usize) {
        for cell in &mut self.cells {
            if cell.len() < length {
                cell.push_null();
            }
        }
    }

    fn place(&mut self, name: &str) -> Option<usize> {
        let is_expected = self.names.get(self.expected).is_some_and(|expected| expected == name);
        let place = match is_expected {
            true => self.expected,
            false => *self.places.get(name)?,
        };
        self.expected = place + 1;
        Some(place)
    }

    /// The columns, and the positions of values that turned out not to fit, each with the place of
    /// its column.
    pub(crate) fn finish(&mut self) -> (Vec<ArrayRef>, Vec<(usize, usize)>) {
        let mut misfits = Vec::new();
        let finished = self.cells.iter_mut().enumerate().map(|(place, cell)| {
            let (array, bad) = cell.finish();
            misfits.extend(bad.into_iter().map(|position| (position, place)));
            array
        });
        (finished.collect(), misfits)
    }
}

/// A JSON value within a text, once it is known to be one.
fn push_text(cell: &mut dyn Cell, text: &str, to: &DataType) -> Fits {
    let mut check = Scanner::over(text, IN_TEXT);
    check.space();
    let start = check.at();
    let is_json = check.check(0).is_ok();
    check.space();
    if !is_json || check.at() < text.len() {
        cell.push_null();
        return Err(Misfit::value(text, to));
    }
    cell.push_json(&mut Scanner::over(text.get(start..).unwrap_or_default(), IN_TEXT))
}

/// Appends a value of another kind than the column's as NULL.
fn push_other(cell: &mut dyn Cell, scanner: &mut Scanner<'_>, kind: Kind, to: &DataType) -> Fits {
    let start = scanner.at();
    // It was checked before.
    let _ = scanner.check(0);
    cell.push_null();
    match kind {
        Kind::Null => Ok(()),
        _ => Err(Misfit::value(scanner.between(start, scanner.at()), to)),
    }
}

/// Lists of one type.
pub(crate) struct ListCell {
    items: Box<dyn Cell>,
    field: FieldRef,
    offsets: Vec<i32>,
    valid: NullBufferBuilder,
    to: DataType,
}

impl ListCell {
    /// Empty lists of the type `to`, which is a list of `field`.
    ///
    /// # Errors
    /// [`Error::Option`] for a type that can't be read from text.
    pub(crate) fn new(field: &FieldRef, to: &DataType, epoch_unit: TimeUnit) -> Result<Self> {
        let plain = DataType::List(Arc::clone(field));
        if plain != *to && !can_cast_types(&plain, to) {
            return Err(Error::Option(format!("text can't be read as {to}")));
        }
        Ok(Self {
            items: cell(field.data_type(), epoch_unit)?,
            field: Arc::clone(field),
            offsets: vec![0],
            valid: NullBufferBuilder::new(0),
            to: to.clone(),
        })
    }

    fn end(&mut self, is_valid: bool) {
        self.offsets.push(i32::try_from(self.items.len()).unwrap_or(i32::MAX));
        self.valid.append(is_valid);
    }
}

impl Cell for ListCell {
    fn push_null(&mut self) {
        self.end(false);
    }

    fn push_text(&mut self, text: &str) -> Fits {
        let to = self.to.clone();
        push_text(self, text, &to)
    }

    fn push_json(&mut self, scanner: &mut Scanner<'_>) -> Fits {
        let kind = scanner.kind().unwrap_or(Kind::Null);
        if kind != Kind::List {
            let to = self.to.clone();
            return push_other(self, scanner, kind, &to);
        }
        let mut result = Ok(());
        let mut is_first = true;
        let opened = scanner.open(b'[', 0);
        while let (Ok(()), Ok(true)) = (&opened, scanner.item(&mut is_first)) {
            let pushed = self.items.push_json(scanner);
            if result.is_ok() {
                result = pushed;
            }
        }
        self.end(true);
        result
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn finish(&mut self) -> (ArrayRef, Vec<usize>) {
        let (items, bad) = self.items.finish();
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        // The list of the item behind whose end the list begins.
        let mut misfits: Vec<usize> = bad
            .into_iter()
            .map(|item| offsets.partition_point(|offset| *offset as usize <= item) - 1)
            .collect();
        misfits.dedup();
        let valid = self.valid.finish();
        let count = offsets.len() - 1;
        let field = Arc::clone(&self.field);
        let lists = ListArray::try_new(field, OffsetBuffer::new(offsets.into()), items, valid);
        let Ok(lists) = lists else {
            return (arrow::array::new_null_array(&self.to, count), (0..count).collect());
        };
        if *lists.data_type() == self.to {
            return (Arc::new(lists), misfits);
        }
        let lenient = CastOptions { safe: true, ..CastOptions::default() };
        match cast_with_options(&lists, &self.to, &lenient) {
            Ok(cast) => {
                misfits.extend((0..count).filter(|at| cast.is_null(*at) && !lists.is_null(*at)));
                (cast, misfits)
            }
            Err(_) => (arrow::array::new_null_array(&self.to, count), (0..count).collect()),
        }
    }
}

/// Objects with the same fields.
pub(crate) struct ObjectCell {
    members: Members,
    fields: Fields,
    valid: NullBufferBuilder,
}

impl ObjectCell {
    /// Empty objects.
    ///
    /// # Errors
    /// [`Error::Option`] for a type that can't be read from text.
    pub(crate) fn new(fields: &Fields, epoch_unit: TimeUnit) -> Result<Self> {
        let members = Members::new(fields, epoch_unit)?;
        Ok(Self { members, fields: fields.clone(), valid: NullBufferBuilder::new(0) })
    }
}

impl Cell for ObjectCell {
    fn push_null(&mut self) {
        self.valid.append(false);
        self.members.fill(self.valid.len());
    }

    fn push_text(&mut self, text: &str) -> Fits {
        let to = DataType::Struct(self.fields.clone());
        push_text(self, text, &to)
    }

    fn push_json(&mut self, scanner: &mut Scanner<'_>) -> Fits {
        let kind = scanner.kind().unwrap_or(Kind::Null);
        if kind != Kind::Object {
            let to = DataType::Struct(self.fields.clone());
            return push_other(self, scanner, kind, &to);
        }
        let pushed = self.members.push_object(scanner, self.valid.len());
        self.valid.append(true);
        pushed
    }

    fn len(&self) -> usize {
        self.valid.len()
    }

    fn finish(&mut self) -> (ArrayRef, Vec<usize>) {
        let length = self.valid.len();
        let (columns, bad) = self.members.finish();
        let valid = self.valid.finish();
        let mut misfits: Vec<usize> = bad.into_iter().map(|(position, _)| position).collect();
        misfits.sort_unstable();
        let fields = self.fields.clone();
        match StructArray::try_new_with_length(fields, columns, valid, length) {
            Ok(objects) => (Arc::new(objects), misfits),
            Err(_) => {
                let to = DataType::Struct(self.fields.clone());
                (arrow::array::new_null_array(&to, length), (0..length).collect())
            }
        }
    }
}
