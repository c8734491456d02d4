//! `remora servers`: who they are, how many are wanted, who leads, who leaves.

use serde::{Deserialize, Serialize};
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
    /// Sets how many servers vote and stand by, and how much of keys and of their past is kept
    Set {
        #[command(flatten)]
        wanted: Wanted,
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

/// What is left out stays as it is.
#[derive(clap::Args, Serialize)]
#[group(required = true, multiple = true)]
struct Wanted {
    /// How many vote
    #[arg(long, value_name = "N")]
    voters: Option<u32>,
    /// How many stand by
    #[arg(long, value_name = "N")]
    standbys: Option<u32>,
    /// Bytes that keys and leases may take before writes are refused
    #[arg(long, value_name = "BYTES")]
    quota: Option<u64>,
    /// How much of the keys' past is kept: 90s, 1h
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    history: Option<u64>,
}

fn seconds(text: &str) -> std::result::Result<u64, humantime::DurationError> {
    humantime::parse_duration(text).map(|period| period.as_secs())
}

#[derive(Deserialize)]
struct Page {
    voters: u32,
    standbys: u32,
    quota: u64,
    history: u64,
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
        Some(Command::Set { wanted, asked }) => {
            say(asked, "/admin/servers/set", &json!(wanted), |said| {
                format!(
                    "{} vote and {} stand by, where there are enough; \
                     keys take at most {} bytes, and their past is kept for {} s",
                    said["voters"], said["standbys"], said["quota"], said["history"]
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
    let rows = page.servers.iter().map(row).collect();
    output::print(&output::table(["SERVER", "ID", "ADDRESS", "ROLE", "VERSION"], rows))?;
    let Page { voters, standbys, quota, history, .. } = page;
    output::print(&format!("wanted: {voters} that vote, {standbys} that stand by"))?;
    output::print(&format!("keys: at most {quota} bytes, their past for {history} s"))
}

fn row(server: &Server) -> [String; 5] {
    let Server { id, name, address, raft, version } = server;
    let role = raft.clone().unwrap_or_default();
    [name.clone(), id.to_string(), address.clone(), role, version.clone()]
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
