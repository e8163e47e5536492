#!/usr/bin/env python3
"""Makes examples/data/banking77.parquet from the train.csv and test.csv of banking77.

Usage: make-example-data.py FOLDER_WITH_CSV OUT.parquet   (needs pyarrow; the result is committed)
"""
import csv
import pathlib
import sys

import pyarrow as pa
import pyarrow.parquet as pq


def rows(folder):
    for split in ("train", "test"):
        with open(folder / f"{split}.csv", newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                yield row["text"].strip(), row["category"], split


def main():
    folder, out = pathlib.Path(sys.argv[1]), sys.argv[2]
    texts, intents, splits = zip(*rows(folder))
    table = pa.table(
        {
            "id": pa.array(range(1, len(texts) + 1), pa.int32()),
            "text": pa.array(texts, pa.string()),
            "intent": pa.array(intents, pa.string()),
            "split": pa.array(splits, pa.string()),
        }
    )
    pq.write_table(table, out, compression="zstd", compression_level=19, use_dictionary=["intent", "split"])
    print(f"{len(texts)} rows, {len(set(intents))} intents")


if __name__ == "__main__":
    main()
