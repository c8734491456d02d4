//! `remora members`: the agents of the cluster.

use std::collections::BTreeMap;

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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Member {
    name: String,
    addr: String,
    port: u16,
    tags: BTreeMap<String, String>,
    status: u8,
}

pub(super) fn run(args: &Args) -> Result {
    let api = args.api.open()?;
    let reply = api.get("/v1/agent/members")?.success()?;
    if args.output.json {
        return output::print_json(&reply.json::<Value>()?);
    }
    let leader: String = api.get("/v1/status/leader")?.success()?.json()?;
    let members: Vec<Member> = reply.json()?;
    let rows = members.iter().map(|member| row(member, &leader)).collect();
    output::print(&output::table(["NODE", "ADDRESS", "ROLE", "STATUS", "VERSION"], rows))
}

fn row(member: &Member, leader: &str) -> [String; 5] {
    let tag = |name: &str| member.tags.get(name).cloned().unwrap_or_default();
    let host = &member.addr;
    let port = member.port;
    let address =
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    // Consul's interface knows servers and clients by the role of their tags.
    let role = match tag("role").as_str() {
        "consul" if address == leader => "leader",
        "consul" => "server",
        _ => "edge",
    };
    let status = match member.status {
        1 => "alive",
        3 => "left",
        4 => "failed",
        _ => "unknown",
    };
    [member.name.clone(), address, role.to_owned(), status.to_owned(), tag("remora")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_stands_out() {
        let member = |port: u16, role: &str, status: u8| Member {
            name: "n".to_owned(),
            addr: "10.0.0.1".to_owned(),
            port,
            tags: BTreeMap::from([("role".to_owned(), role.to_owned())]),
            status,
        };
        let shown = |member: Member| {
            let [_, address, role, status, _] = row(&member, "10.0.0.1:8300");
            [address, role, status].join(" ")
        };
        assert_eq!(shown(member(8300, "consul", 1)), "10.0.0.1:8300 leader alive");
        assert_eq!(shown(member(8301, "consul", 4)), "10.0.0.1:8301 server failed");
        assert_eq!(shown(member(8302, "node", 3)), "10.0.0.1:8302 edge left");
    }
}
