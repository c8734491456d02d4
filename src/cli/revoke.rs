//! `remora revoke`: puts an agent out of the cluster.

use serde::Deserialize;
use serde_json::Value;

use super::Result;
use super::api::{ApiArgs, escape};
use super::output::{self, OutputArgs};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The agent's name or id
    node: String,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Deserialize)]
struct Revoked {
    revoked: u64,
}

pub(super) fn run(args: &Args) -> Result {
    let path = format!("/admin/revoke/{}", escape(&args.node));
    let reply = args.api.open()?.post(&path, Vec::new())?.success()?;
    if args.output.json {
        return output::print_json(&reply.json::<Value>()?);
    }
    let Revoked { revoked } = reply.json()?;
    output::print(&format!("revoked {} (id {revoked})", output::printable(&args.node)))
}
