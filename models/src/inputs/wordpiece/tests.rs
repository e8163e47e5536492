//! The ids are the library's, on texts that people write and on texts that nobody should.

use std::path::Path;

use super::*;

struct Both {
    library: Tokenizer,
    quick: WordPiece,
}

fn builtin(folder: &str, is_special: bool) -> Both {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("builtin").join(folder);
    let bytes = std::fs::read(path.join("tokenizer.json")).expect("a file");
    let mut library = Tokenizer::from_bytes(&bytes).expect("a tokenizer");
    library.with_padding(None).with_truncation(None).expect("no limits");
    let quick = WordPiece::of(&library, &bytes, false, is_special).expect("it is of that kind");
    Both { library, quick }
}

impl Both {
    fn library(&self, text: &str, is_special: bool) -> Vec<u32> {
        self.library.encode_fast(text, is_special).expect("encoded").get_ids().to_vec()
    }

    /// Compares both, without a limit and with all small ones.
    fn compare(&self, text: &str, is_special: bool) {
        let foreign = |word: &str| Ok::<_, ()>(self.library(word, false));
        let expected = self.library(text, is_special);
        let Some(whole) = self.quick.encode(text, usize::MAX, foreign).expect("encoded") else {
            return;
        };
        assert_eq!(whole.ids, expected, "{text:?}");
        assert!(!whole.truncated);
        let ends = if is_special { 1 } else { 0 };
        for limit in 2 * ends..expected.len().min(12) + 2 {
            let part = self.quick.encode(text, limit, foreign).expect("encoded").expect("quick");
            let is_over = expected.len() > limit;
            assert_eq!(part.truncated, is_over, "{text:?} at {limit}");
            let mut ids = expected.clone();
            if is_over {
                ids.truncate(limit - ends);
                ids.extend_from_slice(&expected[expected.len() - ends..]);
            }
            assert_eq!(part.ids, ids, "{text:?} at {limit}");
        }
    }
}

const TEXTS: &[&str] = &[
    "",
    " ",
    "I am still waiting on my card?",
    "What's the e-mail of john.doe+spam@example.com, please?!",
    "tokenisation, antidisestablishmentarianism and 3.14159265358979 or 1,000,000",
    "\tTabs\nand\r\nlines   and   spaces ",
    "a\u{b}b\u{c}c\u{1f}d\u{7f}e\u{0}f",
    "CAF\u{c9} na\u{ef}ve r\u{e9}sum\u{e9} cafe\u{301} \u{301}x",
    "\u{201c}quoted\u{201d} \u{2014} dash\u{2026}",
    "\u{4f60}\u{597d}world \u{65e5}\u{672c}\u{8a9e} mixed\u{6df7}",
    "\u{1f600} smile\u{1f600}s \u{200d} zero\u{200b}width \u{feff}bom \u{fffd}",
    "nbsp\u{a0}here \u{85}nel \u{2003}em \u{3000}ideographic",
    "[CLS] [MASK] [mask] a[SEP]b [UNK]] [[PAD] [ ] [X]",
    "## ##ing #hash under_score ~ ` ^ | \\ / < > = + $",
    "\u{130}stanbul stra\u{df}e \u{3a3}\u{3a3} \u{fb01}ne \u{212b}",
    "\u{e01}\u{e34}\u{e19} \u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947}",
];

#[test]
fn texts_of_all_kinds_have_the_librarys_ids() {
    for folder in ["potion-base-4M-int8", "all-MiniLM-L6-v2-q8"] {
        for is_special in [false, true] {
            let both = builtin(folder, is_special);
            for text in TEXTS {
                both.compare(text, is_special);
                both.compare(&format!("before {text} after"), is_special);
            }
            for length in [99, 100, 101, 127, 128, 129, 300, 1500] {
                both.compare(&"x".repeat(length), is_special);
                both.compare(&format!("a {} b", "\u{e9}".repeat(length)), is_special);
            }
        }
    }
}

/// Random texts of pieces that meet in unusual ways.
#[test]
fn random_texts_have_the_librarys_ids() {
    let pieces = [
        "a",
        "B",
        "the",
        "ing",
        "un",
        "card",
        "7",
        "42",
        " ",
        " ",
        " ",
        "\n",
        "\t",
        ".",
        ",",
        "'",
        "-",
        "#",
        "[",
        "]",
        "[SEP]",
        "\u{e9}",
        "e\u{301}",
        "\u{4e2d}",
        "\u{1f600}",
        "\u{200b}",
        "\u{1}",
        "\u{a0}",
        "\u{df}",
        "qx",
        "zzz",
    ];
    let both = builtin("potion-base-4M-int8", true);
    let mut state = 7_u64;
    let mut below = |bound: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    for _ in 0..4000 {
        let text: String = (0..below(14)).map(|_| pieces[below(pieces.len())]).collect();
        both.compare(&text, true);
    }
}

#[test]
fn other_tokenizers_are_left_to_the_library() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("builtin/potion-base-4M-int8");
    let text = std::fs::read_to_string(path.join("tokenizer.json")).expect("a file");
    let is_quick = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        let changed = text.replacen(from, to, 1);
        let library = Tokenizer::from_bytes(changed.as_bytes()).expect("a tokenizer");
        WordPiece::of(&library, changed.as_bytes(), false, false).is_some()
    };
    assert!(is_quick("BertNormalizer", "BertNormalizer"));
    assert!(!is_quick("BertPreTokenizer", "WhitespaceSplit"));
    let compact: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for (place, key, value) in [
        ("/normalizer", "clean_text", serde_json::json!(false)),
        ("/added_tokens/0", "lstrip", serde_json::json!(true)),
        ("/added_tokens/0", "content", serde_json::json!("pad")),
        ("/added_tokens/0", "normalized", serde_json::json!(true)),
    ] {
        let mut changed = compact.clone();
        *changed.pointer_mut(place).expect("a place").get_mut(key).expect("a key") = value;
        let bytes = serde_json::to_vec(&changed).expect("JSON");
        let library = Tokenizer::from_bytes(&bytes).expect("a tokenizer");
        assert!(WordPiece::of(&library, &bytes, false, false).is_none(), "{place} {key}");
    }
}
