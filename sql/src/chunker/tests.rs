//! Chunks by real tokenizers: the bundled ones, whose words add up, and others, which have to be
//! counted again.

use std::path::Path;

use sembla_models::ModelSpec;
use sembla_operators::Unbounded;

use super::*;

const METHODS: [&str; 5] = ["recursive", "sentence", "markdown", "tokens", "semantic"];

fn potion() -> Result<Model, SqlError> {
    Ok(Model::load(&ModelSpec::new("potion"))?)
}

fn fixture(name: &str) -> String {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/fixtures");
    fixtures.join(name).display().to_string()
}

/// Texts of all kinds.
fn texts() -> Vec<String> {
    let prose = "The quick brown fox, it is said, jumped over Dr. Smith's lazy dog. \"Why?\" he asked! \
                 Nobody knew; unaffordable interconnections were antidisestablishmentarianism. ";
    let markdown = "# Guide\n\nHow to use it.\n\n## Install\n\n1. Fetch it.\n2. Run `make`.\n\n```\nmake all\n\nmake test\n```\n\n\
                    ## Use\n\nCall it.\n\n";
    vec![
        prose.repeat(20),
        markdown.repeat(6),
        "Die Übersetzung gefällt mir außerordentlich gut, sagte Frau Müßiggang. ".repeat(15),
        "日本語の文章です。これは二番目の文です。三番目、そして最後。".repeat(20),
        "👩‍👩‍👧‍👦👍🏽🇩🇪 emoji e\u{301} ".repeat(40),
        "x".repeat(3000),
        "漢".repeat(3000),
        format!(
            "nul \u{0} inside\u{0} and \u{fffd} [SEP] [CLS] </s> <s> ##ing {}",
            "\u{200b}\u{7}".repeat(50)
        ),
        format!("a{}b{}c", " ".repeat(3000), "\n".repeat(3000)),
        "a-b_c.d/e:f;g,h!i?j(k)l[m]n{o}p".repeat(30),
        String::new(),
        " \n ".into(),
    ]
}

/// Checks all that holds for chunks, by the model's own count.
fn check(model: &Model, prompt: Prompt<'_>, method: &str, (size, overlap): (usize, usize)) {
    let given = ChunkSpec {
        method: method.into(),
        size: Some(size),
        overlap: Some(overlap),
        heading: true,
    };
    let chunker = Chunker::new(model, prompt, &given, potion).expect("a chunker");
    let lengths = model.lengths(prompt).expect("lengths");
    let texts = texts();
    let given: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
    let split = chunker.split(&given, &CancelToken::new(), &Unbounded).expect("chunks");
    let name = &model.info().name;
    let before = model.stats();
    for (text, chunks) in texts.iter().zip(&split) {
        let mut done = 0;
        let mut pieces = Vec::new();
        for chunk in chunks {
            let piece = chunk.text(text).into_owned();
            let counted = lengths.count(&piece).expect("a count");
            assert_eq!(chunk.tokens, counted, "{name} {method} {piece:?}");
            assert!(counted <= size, "{name} {method} {piece:?}");
            assert!(done >= chunk.start || text[done..chunk.start].trim().is_empty());
            done = done.max(chunk.end);
            pieces.push(piece);
        }
        assert!(text[done..].trim().is_empty(), "{name} {method} {text:?}");
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        model.embed(&pieces, prompt, &CancelToken::new()).expect("vectors");
    }
    assert_eq!(model.stats().truncated, before.truncated, "{name} {method}");
}

#[test]
fn the_bundled_models_truncate_no_chunk() {
    for source in ["potion", "minilm"] {
        let model = Model::load(&ModelSpec::new(source)).expect("a model");
        for method in METHODS {
            check(&model, Prompt::Default, method, (24, 5));
        }
        check(&model, Prompt::Text("query: "), "recursive", (64, 8));
        check(&model, Prompt::Text("before"), "recursive", (64, 8));
    }
}

#[test]
fn tokenizers_whose_words_do_not_add_up_truncate_no_chunk() {
    for name in ["xlm-roberta", "roberta", "modernbert", "mpnet"] {
        let model = Model::load(&ModelSpec::new(fixture(name))).expect("a model");
        for method in METHODS {
            check(&model, Prompt::Default, method, (24, 5));
        }
        check(&model, Prompt::Text("before"), "recursive", (24, 0));
    }
}

#[test]
fn a_megabyte_without_a_space_is_cut_all_the_same() {
    let model = Model::load(&ModelSpec::new("minilm")).expect("a model");
    let given = "recursive:256:32".parse().expect("options");
    let chunker = Chunker::new(&model, Prompt::Default, &given, potion).expect("a chunker");
    for text in ["x".repeat(1 << 20), "é".repeat(1 << 18), "🙂".repeat(1 << 18)] {
        let split = chunker.split(&[Some(&text), None], &CancelToken::new(), &Unbounded);
        let split = split.expect("chunks");
        assert!(split[0].len() >= 64 && split[1].is_empty());
        assert!(split[0].iter().all(|chunk| chunk.end - chunk.start <= 256 * 64));
    }
}

#[test]
fn options_are_read_from_words() {
    let options = |words: &str| words.parse::<ChunkSpec>();
    let known = options("sentence:128:16").expect("options");
    assert_eq!((known.size, known.overlap), (Some(128), Some(16)));
    assert_eq!(options("tokens").expect("options").size, None);
    for words in ["words", "tokens:x", "tokens:1:2:3", "", "tokens:"] {
        let line = options(words).expect_err("no options").to_string();
        assert!(line.contains("write method:size:overlap"), "{line}");
    }
}

#[test]
fn a_size_that_the_model_does_not_read_is_an_error() {
    let model = Model::load(&ModelSpec::new("minilm")).expect("a model");
    let limit = model.info().max_length.expect("a limit");
    let given = format!("recursive:{}", limit + 1).parse().expect("options");
    let error = Chunker::new(&model, Prompt::Default, &given, potion).expect_err("too much");
    assert!(error.to_string().starts_with(&format!("size must be at most {limit}")), "{error}");
    let chunker =
        Chunker::new(&model, Prompt::Default, &"recursive".parse().expect("options"), potion);
    assert_eq!(chunker.expect("a chunker").options().size, limit.min(256));
}
