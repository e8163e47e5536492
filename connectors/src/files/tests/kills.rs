//! The process is killed at every failpoint, on a folder of this machine.

use std::process::Command;

use super::*;

/// Where the child of [`killed_at_every_failpoint`] works.
const FOLDER: &str = "SEMBLA_TEST_FOLDER";

#[tokio::test]
async fn child() {
    let Some(root) = std::env::var_os(FOLDER) else { return };
    let folders = local(root.as_ref());
    let mut sink = sink_over(&folders, &[("partition_by", "day")]);
    run(&mut sink).await.expect("a run");
}

fn run_child(root: &std::path::Path, fail_at: &str) -> bool {
    let status = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "files::tests::kills::child"])
        .env(FOLDER, root)
        .env("SEMBLA_FAIL_AT", fail_at)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .expect("a child");
    status.success()
}

#[tokio::test]
async fn killed_at_every_failpoint() {
    let names = [
        "sink.write",
        "files.data.put",
        "files.manifest.before",
        "files.manifest.after",
        "files.publish",
    ];
    for name in names {
        for nth in [1, 2, 5] {
            for action in ["abort", "error"] {
                let what = format!("{name}:{nth}={action}");
                let is_reached = nth <= 2 || !name.starts_with("files.manifest");
                let root = tempfile::tempdir().expect("a folder");
                assert_eq!(run_child(root.path(), &what), !is_reached, "{what}");
                let mut starts = 1;
                while !run_child(root.path(), "") {
                    starts += 1;
                    assert!(starts < 3, "{what}");
                }
                check(&local(root.path()), &what).await;
            }
        }
    }
}
