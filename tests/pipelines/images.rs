//! A topic of pictures: each record is the bytes of a file.

use std::fs;
use std::path::Path;

use sembla_testing::{Broker, Record};

use super::{run, stderr};
use crate::place::Place;

#[test]
fn pictures_of_a_topic_are_searched_and_bad_ones_are_dead_letters() {
    let shapes = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/shapes");
    let mut files: Vec<_> =
        fs::read_dir(&shapes).expect("pictures").flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "png"));
    files.sort();
    let files = &files[..20];
    let mut records = Vec::new();
    for path in files {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        records.push(Record::new(fs::read(path).expect("a picture")).key(&name));
    }
    records.insert(3, Record::new("no picture").key("text"));
    let torn = fs::read(&files[0]).expect("a picture");
    records.insert(9, Record::new(&torn[..torn.len() / 2]).key("torn"));

    let broker = Broker::shared();
    let pictures = broker.topic(&Broker::unique("pictures"), 1);
    broker.produce(&pictures, &records);
    let (found, place) = (Broker::unique("found"), Place::new());
    let servers = broker.servers();
    let model = shapes.with_file_name("shapes-clip").display().to_string().replace('\'', "''");
    let file = place.write(
        "pictures.sql",
        &format!(
            "CREATE SOURCE pictures (picture BYTEA, name VARCHAR METADATA FROM 'key')
               WITH (connector = 'kafka', bootstrap_servers = '{servers}', topic = '{pictures}', format = 'raw',
                     stop_at_end = 'true');
             CREATE SINK found WITH (connector = 'kafka', bootstrap_servers = '{servers}', topic = '{found}',
                     dead_letter_topic = '{found}_bad', create_topics = 'true');
             INSERT INTO found
               SELECT name, similarity('two red circles', picture, '{model}') AS score FROM pictures;"
        ),
    );
    assert!(run(&place, &file, None), "{}", stderr(&place));

    let rows = broker.read_committed(&found);
    let mut best = (f64::MIN, String::new());
    for row in &rows {
        let row: serde_json::Value = serde_json::from_str(&row.text()).expect("JSON");
        let score = row["score"].as_f64().expect("a score");
        if score > best.0 {
            best = (score, row["name"].as_str().expect("a name").to_string());
        }
    }
    // It shows two red circles and nothing else.
    assert_eq!((rows.len(), best.1.as_str()), (files.len(), "017.png"));
    let letters = broker.read_committed(&format!("{found}_bad"));
    let offsets: Vec<_> = letters.iter().map(|letter| letter.header_text("offset")).collect();
    assert_eq!(offsets, [Some("3".to_string()), Some("9".to_string())]);
    for (letter, name) in letters.iter().zip(["text", "torn"]) {
        let row: serde_json::Value = serde_json::from_str(&letter.text()).expect("a row as JSON");
        assert_eq!(row["name"], name);
    }
    let reason = letters[0].header_text("reason").expect("a reason");
    assert!(reason.contains("is text; supported are JPEG"), "{reason}");
}
