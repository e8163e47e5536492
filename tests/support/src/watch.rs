//! Ends a server of a test when the test's process is gone, however that ends.

use std::path::Path;
use std::process::{Command, Stdio};

/// What waits for the process, then ends the server whose first line of a file has its id, if that
/// still is one of this folder, and removes the folder.
const SCRIPT: &str = "(
  while kill -0 \"$1\"; do sleep 1; done
  pid=$(head -n 1 \"$3\") && grep -qaF \"$2\" \"/proc/$pid/cmdline\" && kill -QUIT \"$pid\"
  rm -rf \"$2\"
) > /dev/null 2>&1 &";

/// Watches over the server in a folder, whose process is named in a file there.
pub(crate) fn watch(folder: &Path, pid: &str) {
    let mut watch = Command::new("sh");
    watch.args(["-c", SCRIPT, "watch", &std::process::id().to_string()]);
    watch.arg(folder).arg(folder.join(pid)).stdin(Stdio::null());
    watch.stdout(Stdio::null()).stderr(Stdio::null());
    assert!(watch.status().expect("sh").success());
}
