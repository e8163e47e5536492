#!/usr/bin/env python3
"""Makes a table of texts with duplicates whose origin is known, so that a deduplication can be given a precision and a
recall for each kind of duplicate.

Usage: make-planted-duplicates.py TEXTS OUT.parquet [--column NAME|NUMBER] [--rows N] [--share 0.1]
                                  [--paraphrases PAIRS.csv] [--seed 0]      (needs pyarrow)

TEXTS is a Parquet file or a CSV; `--column 2` takes the second column of a CSV without a header. Of the texts, the first
of those that are equal but for case and spaces are taken, at most N. For each kind below, a share of them is drawn, without
drawing a text for two kinds, and a changed copy of each is planted:

    exact       the same characters
    case_space  other case; spaces doubled, or added at an end
    typo        one letter left out, doubled, replaced, or exchanged with the next, in one word of four letters or more
    swap        two neighbouring words exchanged
    reworded    contractions written out or drawn together ("can't", "cannot"); where there are none, put into one of
                a few polite frames ("Quick question: ...")

`--paraphrases` adds pairs that people judged to mean the same: a CSV (or .csv.gz) of text, text, score without a header,
as STS-B is; those of the highest score are taken. The first text is an original, the second its duplicate of kind
`paraphrase`.

The columns are id, text, original_id (an original has its own) and kind (`original` for those), shuffled. What a
deduplication finds beyond the planted may be natural duplicates among the originals: read precision as a lower bound.
"""
import argparse
import csv
import gzip
import pathlib
import random
import re

import pyarrow as pa
import pyarrow.parquet as pq

CONTRACTIONS = {
    "can't": "cannot", "don't": "do not", "doesn't": "does not", "didn't": "did not", "won't": "will not",
    "isn't": "is not", "wasn't": "was not", "haven't": "have not", "hasn't": "has not", "couldn't": "could not",
    "i'm": "I am", "i've": "I have", "i'd": "I would", "i'll": "I will", "it's": "it is", "what's": "what is",
    "where's": "where is", "that's": "that is", "there's": "there is", "they're": "they are", "you're": "you are",
}
DRAWN_TOGETHER = {long.lower(): short for short, long in CONTRACTIONS.items() if short != "i'd"}
FRAMES = ["Quick question: {}", "Hello, {} Thank you.", "{} Please let me know.", "I wanted to ask: {}"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def folded(text):
    """What is left of a text when case and spaces don't count."""
    return " ".join(text.casefold().split())


def exact(text, _):
    return text


def case_space(text, rng):
    cased = rng.choice([str.upper, str.lower, str.swapcase, str.title])(text)
    spaced = rng.choice(["  {}", "{}  ", "{}\t", None])
    return cased.replace(" ", "  ") if spaced is None else spaced.format(cased)


def typo(text, rng):
    words = list(re.finditer(r"[A-Za-z]{4,}", text))
    if not words:
        return None
    word = rng.choice(words)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    letter, following = text[at], text[at + 1]
    edit = rng.choice(["", letter * 2, rng.choice(LETTERS.replace(letter.lower(), "")), None])
    if edit is None:
        return text[:at] + following + letter + text[at + 2:]
    return text[:at] + edit + text[at + 1:]


def swap(text, rng):
    words = text.split()
    if len(words) < 3:
        return None
    at = rng.randrange(len(words) - 1)
    words[at], words[at + 1] = words[at + 1], words[at]
    return " ".join(words)


def reworded(text, rng):
    for table in (CONTRACTIONS, DRAWN_TOGETHER):
        for old, new in table.items():
            changed = re.sub(rf"(?<![\w']){re.escape(old)}(?![\w'])", new, text, count=1, flags=re.IGNORECASE)
            if changed != text:
                return changed
    return rng.choice(FRAMES).format(text.strip())


KINDS = {kind.__name__: kind for kind in (exact, case_space, typo, swap, reworded)}


def texts_of(path, column):
    if path.suffix == ".parquet":
        return pq.read_table(path, columns=[column]).column(0).to_pylist()
    with open(path, newline="", encoding="utf-8") as file:
        if column.isdigit():
            return [row[int(column) - 1] for row in csv.reader(file)]
        return [row[column] for row in csv.DictReader(file)]


def judged_equal(path):
    """The pairs of the highest score."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", newline="", encoding="utf-8") as file:
        pairs = [(a.strip(), b.strip(), float(score)) for a, b, score in (row for row in csv.reader(file) if len(row) == 3)]
    best = max(score for *_, score in pairs)
    return [(a, b) for a, b, score in pairs if score == best]


def planted(originals, share, seen, rng):
    """(kind, place of the original, text) of each copy."""
    count = int(len(originals) * share)
    drawn = iter(rng.sample(range(len(originals)), len(originals)))
    for kind, change in KINDS.items():
        left = count
        for place in drawn:
            text = change(originals[place], rng)
            is_new = text is not None and folded(text) not in seen
            is_change = kind == "exact" or (text != originals[place] and (is_new or kind == "case_space"))
            if text is not None and is_change:
                seen.add(folded(text))
                yield kind, place, text
                left -= 1
            if left == 0:
                break


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=pathlib.Path)
    parser.add_argument("out")
    parser.add_argument("--column", default="text")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--paraphrases", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not 0 < options.share <= 1 / len(KINDS):
        parser.error(f"--share is {options.share}; with {len(KINDS)} kinds it is above 0 and at most {1 / len(KINDS)}")

    rng, seen, originals = random.Random(options.seed), set(), []
    for text in texts_of(options.texts, options.column):
        if text and folded(text) and folded(text) not in seen and len(originals) != options.rows:
            seen.add(folded(text))
            originals.append(text)
    copies = list(planted(originals, options.share, seen, rng))
    for a, b in judged_equal(options.paraphrases) if options.paraphrases else []:
        if folded(a) != folded(b) and folded(a) not in seen and folded(b) not in seen:
            seen.update((folded(a), folded(b)))
            copies.append(("paraphrase", len(originals), b))
            originals.append(a)

    rows = [("original", place, text) for place, text in enumerate(originals)] + copies
    order = rng.sample(range(len(rows)), len(rows))
    id_of = {row: new for new, row in enumerate(order)}
    kinds, places, texts = zip(*(rows[row] for row in order))
    table = pa.table(
        {
            "id": pa.array(range(len(rows)), pa.int64()),
            "text": pa.array(texts, pa.string()),
            "original_id": pa.array([id_of[place] for place in places], pa.int64()),
            "kind": pa.array(kinds, pa.string()),
        }
    )
    pq.write_table(table, options.out, compression="zstd", use_dictionary=["kind"])
    counts = {kind: kinds.count(kind) for kind in ("original", *KINDS, "paraphrase")}
    print(", ".join(f"{count} {kind}" for kind, count in counts.items() if count))


if __name__ == "__main__":
    main()
