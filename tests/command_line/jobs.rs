//! Nightly jobs: killed at every place, kept apart, estimated, and listed.

use std::fs;

use sembla_runtime::failpoint;

use crate::place::{Place, read_parquet};

const JOB: [&str; 14] = [
    "embed",
    "in.jsonl",
    "-o",
    "out.parquet",
    "-m",
    "potion",
    "--incremental",
    "--key",
    "id",
    "--json",
    "--part-rows",
    "500",
    "--batch-rows",
    "100",
];

/// The rows of a night: one in ten changes, and one in twenty goes.
fn night(place: &Place, number: u32) {
    let text = |id: u32| match number > 0 && id % 10 == 3 {
        true => format!("another question {id}"),
        false => format!("question {id} about card {}", id % 13),
    };
    let ids = (0..2000).filter(|id| number == 0 || id % 20 != 5);
    let lines = ids.map(|id| format!("{{\"id\": {id}, \"text\": \"{}\"}}\n", text(id)));
    place.write("in.jsonl", &lines.collect::<String>());
}

fn last_line(place: &Place, query: &str) -> String {
    let found = place.run(&["sql", "--format", "csv", query]).ok();
    found.lines().last().unwrap_or_default().to_string()
}

#[test]
fn a_kill_at_every_place_leaves_one_night_or_the_other() {
    let place = Place::new();
    night(&place, 0);
    place.run(&JOB).ok();
    let before = fs::read(place.path("out.parquet")).expect("the first night");
    night(&place, 1);
    place.run(&JOB).ok();
    let golden = read_parquet(&place.path("out.parquet"));
    let old = {
        fs::write(place.path("old.parquet"), &before).expect("written");
        read_parquet(&place.path("old.parquet"))
    };
    let places: Vec<_> = failpoint::ALL.iter().filter(|name| name.starts_with("embed.")).collect();
    assert_eq!(places.len(), 4);
    for name in places {
        for nth in if *name == "embed.part" { 1..=3 } else { 1..=1 } {
            fs::write(place.path("out.parquet"), &before).expect("the first night again");
            let fail_at = format!("{name}:{nth}");
            let killed = place.command(&JOB).env("SEMBLA_FAIL_AT", &fail_at).output();
            assert!(!killed.expect("the binary runs").status.success(), "{fail_at}");
            // A reader sees one of the two nights.
            let seen = read_parquet(&place.path("out.parquet"));
            assert!(seen == old || seen == golden, "{fail_at}");
            assert_eq!(seen == golden, *name == "embed.publish.after", "{fail_at}");
            place.run(&JOB).ok();
            assert_eq!(read_parquet(&place.path("out.parquet")), golden, "{fail_at}");
            assert!(!place.path("out.parquet.partial").exists(), "{fail_at}");
        }
    }
}

#[test]
fn a_second_process_is_told_who_works_there() {
    let place = Place::new();
    night(&place, 0);
    let mut command = place.command(&JOB);
    command
        .env("SEMBLA_FAIL_AT", "embed.part=sleep(60000)")
        .env("SEMBLA_FAIL_LOG", place.path("log"));
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut first = command.spawn().expect("the binary runs");
    while !place.path("log").exists() && first.try_wait().expect("a child").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let line = place.run(&JOB).fails(2);
    let pid = first.id();
    first.kill().expect("killed");
    first.wait().expect("a child");
    assert!(line.contains(&format!("another process (number {pid} on ")), "{line}");
    assert!(line.contains("is working in out.parquet.partial"), "{line}");
    place.run(&JOB).ok();
}

#[test]
fn a_dry_run_says_what_changed_and_writes_nothing() {
    let place = Place::new();
    let dry = [&JOB[..], &["--dry-run"]].concat();
    night(&place, 0);
    let figures = place.run(&dry).ok();
    assert!(figures.contains("\"new\":2000") && figures.contains("\"texts\":2000"), "{figures}");
    assert!(!place.path("out.parquet").exists() && !place.path("out.parquet.partial").exists());
    place.run(&JOB).ok();
    night(&place, 1);
    let run = place.run(&dry);
    assert!(run.err.contains("0 new, 200 changed, 1,700 unchanged, 100 gone"), "{}", run.err);
    assert!(
        run.err.contains("about 200 texts to embed") && run.err.contains("sample of 200"),
        "{}",
        run.err
    );
    let figures = run.ok();
    assert!(figures.contains("\"changed\":200"), "{figures}");
    // Another model is noticed before a text is embedded.
    let other = dry.iter().map(|word| if *word == "potion" { "minilm" } else { word });
    let line = place.run(&other.collect::<Vec<_>>()).fails(2);
    assert!(line.contains("was embedded otherwise"), "{line}");
    // Without a key all rows count, and chunks are counted by the sample.
    let all = ["embed", "in.jsonl", "-o", "x.csv", "-m", "potion", "--dry-run", "--json"];
    let figures = place.run(&all).ok();
    assert!(figures.contains("\"rows\":1900") && figures.contains("\"texts\":1900"), "{figures}");
    let figures = place.run(&[&all[..], &["--chunk", "tokens:8:0"]].concat()).ok();
    let texts = figures.split("\"texts\":").nth(1).and_then(|rest| rest.split(',').next());
    let texts: u32 = texts.and_then(|texts| texts.parse().ok()).expect("a number");
    assert!(texts >= 1900, "{figures}");
    assert!(!place.path("x.csv").exists());
}

#[test]
fn every_run_is_listed_however_it_ended() {
    let place = Place::new();
    let job = [&JOB[..], &["--state", "state"]].concat();
    night(&place, 0);
    place.run(&job).ok();
    place.run(&job).ok();
    night(&place, 1);
    place.run(&job).ok();
    fs::remove_file(place.path("in.jsonl")).expect("removed");
    let line = place.run(&job).fails(2);
    let list = "SELECT string_agg(status || ':' || coalesce(changed, -1), ' ' ORDER BY began) AS all_runs FROM job_runs('state')";
    assert_eq!(last_line(&place, list), "written:0 nothing new:-1 written:200 failed:-1");
    let error = last_line(&place, "SELECT error FROM job_runs('state') WHERE status = 'failed'");
    assert!(error.contains(line.split(':').next().expect("words")), "{error}");
    let sums = "SELECT sum(embedded), min(model), bool_and(seconds > 0), count(fingerprint) FROM job_runs('state')";
    assert_eq!(last_line(&place, sums), "2200,potion,true,2");
    let line = place.run(&["sql", "SELECT * FROM job_runs('nowhere')"]).fails(2);
    assert!(
        line.contains("job_runs: nowhere/runs.ndjson") && line.contains("check the name"),
        "{line}"
    );
    let line = place.run(&["sql", "SELECT * FROM job_runs(1)"]).fails(2);
    assert!(line.contains("job_runs takes one text in quotes"), "{line}");
}
