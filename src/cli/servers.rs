//! `remora servers`: who they are, how many are wanted, who leads, who leaves.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Result;
use super::api::escape;
use super::output::{self, Asked};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    asked: Asked,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Sets how many servers vote, and how many stand by
    Set {
        #[arg(long, value_name = "N", required_unless_present = "standbys")]
        voters: Option<u32>,
        #[arg(long, value_name = "N")]
        standbys: Option<u32>,
        #[command(flatten)]
        asked: Asked,
    },
    /// Has another server lead
    TransferLeader {
        /// Its name or id; without one, the voter that has most of the log
        server: Option<String>,
        #[command(flatten)]
        asked: Asked,
    },
    /// Takes a server out of the cluster for good
    Remove {
        /// Its name or id
        server: String,
        #[command(flatten)]
        asked: Asked,
    },
}

#[derive(Deserialize)]
struct Page {
    voters: u32,
    standbys: u32,
    servers: Vec<Server>,
}

#[derive(Deserialize)]
struct Server {
    id: u64,
    name: String,
    address: String,
    raft: Option<String>,
    version: String,
}

pub(super) fn run(args: &Args) -> Result {
    match &args.command {
        None => list(&args.asked),
        Some(Command::Set { voters, standbys, asked }) => {
            let wanted = json!({ "voters": voters, "standbys": standbys });
            say(asked, "/admin/servers/set", &wanted, |said| {
                format!(
                    "{} vote and {} stand by, where there are enough",
                    said["voters"], said["standbys"]
                )
            })
        }
        Some(Command::TransferLeader { server, asked }) => {
            let to = json!({ "id": server });
            say(asked, "/admin/servers/transfer-leader", &to, |said| {
                match said["leader"].as_u64() {
                    Some(id) => format!("server {id} leads"),
                    None => "leadership was handed over".to_owned(),
                }
            })
        }
        Some(Command::Remove { server, asked }) => remove(asked, server),
    }
}

fn list(asked: &Asked) -> Result {
    let reply = asked.api.open()?.get("/admin/servers")?.success()?;
    if asked.output.json {
        return output::print_json(&reply.json::<Value>()?);
    }
    let page: Page = reply.json()?;
    let rows = page.servers.into_iter().map(row).collect();
    output::print(&output::table(["SERVER", "ID", "ADDRESS", "ROLE", "VERSION"], rows))?;
    output::print(&format!("wanted: {} that vote, {} that stand by", page.voters, page.standbys))
}

fn row(server: Server) -> [String; 5] {
    let role = server.raft.unwrap_or_default();
    [server.name, server.id.to_string(), server.address, role, server.version]
}

fn say(asked: &Asked, path: &str, body: &Value, text: impl FnOnce(&Value) -> String) -> Result {
    let reply = asked.api.open()?.post(path, serde_json::to_vec(body)?)?.success()?;
    let said: Value = reply.json()?;
    if asked.output.json { output::print_json(&said) } else { output::print(&text(&said)) }
}

fn remove(asked: &Asked, server: &str) -> Result {
    let path = format!("/admin/servers/{}", escape(server));
    let reply = asked.api.open()?.delete(&path)?.success()?;
    if asked.output.json {
        return output::print_json(&reply.json::<Value>()?);
    }
    output::print(&format!("removed {}", output::printable(server)))
}
