//! Rules as the table of a document.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::rules::{Change, Rule, Rules};

/// Set to write what differs instead of failing over it.
const WRITE: &str = "REMORA_GENERATE";

/// A document whose last part is made of the rules.
pub struct Document {
    pub path: &'static str,
    /// The line that ends what is written by hand.
    pub begin: &'static str,
    /// The test binary that makes it.
    pub test: &'static str,
}

impl Document {
    pub fn is_up_to_date<C: Change>(&self, rules: &Rules<C>) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.path);
        let known = fs::read_to_string(&path).unwrap();
        let begin = self.begin;
        let (head, _) = known.split_once(begin).unwrap();
        let fresh = format!("{head}{begin}{}", table(rules));
        if std::env::var_os(WRITE).is_some() {
            fs::write(&path, &fresh).unwrap();
        } else {
            let Document { path, test, .. } = self;
            assert!(known == fresh, "{path}: {WRITE}=1 cargo test --test {test} document");
        }
    }
}

fn table<C: Change>(rules: &Rules<C>) -> String {
    let mut text = "\n| rule | class | recorded answers | instead | why |\n".to_owned();
    text += "|---|---|---|---|---|\n";
    for rule in &rules.0 {
        let Rule { id, class, blocks, changes, reason, hits, .. } = rule;
        let hits: usize = hits.values().sum();
        let mut blocks = blocks.join(" ");
        for (what, wanted) in [("asked", &rule.asked), ("answered", &rule.answered)] {
            if let Some(wanted) = wanted {
                blocks += &format!(", {what} {}", code(wanted.as_str()));
            }
        }
        let blocks = blocks.replace('|', "\\|");
        let changes: Vec<String> = changes.iter().map(Change::worded).collect();
        let changes = changes.join("; ").replace('|', "\\|");
        let _ = writeln!(text, "| {id} | {class} | {blocks} ({hits}) | {changes} | {reason} |");
    }
    text
}

/// What holds a backquote stands between two.
pub fn code(text: &str) -> String {
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}
