//! A stage of its own for one run: network, mounts and processes that vanish with it.
//!
//! The test runs itself again inside new namespaces. Whatever it makes there (bridges, mounts,
//! agents, tracers) ends with the first process inside, however that ends: nothing is left on the
//! machine but a directory below `target/`, and that is removed by the next run at the latest.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

const INSIDE: &str = "REMORA_CHAOS_STAGE";
/// Two runs at once would take each other's time.
static STAGE: Mutex<()> = Mutex::new(());
/// What a run needs, and the Debian package that has it.
const TOOLS: [(&str, &str); 7] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("strace", "strace"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("mount", "mount"),
];

/// The directory of this run, if it stands on its stage already; else `test` is run on one, to its
/// end, and there is nothing more to do.
pub fn enter(test: &str) -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os(INSIDE) {
        return Some(dir.into());
    }
    // The next one begins even where this one fails.
    let _alone = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    check_tools();
    let namespaces = namespaces();
    let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
    sweep(root);
    let name = test.rsplit("::").next().unwrap_or(test);
    let dir = root.join(format!("chaos-{}-{name}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    perform(test, &dir, &namespaces);
    fs::remove_dir_all(&dir).unwrap();
    None
}

fn perform(test: &str, dir: &Path, namespaces: &[&str]) {
    // One pipe for everything it says, and what it says is this test's own output.
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "sh", "-c", "exec \"$@\" 2>&1", "stage", "unshare"])
        .args(namespaces)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, dir)
        .env("PATH", path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    for line in said.lines() {
        println!("{}", line.unwrap());
    }
    let status = child.wait().unwrap();
    assert!(status.success(), "{test} failed; logs and data are in {}", dir.display());
}

/// Root makes namespaces as it is; anybody else becomes root of a user namespace first.
fn namespaces() -> Vec<&'static str> {
    let mut args = vec!["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if !rustix::process::geteuid().is_root() {
        args.splice(0..0, ["--user", "--map-root-user"]);
    }
    args.push("--");
    let tried = Command::new("unshare")
        .args(&args)
        .args(["ip", "link", "add", "chaos", "type", "bridge"])
        .env("PATH", path())
        .output()
        .unwrap();
    assert!(
        tried.status.success(),
        "chaos makes network, mount and process namespaces, and this machine does not let it: {}\n\
         run it as root (in a container: with SYS_ADMIN, NET_ADMIN and SYS_PTRACE)",
        String::from_utf8_lossy(&tried.stderr).trim()
    );
    args
}

fn check_tools() {
    let path = path();
    for (tool, package) in TOOLS {
        let found = path.split(':').any(|dir| Path::new(dir).join(tool).exists());
        assert!(found, "chaos needs {tool}: apt-get install {package} (scripts/test does it)");
    }
}

/// The search path with the directories that hold the administrator's programs.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Removes the directories of runs that are over, however they ended.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let owner = name.strip_prefix("chaos-").and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // What is left behind costs room and nothing else.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Runs a program to its end; what it printed, or a panic with what it complained of.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
