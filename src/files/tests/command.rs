//! Commands end, in time or by force, and what they said is known.

use std::path::Path;
use std::time::{Duration, Instant};

use super::shell;
use crate::files::command::run;
use crate::model::limits;

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn both_outputs_are_kept() {
    let said = run(&shell("echo one; echo two >&2"), None, LONG).await.expect("it runs");
    assert!(said.contains("one") && said.contains("two"), "{said}");
}

#[tokio::test]
async fn the_end_of_a_long_output_is_kept() {
    let script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 3";
    let error = run(&shell(script), None, LONG).await.expect_err("it fails").to_string();
    assert!(error.contains("exit status: 3: "), "{error}");
    assert!(error.ends_with("line 2999"), "{error}");
    assert!(error.len() < limits::COMMAND_OUTPUT + 200);
}

#[tokio::test]
async fn staged_is_replaced_wherever_it_stands() {
    let argv = ["echo", "{staged}", "--file={staged}"].map(str::to_owned);
    let said = run(&argv, Some(Path::new("/a b/c")), LONG).await.expect("it runs");
    assert_eq!(said, "/a b/c --file=/a b/c");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let argv = ["/nowhere/at-all".to_owned()];
    let error = run(&argv, None, LONG).await.expect_err("it cannot run").to_string();
    assert!(error.starts_with("/nowhere/at-all cannot be started: "), "{error}");
}

#[tokio::test]
async fn a_command_and_its_children_die_at_the_limit() {
    let dir = tempfile::tempdir().expect("a directory");
    let pid = dir.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; echo started; wait", pid.display());
    let limit = Duration::from_millis(300);
    let error = run(&shell(&script), None, limit).await.expect_err("it is stopped").to_string();
    assert!(error.contains("was stopped after 0 s: started"), "{error}");
    let child = std::fs::read_to_string(&pid).expect("the child's pid");
    super::until("the child is dead", || {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
        // Nobody may be there to reap it: a zombie is dead too.
        status.map_or(true, |status| status.contains(") Z "))
    })
    .await;
}

#[tokio::test]
async fn a_child_that_holds_the_output_open_does_not_hold_us() {
    let started = Instant::now();
    let said = run(&shell("sleep 5 & echo done"), None, LONG).await.expect("it runs");
    assert_eq!(said, "done");
    assert!(started.elapsed() < Duration::from_secs(4));
}
