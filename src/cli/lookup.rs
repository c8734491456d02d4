//! `remora lookup NAME`: where to connect to, as DNS would answer.

use anyhow::anyhow;
use serde_json::json;

use super::Result;
use super::api::ApiArgs;
use super::entries::{self, Entry};
use super::output::{self, OutputArgs};
use crate::model::Health;

#[derive(clap::Args)]
pub(super) struct Args {
    name: String,
    /// Only instances with this tag
    #[arg(long)]
    tag: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &Args) -> Result {
    let api = args.api.open()?;
    let (_, mut instances) = entries::of_service(&api, &args.name, args.tag.as_deref())?;
    let registered = instances.len();
    instances.retain(|entry| entry.health() != Health::Critical);
    if args.output.json {
        let rows: Vec<_> = instances
            .iter()
            .map(|entry| {
                let (node, id) = (&entry.node.name, &entry.service.id);
                json!({ "address": entry.endpoint(), "node": node, "id": id })
            })
            .collect();
        output::print_json(&rows)?;
    } else if !instances.is_empty() {
        let rows = instances.iter().map(row).collect();
        output::print(&output::table(["ADDRESS", "NODE", "ID"], rows))?;
    }
    if instances.is_empty() {
        return Err(anyhow!(nobody(&args.name, args.tag.as_deref(), registered)).into());
    }
    Ok(())
}

fn row(entry: &Entry) -> [String; 3] {
    [entry.endpoint(), entry.node.name.clone(), entry.service.id.clone()]
}

fn nobody(name: &str, tag: Option<&str>, registered: usize) -> String {
    let tag = tag.map(|tag| format!(" with the tag {tag:?}")).unwrap_or_default();
    match registered {
        0 => format!("no instance of {name:?}{tag} is registered"),
        1 => format!("the one instance of {name:?}{tag} is critical: see `remora services {name}`"),
        many => {
            format!(
                "all {many} instances of {name:?}{tag} are critical: see `remora services {name}`"
            )
        }
    }
}
