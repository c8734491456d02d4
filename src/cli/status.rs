//! `remora status`: what the agent says of itself.

use serde_json::{Map, Value};

use super::Result;
use super::api::ApiArgs;
use super::output::{self, OutputArgs};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &Args) -> Result {
    let api = args.api.open()?;
    let status: Value = api.get("/status")?.success()?.json()?;
    if args.output.json {
        return output::print_json(&status);
    }
    output::print(&page(&status))
}

/// Single values first, one to a line; then a table for each list of things. What an agent of
/// another release says more is shown all the same.
fn page(status: &Value) -> String {
    let mut lines = Vec::new();
    let mut lists = Vec::new();
    gather("", status, &mut lines, &mut lists);
    let mut parts = Vec::new();
    if !lines.is_empty() {
        let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        let line = |(name, value): &(String, String)| format!("{name:width$}  {value}");
        parts.push(lines.iter().map(line).collect::<Vec<_>>().join("\n"));
    }
    for (name, rows) in lists {
        parts.push(format!("{}\n{}", name.to_uppercase(), list(&rows)));
    }
    parts.join("\n\n")
}

type Lines = Vec<(String, String)>;
type Lists<'a> = Vec<(String, Vec<&'a Map<String, Value>>)>;

fn gather<'a>(name: &str, value: &'a Value, lines: &mut Lines, lists: &mut Lists<'a>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let inner = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
                gather(&inner, value, lines, lists);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            lists.push((name.to_owned(), items.iter().filter_map(Value::as_object).collect()));
        }
        plain => lines.push((output::printable(name), text(plain))),
    }
}

/// Fields that say what a row is about stand first.
const NAMES: [&str; 2] = ["name", "subject"];

/// A table with a column for every field that any row has.
fn list(rows: &[&Map<String, Value>]) -> String {
    let mut titles: Vec<&String> = Vec::new();
    for field in rows.iter().flat_map(|row| row.keys()) {
        if !titles.contains(&field) {
            titles.push(field);
        }
    }
    titles.sort_by_key(|title| !NAMES.contains(&title.as_str()));
    let cells = |row: &&Map<String, Value>| -> Vec<String> {
        titles.iter().map(|title| row.get(*title).map(text).unwrap_or_default()).collect()
    };
    let head = titles.iter().map(|title| title.to_uppercase()).collect();
    output::rows(head, rows.iter().map(cells).collect())
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => output::printable(text),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_lines_and_tables() {
        let status = serde_json::json!({
            "node": "n1",
            "cluster": { "leader": "n2", "voters": ["n1", "n2"], "upstream": null },
            "board": [
                { "subject": "files//a", "level": "warning", "text": "waiting\u{1b}[31m" },
                { "subject": "dns", "level": "ok" },
            ],
        });
        let page = page(&status);
        let lines: Vec<&str> = page.lines().map(str::trim_end).collect();
        assert!(lines.contains(&"cluster.leader    n2"), "{page}");
        assert!(lines.contains(&"cluster.voters    n1, n2"), "{page}");
        assert!(lines.contains(&"cluster.upstream  -"), "{page}");
        assert!(lines.contains(&"node              n1"), "{page}");
        let board = lines.iter().position(|line| *line == "BOARD").expect("a table");
        assert!(lines[board + 1].starts_with("SUBJECT"), "{page}");
        assert!(page.contains("waiting\\u{1b}[31m"), "{page}");
        assert!(lines[board + 3].starts_with("dns"), "{page}");
    }
}
