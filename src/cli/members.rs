//! `remora members`: the agents of the cluster.

use serde::Deserialize;
use serde_json::Value;

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

/// As `/status` lists it.
#[derive(Deserialize)]
struct Member {
    id: u64,
    name: String,
    role: String,
    /// `leader`, `voter` or `standby`; none on an edge.
    raft: Option<String>,
    address: String,
    version: String,
    alive: bool,
}

#[derive(Deserialize)]
struct Status<T> {
    members: Vec<T>,
}

pub(super) fn run(args: &Args) -> Result {
    let reply = args.api.open()?.get("/status")?.success()?;
    if args.output.json {
        return output::print_json(&reply.json::<Status<Value>>()?.members);
    }
    let members = reply.json::<Status<Member>>()?.members;
    let rows = members.into_iter().map(row).collect();
    output::print(&output::table(["NODE", "ID", "ADDRESS", "ROLE", "STATUS", "VERSION"], rows))
}

fn row(member: Member) -> [String; 6] {
    let status = if member.alive { "alive" } else { "silent" };
    let role = member.raft.unwrap_or(member.role);
    let id = member.id.to_string();
    [member.name, id, member.address, role, status.to_owned(), member.version]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_shown_by_its_part_in_raft() {
        let page = r#"{"node": "n1", "members": [
            {"id": 1, "name": "n1", "role": "server", "raft": "leader", "address": "10.0.0.1:8300",
             "version": "0.1.0", "alive": true},
            {"id": 2, "name": "n2", "role": "edge", "raft": null, "address": "10.0.0.2:8300",
             "version": "0.1.0", "alive": false}]}"#;
        let status: Status<Member> = serde_json::from_str(page).expect("a status");
        let rows: Vec<String> = status.members.into_iter().map(|m| row(m).join(" ")).collect();
        assert_eq!(rows[0], "n1 1 10.0.0.1:8300 leader alive 0.1.0");
        assert_eq!(rows[1], "n2 2 10.0.0.2:8300 edge silent 0.1.0");
    }
}
