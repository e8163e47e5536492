//! Compressed, damaged and hostile files.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Memory, Random, csv_of, json_of, read, refused};
use crate::{Cancel, Error, Limits, Open, Result, TextOptions, survey};

const TEXT: &str = "id,text\n1,my card was stolen\n2,rain is falling\n";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(text).expect("compressed");
    encoder.finish().expect("compressed")
}

fn bzip2(text: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(text).expect("compressed");
    encoder.finish().expect("compressed")
}

fn xz(text: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
    encoder.write_all(text).expect("compressed");
    encoder.finish().expect("compressed")
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 3).expect("compressed")
}

type Compress = fn(&[u8]) -> Vec<u8>;
const COMPRESSIONS: [(&str, Compress); 4] =
    [("gz", gzip), ("bz2", bzip2), ("xz", xz), ("zst", zstd)];

#[test]
fn compressed_files_are_recognised_by_content() {
    let expected = csv_of(TEXT).expect("read");
    for (end, compress) in COMPRESSIONS {
        let whole = compress(TEXT.as_bytes());
        for name in [format!("x.csv.{end}"), "x.csv".into(), "x.csv.gz".into(), "x.CSV.GZ".into()] {
            let file = Memory::new(&name, whole.clone());
            assert_eq!(read(&file, &TextOptions::csv()).expect("read"), expected, "{name}");
        }
        let (first, rest) = TEXT.split_at(20);
        let members = [compress(first.as_bytes()), compress(rest.as_bytes())].concat();
        let file = Memory::new(&format!("x.csv.{end}"), members).in_pieces(5);
        assert_eq!(
            read(&file, &TextOptions::csv()).expect("read"),
            expected,
            "{end} in two members"
        );
    }
    let array = gzip(b"[{\"id\":1}, {\"id\":2}]");
    assert_eq!(json_of(array).expect("read"), ["id Int64", "1", "2"]);
    // A text that begins like a compressed file.
    assert_eq!(csv_of("BZh9,b\n1,2\n").expect("read")[0], "BZh9 Int64, b Int64");
}

#[test]
fn damaged_compression_is_named() {
    for (end, compress) in COMPRESSIONS {
        let name = format!("x.csv.{end}");
        let kind = if end == "gz" {
            "gzip"
        } else if end == "zst" {
            "zstd"
        } else if end == "xz" {
            "xz"
        } else {
            "bzip2"
        };
        let mut torn = compress(TEXT.repeat(50).as_bytes());
        torn.truncate(torn.len() - 9);
        let message = refused(read(&Memory::new(&name, torn), &TextOptions::csv()));
        assert_eq!(
            message,
            format!("file '{name}' can't be decompressed: its {kind} data is cut off")
        );
        let message = refused(read(&Memory::new(&name, TEXT), &TextOptions::csv()));
        let expected = format!("file '{name}' can't be decompressed: its {kind} data is damaged (");
        assert!(message.starts_with(&expected), "{message}");
    }
}

#[test]
fn flipped_and_cut_files_never_panic() {
    let mut random = Random::new(9);
    let json = "{\"id\":1,\"text\":\"a\\u00e9\",\"v\":[1,2,{\"x\":null}]}\n".repeat(9);
    let csv = "id,text\n1,\"a\n\"\"b\"\"\"\n2,x\n".repeat(9);
    let texts = [
        (csv, TextOptions::csv()),
        (json.clone(), TextOptions::json()),
        (format!("[{}]", json.trim().replace('\n', ",")), TextOptions::json()),
    ];
    for (text, options) in texts {
        let plain: Compress = <[u8]>::to_vec;
        for compress in COMPRESSIONS.map(|(_, compress)| compress).into_iter().chain([plain]) {
            let good = compress(text.as_bytes());
            for _ in 0..100 {
                let mut bytes = good.clone();
                let at = random.below(bytes.len());
                match random.below(3) {
                    0 => bytes.truncate(at),
                    1 => bytes[at] ^= 1 << random.below(8),
                    _ => bytes[at] = random.below(256) as u8,
                }
                if let Err(error) = read(&Memory::new("x.gz", bytes), &options) {
                    let message = error.to_string();
                    assert!(
                        message.starts_with("file 'x.gz'") && !message.contains('\n'),
                        "{message}"
                    );
                    assert!(!message.contains("can't be read, it may be damaged"), "{message}");
                }
            }
        }
    }
}

fn with_limits(text: impl Into<Vec<u8>>, options: &TextOptions, limits: &Limits) -> Result<u64> {
    survey(&Memory::new("x", text), options, limits, &Cancel::never()).map(|found| found.rows)
}

#[test]
fn limits_are_named() {
    let limits =
        Limits { record_bytes_max: 1000, value_bytes_max: 100, columns_max: 5, depth_max: 3 };
    let refusal = |text: String, options: TextOptions| match with_limits(text, &options, &limits) {
        Err(Error::Limit(message)) => message,
        other => panic!("{other:?}"),
    };
    let long = |count: usize| "x".repeat(count);
    let csv = |text: String| refusal(text, TextOptions::csv());
    assert_eq!(
        csv(format!("a,b\n1,2\n1,{}\n", long(600_000))),
        "file 'x': row 2 (line 3) exceeds record_bytes_max (1000 bytes)"
    );
    assert_eq!(
        csv(format!("a,b\n1,\"{}\n", long(600_000))),
        "file 'x': row 1 (line 2) exceeds record_bytes_max (1000 bytes); a quote that is opened there may not be closed"
    );
    assert_eq!(
        csv(format!("a,b\n1,{}\n", long(101))),
        "file 'x': row 1 (line 2) has a value that exceeds value_bytes_max (100 bytes)"
    );
    assert_eq!(
        csv("a,b,c,d,e,f\n".into()),
        "file 'x': the first row has 6 columns, more than columns_max (5)"
    );
    let json = |text: String| refusal(text, TextOptions::json());
    assert_eq!(
        json(format!("{{}}\n{{\"a\":[{}1]}}", "1,".repeat(600_000))),
        "file 'x': line 2: a record exceeds record_bytes_max (1000 bytes)"
    );
    assert_eq!(
        json(format!("{{\"a\":\"{}\"}}", long(101))),
        "file 'x': line 1: a value exceeds value_bytes_max (100 bytes)"
    );
    assert_eq!(
        json("{\"a\":[[[]]]}".into()),
        "file 'x': line 1: more than depth_max (3) nested values"
    );
    assert_eq!(
        json("{\"a\":{\"b\":1,\"c\":1,\"d\":1}}\n{\"e\":1}\n{\"f\":1}".into()),
        "file 'x': line 3: more than columns_max (5) fields"
    );
}

#[test]
fn nesting_of_any_depth_is_no_crash() {
    for bracket in ["[", "{\"a\":"] {
        let text = format!("{{\"a\":{}", bracket.repeat(1_000_000));
        let error = with_limits(text, &TextOptions::json(), &Limits::default()).expect_err("deep");
        assert_eq!(error.to_string(), "file 'x': line 1: more than depth_max (100) nested values");
    }
}

/// A file of one endless line, which counts what is read of it.
#[derive(Debug)]
struct Endless(Arc<AtomicUsize>);

impl Open for Endless {
    fn name(&self) -> &str {
        "endless.csv"
    }

    fn open(&self, _: u64) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(Xs(Arc::clone(&self.0))))
    }
}

struct Xs(Arc<AtomicUsize>);

impl Read for Xs {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        into.fill(b'x');
        self.0.fetch_add(into.len(), Ordering::Relaxed);
        Ok(into.len())
    }
}

#[test]
fn an_endless_line_is_read_no_further_than_its_limit() {
    let limits = Limits { record_bytes_max: 4 << 20, ..Limits::default() };
    for options in [TextOptions::csv(), TextOptions::json()] {
        let read = Arc::new(AtomicUsize::new(0));
        let error = survey(&Endless(Arc::clone(&read)), &options, &limits, &Cancel::never());
        assert!(matches!(error, Err(Error::Limit(_) | Error::Data(_))), "{error:?}");
        assert!(read.load(Ordering::Relaxed) <= 16 << 20, "{read:?}");
    }
}

#[test]
fn reading_stops_on_request() {
    let error = survey(
        &Endless(Arc::default()),
        &TextOptions::csv(),
        &Limits::default(),
        &Cancel::new(|| true),
    );
    assert_eq!(error.map(|found| found.rows), Err(Error::Cancelled));
}

/// A file of a store that fails.
#[derive(Debug)]
struct Failing(bool);

impl Open for Failing {
    fn name(&self) -> &str {
        "s3://b/x.csv.gz"
    }

    fn open(&self, _: u64) -> io::Result<Box<dyn Read + Send>> {
        if self.0 {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no such key"));
        }
        let head = io::Cursor::new(gzip(TEXT.as_bytes())[..12].to_vec());
        Ok(Box::new(head.chain(Broken)))
    }
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("connection reset"))
    }
}

#[test]
fn failures_of_a_store_are_told_apart_from_those_of_a_file() {
    let of = |is_missing| {
        survey(&Failing(is_missing), &TextOptions::csv(), &Limits::default(), &Cancel::never())
            .map(|found| found.rows)
    };
    assert_eq!(of(true), Err(Error::Missing("file 's3://b/x.csv.gz' does not exist".into())));
    let failed = "file 's3://b/x.csv.gz' can't be read: connection reset";
    assert_eq!(of(false), Err(Error::Io(failed.into())));
}
