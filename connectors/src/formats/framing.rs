//! What may stand before a payload: a zero byte and the id of its schema in a registry; and the
//! schemas by which payloads of one call are read, of which there may be several.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, ArrayRef};
use arrow::compute::interleave;
use sembla_runtime::{Error, Result};

use super::Columns;
use super::registry::{RegisteredSchema, Registry};
use crate::options::Options;

/// The first byte of a framed payload.
const MAGIC: u8 = 0;
/// The bytes of magic and id.
const HEADER_BYTES: usize = 5;

/// Whether the options ask for the framing.
pub(super) fn is_framed(options: &Options) -> bool {
    match options.find_text("framing") {
        Some(framing) => framing == "confluent",
        None => options.has("schema_registry"),
    }
}

/// The header of a payload.
pub(super) fn header(id: u32) -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = id.to_be_bytes();
    [MAGIC, a, b, c, d]
}

/// The text of the schema that the options give, inline or as a file.
///
/// # Errors
/// [`Error::Option`] when the file can't be read, or both are given.
pub(super) fn given_schema(options: &Options) -> Result<Option<String>> {
    match (options.find_text("schema"), options.find_text("schema_file")) {
        (Some(_), Some(_)) => Err(Error::Option(format!(
            "{} has both schema and schema_file; leave one out",
            options.what()
        ))),
        (Some(text), None) => Ok(Some(text.to_string())),
        (None, Some(path)) => std::fs::read_to_string(path)
            .map(Some)
            .map_err(|error| Error::Option(format!("schema_file {path}: {error}"))),
        (None, None) => Ok(None),
    }
}

/// The schemas that payloads are read by; `S` is what a format makes of one.
pub(super) struct Schemas<S> {
    /// The one that the options give.
    given: Option<S>,
    registry: Option<Registry>,
    /// By id; of one that can't be used the reason.
    known: HashMap<u32, std::result::Result<S, String>>,
    is_framed: bool,
}

impl<S> Schemas<S> {
    /// With the schema of the options, where there is one, and the registry.
    ///
    /// # Errors
    /// [`Error::Option`] when there is neither.
    pub(super) fn new(given: Option<S>, options: &Options) -> Result<Self> {
        let registry = Registry::from_options(options)?;
        if given.is_none() && registry.is_none() {
            return Err(Error::Option(format!(
                "{} with format '{}' needs schema, schema_file or schema_registry",
                options.what(),
                options.choice("format")?
            )));
        }
        let is_framed = is_framed(options);
        if given.is_none() && !is_framed {
            return Err(Error::Option(
                "with framing 'none' records carry no schema id; give schema or schema_file".into(),
            ));
        }
        Ok(Self { given, registry, known: HashMap::new(), is_framed })
    }

    /// Fetches the schemas that payloads name and that aren't here yet.
    ///
    /// # Errors
    /// Those of the registry.
    pub(super) async fn prepare(
        &mut self,
        payloads: &[&[u8]],
        compile: impl Fn(&RegisteredSchema) -> std::result::Result<S, String>,
    ) -> Result<()> {
        let Some(registry) = self.registry.clone().filter(|_| self.given.is_none()) else {
            return Ok(());
        };
        let mut wanted: Vec<u32> = payloads
            .iter()
            .filter_map(|payload| split(payload).ok())
            .map(|(id, _)| id)
            .filter(|id| !self.known.contains_key(id))
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        for id in wanted {
            if let Some(schema) = registry.schema(id).await? {
                let compiled =
                    compile(&schema).map_err(|reason| format!("schema id {id}: {reason}"));
                self.known.insert(id, compiled);
            }
        }
        Ok(())
    }

    /// Reads payloads, those of one schema together, and puts the rows in their order again.
    ///
    /// # Errors
    /// Why a payload can't be read.
    pub(super) fn read(
        &mut self,
        payloads: &[&[u8]],
        mut read: impl FnMut(&mut S, &[&[u8]]) -> std::result::Result<Vec<ArrayRef>, String>,
    ) -> std::result::Result<Columns, String> {
        let mut groups: BTreeMap<u32, (Vec<usize>, Vec<&[u8]>)> = BTreeMap::new();
        for (place, payload) in payloads.iter().enumerate() {
            let (id, body) = if self.is_framed { split(payload)? } else { (0, *payload) };
            let group = groups.entry(if self.given.is_some() { 0 } else { id }).or_default();
            group.0.push(place);
            group.1.push(body);
        }
        let mut pieces = Vec::with_capacity(groups.len());
        let mut places = vec![(0, 0); payloads.len()];
        for (piece, (id, (group, bodies))) in groups.into_iter().enumerate() {
            pieces.push(read(self.schema(id)?, &bodies)?);
            for (row, place) in group.into_iter().enumerate() {
                places[place] = (piece, row);
            }
        }
        let arrays = match pieces.len() {
            0 | 1 => pieces.pop().unwrap_or_default(),
            _ => {
                let columns = pieces.first().map_or(0, Vec::len);
                let column = |column: usize| -> std::result::Result<ArrayRef, String> {
                    let of_pieces: Vec<&dyn Array> =
                        pieces.iter().map(|arrays| arrays[column].as_ref()).collect();
                    interleave(&of_pieces, &places).map_err(|error| error.to_string())
                };
                (0..columns).map(column).collect::<std::result::Result<Vec<_>, _>>()?
            }
        };
        Ok(Columns { arrays, rows: None })
    }

    fn schema(&mut self, id: u32) -> std::result::Result<&mut S, String> {
        if let Some(given) = &mut self.given {
            return Ok(given);
        }
        let address = self.registry.as_ref().map_or("", Registry::address);
        match self.known.get_mut(&id) {
            Some(Ok(schema)) => Ok(schema),
            Some(Err(reason)) => Err(reason.clone()),
            None => Err(format!("schema id {id} is not known to the schema registry {address}")),
        }
    }
}

/// What is put before the payloads of a writer: nothing, or the id of its schema, which is
/// registered when the first payload is written.
pub(super) struct Stamp {
    /// Where the schema is registered; `None` without framing.
    registry: Option<Registry>,
    subject: String,
    id: Option<u32>,
}

impl Stamp {
    /// By the options; `subject` is the schema's name in the registry.
    ///
    /// # Errors
    /// [`Error::Option`] for framing without a registry.
    pub(super) fn new(options: &Options, subject: String) -> Result<Self> {
        let registry = Registry::from_options(options)?;
        match (is_framed(options), registry) {
            (true, None) => Err(Error::Option(
                "framing 'confluent' needs the option 'schema_registry', which assigns schema ids"
                    .into(),
            )),
            (true, registry) => Ok(Self { registry, subject, id: None }),
            (false, _) => Ok(Self { registry: None, subject, id: None }),
        }
    }

    /// The header of every payload, if there is one.
    ///
    /// # Errors
    /// Those of the registry.
    pub(super) async fn header(
        &mut self,
        kind: &str,
        schema: &str,
    ) -> Result<Option<[u8; HEADER_BYTES]>> {
        let Some(registry) = &self.registry else { return Ok(None) };
        let id = match self.id {
            Some(id) => id,
            None => *self.id.insert(registry.register(&self.subject, kind, schema).await?),
        };
        Ok(Some(header(id)))
    }
}

/// The id of a framed payload, and what follows it.
fn split(payload: &[u8]) -> std::result::Result<(u32, &[u8]), String> {
    match payload {
        [MAGIC, a, b, c, d, body @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), body)),
        [MAGIC, ..] | [] => Err(format!(
            "the payload has {} bytes; its framing alone (a zero byte and a schema id) has \
             {HEADER_BYTES}",
            payload.len()
        )),
        [first, ..] => Err(format!(
            "the payload begins with byte 0x{first:02x}, not with the zero byte before a schema id"
        )),
    }
}
