//! The rules as the table of a document.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::rules::{Change, Rule, Rules};

/// Set to write what differs instead of failing over it.
const WRITE: &str = "REMORA_GENERATE";
const DOCUMENT: &str = "docs/etcd-differences.md";
const BEGIN: &str = "<!-- The table is made of tests/replay/rules.txt. -->\n";

pub fn is_up_to_date(rules: &Rules) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let known = fs::read_to_string(&path).unwrap();
    let (head, _) = known.split_once(BEGIN).unwrap();
    let fresh = format!("{head}{BEGIN}{}", table(rules));
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, &fresh).unwrap();
    } else {
        assert!(known == fresh, "{DOCUMENT}: {WRITE}=1 cargo test --test replay document");
    }
}

fn table(rules: &Rules) -> String {
    let mut text = "\n| rule | class | recorded answers | instead | why |\n".to_owned();
    text += "|---|---|---|---|---|\n";
    for rule in &rules.0 {
        let Rule { id, class, blocks, changes, reason, hits, .. } = rule;
        let hits: usize = hits.values().sum();
        let blocks = blocks.join(" ");
        let changes: Vec<String> = changes.iter().map(worded).collect();
        let changes = changes.join("; ").replace('|', "\\|");
        let _ = writeln!(text, "| {id} | {class} | {blocks} ({hits}) | {changes} | {reason} |");
    }
    text
}

/// What holds a backquote stands between two.
fn code(text: &str) -> String {
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

fn worded(change: &Change) -> String {
    match change {
        Change::Status(status) => format!("status {status}"),
        Change::DropHeader(name) => format!("no header `{name}`"),
        Change::Header(name, value) => format!("header `{name}: {value}`"),
        Change::Body(body) => format!("body {}", code(&body.trim_end().replace('\n', "⏎"))),
        Change::Replace(from, to) => format!("{} for {}", code(to), code(from)),
        Change::Set(place, Some(value)) => format!("`{place}` is `{value}`"),
        Change::Set(place, None) => format!("no `{place}`"),
        Change::Insert(_, line) => format!("also {}", code(line)),
        Change::Remove(at) => format!("not its message {}", at + 1),
        Change::End(end) => format!("ends with `{end}`"),
        Change::Copy(from, to) => format!("`{to}` is `{from}`, too"),
        Change::AnyValue(place, _) => format!("any `{place}`"),
        Change::Any => "anything of the same status".to_owned(),
    }
}
