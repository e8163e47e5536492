//! Pictures in S3: single ones, folders and patterns, and what can't be used.

use std::fs;
use std::path::{Path, PathBuf};

use sembla_testing::Moto;

use crate::place::{Place, Run, read_parquet};

fn shapes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/shapes")
}

fn picture(name: &str) -> Vec<u8> {
    fs::read(shapes().join(name)).expect("a picture")
}

/// A server with pictures in a folder and in one below it, a torn one, one that is a text, and a
/// file that is no picture by its name.
fn server() -> Moto {
    let server = Moto::start();
    for (key, name) in [("a/001.png", "001.png"), ("a/b/002.png", "002.png"), ("c.png", "017.png")]
    {
        server.put(&format!("photos/{key}"), &picture(name));
    }
    let torn = picture("003.png");
    server.put("photos/a/torn.png", &torn[..40]);
    server.put("photos/text.jpg", b"no picture");
    server.put("photos/notes.txt", b"about the pictures");
    server.put("notes/notes.txt", b"about nothing");
    server
}

fn run(place: &Place, server: &Moto, args: &[&str]) -> Run {
    let output = place.command(args).envs(server.environment()).output().expect("the binary runs");
    Run {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

/// The rows of a query as lines of CSV, without the header.
fn rows(place: &Place, server: &Moto, sql: &str) -> Vec<String> {
    let out = run(place, server, &["sql", sql, "--format", "csv"]).ok();
    out.lines().skip(1).map(str::to_string).collect()
}

#[test]
fn pictures_at_addresses_are_rows() {
    let (place, server) = (Place::new(), server());
    let read = |address: &str| {
        let columns =
            "path, length(encode(bytes, 'hex')) / 2 AS size, width, height, format, error";
        rows(&place, &server, &format!("SELECT {columns} FROM read_images('{address}')"))
    };
    let sound = |key: &str, name: &str| {
        format!("s3://bucket/photos/{key},{},256,256,PNG,", picture(name).len())
    };
    let one = read("s3://bucket/photos/c.png");
    assert_eq!(one, [sound("c.png", "017.png")]);

    // A folder has what lies below it, in the order of names; a bad picture is a row.
    for folder in ["s3://bucket/photos", "s3://bucket/photos/"] {
        let all = read(folder);
        assert_eq!(all.len(), 5, "{all:?}");
        assert_eq!(all[0], sound("a/001.png", "001.png"));
        assert_eq!(all[1], sound("a/b/002.png", "002.png"));
        assert!(all[2].starts_with("s3://bucket/photos/a/torn.png,,,,,"), "{}", all[2]);
        assert!(all[2].contains("is a damaged PNG file"), "{}", all[2]);
        assert_eq!(all[3], sound("c.png", "017.png"));
        assert!(all[4].starts_with("s3://bucket/photos/text.jpg,,,,,"), "{}", all[4]);
        assert!(all[4].contains("is text; supported are JPEG"), "{}", all[4]);
    }
    let fitting = read("s3://bucket/photos/**/00?.png");
    assert_eq!(fitting, [sound("a/001.png", "001.png"), sound("a/b/002.png", "002.png")]);
    // A folder without pictures has no rows.
    assert_eq!(read("s3://bucket/notes"), [""; 0]);
}

#[test]
fn what_is_not_there_is_named() {
    let (place, server) = (Place::new(), server());
    let fails = |address: &str| {
        let sql = format!("SELECT path FROM read_images('{address}')");
        run(&place, &server, &["sql", &sql]).fails(2)
    };
    for (address, what) in [
        ("s3://bucket/photos/missing.png", "'s3://bucket/photos/missing.png' does not exist"),
        ("s3://bucket/nothing/", "does not exist"),
        ("s3://bucket/photos/*.tiff", "no file matches 's3://bucket/photos/*.tiff'"),
    ] {
        let line = fails(address);
        assert!(line.contains("read_images") && line.contains(what), "{line}");
        assert!(!line.contains("test-secret") && !line.contains("test-key-id"), "{line}");
    }
    let sql = "SELECT path FROM read_images('s3://no-such-bucket/x.png')";
    let line = run(&place, &server, &["sql", sql]);
    assert_ne!(line.code, 0, "{}", line.out);
    assert!(
        line.err.contains("no-such-bucket") && !line.err.contains("test-secret"),
        "{}",
        line.err
    );
}

/// Vectors are those of the same files on this machine.
#[test]
fn commands_take_a_pattern_of_addresses() {
    let (place, server) = (Place::new(), server());
    let model = shapes().with_file_name("shapes-clip").display().to_string();
    let pattern = "s3://bucket/photos/**/*.png";
    let done = run(&place, &server, &["embed", pattern, "-m", &model, "-o", "far.parquet"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("'s3://bucket/photos/a/torn.png' is a damaged PNG"), "{}", done.err);
    for name in ["001.png", "002.png", "017.png"] {
        fs::copy(shapes().join(name), place.path(name)).expect("copied");
    }
    let near = ["embed", "001.png", "002.png", "017.png", "-m", &model, "-o", "near.parquet"];
    place.run(&near).ok();
    let far = read_parquet(&place.path("far.parquet"));
    let near = read_parquet(&place.path("near.parquet"));
    let vectors = |rows: &arrow::array::RecordBatch| {
        (0..rows.num_rows())
            .filter_map(|row| crate::place::vector(rows, "embedding", row))
            .collect::<Vec<_>>()
    };
    assert_eq!(vectors(&far), vectors(&near));
    assert_eq!(vectors(&far).len(), 3);
}
