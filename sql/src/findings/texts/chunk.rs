//! `chunk(input)`: long texts in pieces that a model reads whole.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field};
use sembla_models::{Model, Prompt};
use sembla_operators::chunks::{Chunk, Method};

use crate::SqlError;
use crate::chunker::{ChunkSpec, Chunker};
use crate::engine::prompt_of;
use crate::relations::declaration::{Declaration, InputDef, Need, Planning, VECTORS};
use crate::relations::finding::{Emit, Finding, FindingHost, Found};
use crate::relations::options::{OptionDef, OptionKind};
use crate::relations::roles::{InputTypes, column};
use crate::relations::table::Table;

/// The model that sees subjects change.
const SUBJECTS: &str = "potion";

/// Chunks that are given at a time.
const CHUNKS_TOGETHER: usize = 8192;

/// Bytes of the texts that go along with the chunks of one batch.
const CARRIED_BYTES_MAX: usize = 16 << 20;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "chunk",
    about: "Texts in pieces that a model reads whole: chunk_index (from 0), chunk_start and chunk_end (bytes of the text), \
            token_count (the model's, special tokens and prompt included), heading_path (headings of Markdown above the chunk; NULL \
            without), chunk, and the columns of the input. Texts that are NULL or blank have no chunks.",
    example: "SELECT id, chunk_index, chunk FROM chunk('docs.parquet', size => 256, overlap => 32)",
    inputs: &[InputDef {
        texts: Need::Must,
        vectors: Need::No,
        default_prompt: Some("document"),
        by_row: true,
        one_by_one: true,
        ..VECTORS
    }],
    options: &[
        OptionDef {
            name: "size",
            kind: OptionKind::Count { least: 1, default: None },
            about: "Most tokens of a chunk; 256 by default, or all that the model reads if that is less.",
        },
        OptionDef {
            name: "overlap",
            kind: OptionKind::Count { least: 0, default: None },
            about: "Most tokens of a chunk's end that the next one begins with; 32 by default, or an eighth of the size.",
        },
        OptionDef {
            name: "method",
            kind: OptionKind::Choice { of: Method::NAMES, default: Some("recursive") },
            about: "'recursive': at paragraphs, else sentences, lines, words; 'sentence': between sentences; 'markdown': also at \
                    headings; 'tokens': as many words as fit; 'semantic': between sentences, and where the subject changes.",
        },
        OptionDef {
            name: "model",
            kind: OptionKind::Text,
            about: "Model that will embed the chunks, which counts the tokens; the session's default model if none is named.",
        },
        OptionDef {
            name: "prompt",
            kind: OptionKind::Text,
            about: "Prompt that each chunk will be embedded with, whose tokens count; by default the model's for documents, else its default prompt.",
        },
        OptionDef {
            name: "heading",
            kind: OptionKind::Flag { default: true },
            about: "For 'markdown': begin each chunk with the headings above it.",
        },
    ],
    carries: true,
    takes_index: false,
    plan,
};

#[derive(Debug)]
struct Chunking {
    chunker: Chunker,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let options = planning.options;
    let model = planning.models.encoder(planning.name, options.text("model"))?;
    let prompt = match options.text("prompt") {
        Some(name) => prompt_of(&model, Some(Some(name)))?,
        None => for_documents(&model),
    };
    let given = ChunkSpec {
        method: options.text("method").unwrap_or_default().to_string(),
        size: options.count("size"),
        overlap: options.count("overlap"),
        heading: options.flag("heading"),
    };
    let subjects = || planning.models.model(Some(SUBJECTS));
    Ok(Arc::new(Chunking { chunker: Chunker::new(&model, prompt, &given, subjects)? }))
}

/// The longest prompt that a document may be embedded with: searches take the one for documents,
/// and `embed` the model's default.
fn for_documents(model: &Model) -> Prompt<'_> {
    let length = |prompt| model.lengths(prompt).map_or(0, |lengths| lengths.fixed());
    let (document, usual) = (length(Prompt::Document), length(Prompt::Default));
    if document < usual { Prompt::Default } else { Prompt::Document }
}

impl Finding for Chunking {
    fn columns(&self, _inputs: &[Option<InputTypes>]) -> Vec<Field> {
        let number = |name| column(name, DataType::Int64);
        vec![
            number("chunk_index"),
            number("chunk_start"),
            number("chunk_end"),
            number("token_count"),
            Field::new("heading_path", DataType::Utf8, true),
            column("chunk", DataType::Utf8),
        ]
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(table)] = tables else { return Ok(()) };
        let texts: Vec<Option<&str>> = (0..table.rows()).map(|row| table.text(row)).collect();
        let split = self.chunker.split(&texts, host.cancel(), host)?;
        let mut some: Vec<Piece<'_>> = Vec::new();
        let mut carried = 0;
        for ((row, text), chunks) in (0..).zip(&texts).zip(&split) {
            let text = text.unwrap_or_default();
            for (index, chunk) in (0..).zip(chunks) {
                some.push(Piece { row, index, text, chunk });
                carried += if table.carried.is_empty() { 0 } else { text.len() };
                if some.len() >= CHUNKS_TOGETHER || carried > CARRIED_BYTES_MAX {
                    emit(found(&some))?;
                    some.clear();
                    carried = 0;
                }
            }
        }
        if some.is_empty() { Ok(()) } else { emit(found(&some)) }
    }
}

/// A chunk of a row.
struct Piece<'a> {
    row: u32,
    index: i64,
    text: &'a str,
    chunk: &'a Chunk,
}

fn found(pieces: &[Piece<'_>]) -> Found {
    let numbers = |of: &dyn Fn(&Piece<'_>) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(pieces.iter().map(of)))
    };
    let headings = pieces.iter().map(|piece| piece.chunk.heading_path.as_deref());
    let texts = pieces.iter().map(|piece| piece.chunk.text(piece.text));
    let columns: Vec<ArrayRef> = vec![
        numbers(&|piece| piece.index),
        numbers(&|piece| piece.chunk.start as i64),
        numbers(&|piece| piece.chunk.end as i64),
        numbers(&|piece| piece.chunk.tokens as i64),
        Arc::new(headings.collect::<StringArray>()),
        Arc::new(StringArray::from_iter_values(texts)),
    ];
    Found { columns, rows: pieces.iter().map(|piece| piece.row).collect() }
}
