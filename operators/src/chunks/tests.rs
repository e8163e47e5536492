//! What holds for chunks whatever the method and the text, over a tokenizer of this file that is
//! simple enough to be seen through.

use super::*;
use crate::Unbounded;

/// Words are runs of letters and digits, or one other character; a word has a token for each four
/// characters that it begins. White space is none. Two special tokens are around.
struct Simple {
    /// Whether the words "th" and "e" in a row are one more token than apart, so that sums are not
    /// exact.
    is_fickle: bool,
}

fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut last_is_inner = false;
    for (start, c) in text.char_indices() {
        let end = start + c.len_utf8();
        let is_inner = c.is_alphanumeric();
        match words.last_mut().filter(|word| is_inner && last_is_inner && word.end == start) {
            Some(word) => word.end = end,
            None if c.is_whitespace() => {}
            None => words.push(Word { start, end, tokens: 1 }),
        }
        last_is_inner = is_inner;
    }
    for word in &mut words {
        word.tokens = text[word.start..word.end].chars().count().div_ceil(4) as u32;
    }
    words
}

impl Measure for Simple {
    fn count(&self, text: &str) -> Result<usize> {
        let own: usize = words(text).iter().map(|word| word.tokens as usize).sum();
        let extra = if self.is_fickle { usize::from(own > 3) * (1 + own / 7) } else { 0 };
        Ok(own + extra + 2)
    }

    fn fixed(&self) -> usize {
        2
    }

    fn words(&self, text: &str) -> Result<Vec<Word>> {
        Ok(words(text))
    }

    fn adds_up(&self) -> bool {
        !self.is_fickle
    }

    fn vectors(&self, sentences: &[&str]) -> Result<(usize, Vec<f32>)> {
        let row = |s: &&str| [s.len() as f32, s.matches('a').count() as f32, 1.0];
        Ok((3, sentences.iter().flat_map(row).collect()))
    }
}

const METHODS: [Method; 5] =
    [Method::Recursive, Method::Sentence, Method::Markdown, Method::Tokens, Method::Semantic];

fn options(method: Method, size: usize, overlap: usize) -> ChunkOptions {
    ChunkOptions { method, size, overlap, heading: true, characters: None }
}

/// Texts of all kinds, the same in every run.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " \n\t ",
        "One.",
        "\u{0}",
        "nul \u{0} in\u{0}side a text\u{0}",
        "  leading and trailing  \n",
        "Ein Satz, mit Komma. Noch einer! Und z. B. ein dritter? Ja.",
        "# Guide\n\nText of the guide.\n\n## Install\n\nRun it.\n\n```\n# not a heading\n\nmake\n```\n\n\
         ### Deep\n\nwords words\n\n## Use\n\n- one\n- two\n",
        "Title\n=====\n\nBody of it. More of it.\n\nPart\n----\n\nRest",
        "日本語の文章です。これは二番目の文です。三番目、そして最後。",
        "👩‍👩‍👧‍👦👍🏽🇩🇪e\u{301}e\u{301}",
        "a\r\nb\r\n\r\nc",
    ]
    .map(str::to_string)
    .into();
    texts.push("x".repeat(5000));
    texts.push("👩‍👩‍👧‍👦".repeat(300));
    texts.push(format!("a{}b", " ".repeat(5000)));
    texts.push("e\u{301}".repeat(1000));
    // A walk through an alphabet that has everything that breaks are made of.
    let alphabet = [
        "word",
        "a",
        ". ",
        ", ",
        "\n",
        "\n\n",
        " ",
        "Über",
        "# ",
        "```\n",
        "!",
        "漢",
        "。",
        "🙂",
        "longerword",
    ];
    let mut state = 1_u64;
    for length in [10, 100, 1000] {
        for _ in 0..12 {
            let mut text = String::new();
            for _ in 0..length {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                text.push_str(alphabet[(state >> 33) as usize % alphabet.len()]);
            }
            texts.push(text);
        }
    }
    texts
}

fn each(check: impl Fn(&str, &ChunkOptions, &Simple, &[Chunk])) {
    for text in texts() {
        for method in METHODS {
            for (size, overlap) in [(5, 0), (12, 3), (40, 8), (300, 30)] {
                for is_fickle in [false, true] {
                    let (options, measure) = (options(method, size, overlap), Simple { is_fickle });
                    let chunks = split(&text, &options, &measure).expect("chunks");
                    check(&text, &options, &measure, &chunks);
                }
            }
        }
    }
}

#[test]
fn no_chunk_has_more_tokens_than_it_may() {
    each(|text, options, measure, chunks| {
        for chunk in chunks {
            let counted = measure.count(&chunk.text(text)).expect("a count");
            assert_eq!(chunk.tokens, counted, "{options:?} {text:?}");
            assert!(counted <= options.size, "{options:?} {text:?}");
        }
    });
}

#[test]
fn chunks_leave_out_nothing_but_white_space() {
    each(|text, options, _, chunks| {
        let mut done = 0;
        for chunk in chunks {
            assert!(chunk.start < chunk.end && chunk.end <= text.len());
            if chunk.start > done {
                assert!(text[done..chunk.start].trim().is_empty(), "{options:?} {text:?}");
            }
            done = done.max(chunk.end);
        }
        assert!(text[done..].trim().is_empty(), "{options:?} {text:?}");
    });
}

#[test]
fn chunks_that_are_not_trimmed_reproduce_the_text() {
    each(|text, options, _, chunks| {
        // A run of white space that is longer than a chunk may be is in none.
        if options.method.trims() || chunks.is_empty() || text.contains(&" ".repeat(100)) {
            return;
        }
        let mut whole = String::new();
        for chunk in chunks {
            assert!(chunk.start <= whole.len(), "{options:?} {text:?}");
            whole.truncate(chunk.start);
            whole.push_str(&chunk.text(text));
        }
        assert_eq!(whole, text, "{options:?}");
    });
}

#[test]
fn chunks_overlap_by_no_more_than_is_asked_and_go_on() {
    each(|text, options, measure, chunks| {
        for pair in chunks.windows(2) {
            assert!(pair[0].start < pair[1].start, "{options:?} {text:?} {pair:?}");
            if measure.is_fickle || pair[0].end <= pair[1].start {
                continue;
            }
            let repeated = measure.count(&text[pair[1].start..pair[0].end]).expect("a count") - 2;
            assert!(repeated <= options.overlap, "{options:?} {text:?}");
            assert!(pair[0].end < pair[1].end, "{options:?} {text:?} {pair:?}");
        }
    });
}

#[test]
fn a_chunk_ends_at_the_best_break_in_its_second_half() {
    let text = "One two three. Four five six seven\neight nine. Ten eleven.\n\nTwelve";
    let chunks = |method| -> Vec<String> {
        let chunks = split(text, &options(method, 12, 0), &Simple { is_fickle: false });
        let chunks = chunks.expect("chunks");
        chunks.iter().map(|chunk| chunk.text(text).into_owned()).collect()
    };
    let ends = "One two three. |Four five six seven\neight nine. |Ten eleven.\n\nTwelve";
    assert_eq!(chunks(Method::Recursive).join("|"), ends);
    let ends = "One two three.|Four five six seven\neight nine.|Ten eleven.\n\nTwelve";
    assert_eq!(chunks(Method::Sentence).join("|"), ends);
    let ends = "One two three. Four five six seven\n|eight nine. Ten eleven.\n\nTwelve";
    assert_eq!(chunks(Method::Tokens).join("|"), ends);
}

#[test]
fn a_chunk_of_markdown_stays_in_its_section_and_says_where_it_is() {
    let text = "# Guide\n\nIntro.\n\n## Install\n\nRun make. Then run it again and again until it works.\n\n## Use\n\nCall it.\n";
    let measure = Simple { is_fickle: false };
    let chunks = split(text, &options(Method::Markdown, 16, 4), &measure).expect("chunks");
    let shown: Vec<(Option<&str>, String)> = chunks
        .iter()
        .map(|chunk| (chunk.heading_path.as_deref(), chunk.text(text).into_owned()))
        .collect();
    assert_eq!(shown[0], (Some("Guide"), "# Guide\n\nIntro.".into()));
    assert_eq!(shown[1].0, Some("Guide > Install"));
    assert!(shown[1].1.starts_with("Guide\n\n## Install\n\nRun make."), "{:?}", shown[1]);
    assert!(shown[2].1.starts_with("Guide > Install\n\n"), "{:?}", shown[2]);
    let last = shown.last().expect("chunks");
    assert_eq!(last, &(Some("Guide > Use"), "Guide\n\n## Use\n\nCall it.".to_string()));
    let plain = ChunkOptions { heading: false, ..options(Method::Markdown, 16, 0) };
    let chunks = split(text, &plain, &measure).expect("chunks");
    assert!(chunks.iter().all(|chunk| chunk.context.is_none()));
    assert!(chunks.iter().all(|chunk| chunk.heading_path.is_some()));
}

#[test]
fn a_model_that_reads_few_characters_gets_no_more() {
    let text = "x".repeat(1000) + " " + &"word ".repeat(300);
    for method in METHODS {
        let options = ChunkOptions { characters: Some(100), ..options(method, 200, 10) };
        let chunks = split(&text, &options, &Simple { is_fickle: false }).expect("chunks");
        assert!(chunks.iter().all(|chunk| chunk.text(&text).chars().count() <= 100), "{method:?}");
    }
}

#[test]
fn what_leaves_no_room_is_an_error_that_says_so() {
    let measure = Simple { is_fickle: false };
    let error = |size, overlap| {
        split("a", &options(Method::Tokens, size, overlap), &measure)
            .expect_err("no room")
            .to_string()
    };
    assert!(error(2, 0).starts_with("size must be at least 3, got 2"), "{}", error(2, 0));
    assert!(error(10, 8).starts_with("overlap must be less than 8, got 8"), "{}", error(10, 8));
}

#[test]
fn many_texts_are_cut_as_each_by_itself() {
    let texts = texts();
    let mut given: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
    given.push(None);
    let (options, measure) = (options(Method::Recursive, 20, 4), Simple { is_fickle: false });
    let all = split_all(&given, &options, &measure, &Unbounded).expect("chunks");
    for (text, chunks) in given.iter().zip(all) {
        let alone = text.map_or(Ok(Vec::new()), |text| split(text, &options, &measure));
        assert_eq!(chunks, alone.expect("chunks"));
    }
}
