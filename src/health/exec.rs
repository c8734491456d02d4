//! A check that is a program: its exit code is the app's health.

use std::io;
use std::time::Duration;

use crate::lifecycle::process;
use crate::model::Health;

/// The exit code that warns; 0 passes, every other is critical.
const WARNING: i32 = 1;

pub(super) async fn run(argv: &[String], limit: Duration, keep: usize) -> (Health, String) {
    let ended = match process::run(argv, limit, keep).await {
        Ok(ended) => ended,
        Err(error) => return (Health::Critical, unable(argv, &error)),
    };
    let Some(status) = ended.status else { return (Health::Critical, timed_out(limit)) };
    let health = match status.code() {
        Some(0) => Health::Passing,
        Some(WARNING) => Health::Warning,
        _ => Health::Critical,
    };
    (health, captured(ended.said))
}

pub(super) fn timed_out(limit: Duration) -> String {
    let limit = humantime::format_duration(limit).to_string().replace(' ', "");
    format!("Timed out ({limit}) running check")
}

/// What it said; where the beginning is missing, how much there was (Consul's form).
fn captured(said: process::Tail) -> String {
    if !said.is_cut() {
        return said.into_text();
    }
    let (total, kept) = (said.total(), said.kept());
    format!("Captured {kept} of {total} bytes\n...\n{}", said.into_text())
}

/// The words of Consul's runtime.
fn unable(argv: &[String], error: &io::Error) -> String {
    let program = argv.first().map_or("", String::as_str);
    let searched = !program.contains('/');
    match error.kind() {
        io::ErrorKind::NotFound if searched => {
            format!("exec: {program:?}: executable file not found in $PATH")
        }
        _ => format!("fork/exec {program}: {}", crate::net::words(error)),
    }
}
