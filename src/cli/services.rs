//! `remora services [NAME]`: what is registered, healthy or not.

use std::collections::BTreeMap;

use anyhow::anyhow;
use serde_json::Value;

use super::Result;
use super::api::{Api, ApiArgs};
use super::entries::{self, Entry};
use super::output::{self, OutputArgs};

#[derive(clap::Args)]
pub(super) struct Args {
    /// One service, with all its instances
    name: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &Args) -> Result {
    let api = args.api.open()?;
    match &args.name {
        None => all(&api, args.output),
        Some(name) => one(&api, name, args.output),
    }
}

fn all(api: &Api, form: OutputArgs) -> Result {
    let reply = api.get("/v1/catalog/services")?.success()?;
    if form.json {
        return output::print_json(&reply.json::<Value>()?);
    }
    let services: BTreeMap<String, Vec<String>> = reply.json()?;
    let rows = services.into_iter().map(|(name, tags)| [name, tags.join(", ")]).collect();
    output::print(&output::table(["SERVICE", "TAGS"], rows))
}

fn one(api: &Api, name: &str, form: OutputArgs) -> Result {
    let (json, instances) = entries::of_service(api, name, None)?;
    if instances.is_empty() {
        return Err(anyhow!("there is no service {name:?}").into());
    }
    if form.json {
        return output::print_json(&json);
    }
    let titles = ["ID", "NODE", "ADDRESS", "TAGS", "HEALTH", "WHY"];
    output::print(&output::table(titles, instances.iter().map(row).collect()))
}

fn row(entry: &Entry) -> [String; 6] {
    [
        entry.service.id.clone(),
        entry.node.name.clone(),
        entry.endpoint(),
        entry.service.tags.join(", "),
        entry.health().to_string(),
        entry.complaint(),
    ]
}
