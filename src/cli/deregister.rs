//! `remora deregister ID`: takes a service of this agent out of the catalog.

use serde_json::json;

use super::Result;
use super::api::{ApiArgs, escape};
use super::output::{self, OutputArgs};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The instance's id, as `remora services NAME` shows it
    id: String,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &Args) -> Result {
    let api = args.api.open()?;
    let path = format!("/v1/agent/service/deregister/{}", escape(&args.id));
    api.put(&path, Vec::new())?.success()?;
    if args.output.json {
        return output::print_json(&json!({ "deregistered": args.id }));
    }
    output::print(&format!("deregistered {}", output::printable(&args.id)))
}
