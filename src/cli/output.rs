//! Writes tables for people and JSON for machines; a reader that has gone away is no error.

use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde::Serialize;

use super::Result;
use super::api::ApiArgs;

#[derive(clap::Args, Clone, Copy)]
pub(super) struct OutputArgs {
    /// JSON instead of a table
    #[arg(long)]
    pub(super) json: bool,
}

/// Of a subcommand: whom it asks, and how it shows the answer.
#[derive(clap::Args)]
pub(super) struct Asked {
    #[command(flatten)]
    pub(super) api: ApiArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Rows under a line of titles. What a terminal would take for a command is shown escaped.
pub(super) fn table<const N: usize>(titles: [&str; N], cells: Vec<[String; N]>) -> String {
    let titles = titles.map(str::to_owned).to_vec();
    rows(titles, cells.into_iter().map(|row| row.to_vec()).collect())
}

/// The same where the columns are not known beforehand.
pub(super) fn rows(titles: Vec<String>, cells: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(titles);
    for row in cells {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join("\n")
}

/// One line, without control characters.
pub(super) fn printable(text: &str) -> String {
    let escaped = |c: char| {
        if c.is_control() { c.escape_default().to_string() } else { c.to_string() }
    };
    text.chars().map(escaped).collect()
}

pub(super) fn print_json(value: &impl Serialize) -> Result {
    print(&serde_json::to_string_pretty(value)?)
}

/// A text and a line's end.
pub(super) fn print(text: &str) -> Result {
    print_bytes(format!("{text}\n").as_bytes())
}

pub(super) fn print_bytes(bytes: &[u8]) -> Result {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // `remora kv tree | head` has what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}
