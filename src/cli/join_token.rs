//! `remora join-token`: makes, lists and retires the tokens with which agents join.

use std::time::Duration;

use anyhow::anyhow;
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::escape;
use super::output::{self, Asked};
use super::{Failure, Result};
use crate::identity::{JoinToken, Offline};
use crate::model::TokenId;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// What it lets in: edge, relay or server
    #[arg(long, default_value = "edge", value_parser = ["edge", "relay", "server"])]
    role: String,
    /// How long it lasts, as 24h [default: of a server's, 24h; of others, for good]
    #[arg(long, value_name = "TIME", conflicts_with = "offline")]
    ttl: Option<String>,
    /// How many agents it lets in [default: of a server's, 1; of others, any number]
    #[arg(long, value_name = "N", conflicts_with = "offline")]
    uses: Option<u64>,
    /// Before there is a cluster: prints a server's and an edge's token to found one with, and
    /// with --role relay a relay's
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    asked: Asked,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Lists the tokens; what lets anybody in is not shown
    List {
        #[command(flatten)]
        asked: Asked,
    },
    /// From now on the token lets nobody in
    Retire {
        /// The token's id: its fourth part
        id: String,
        #[command(flatten)]
        asked: Asked,
    },
}

#[derive(Deserialize)]
struct Row {
    id: String,
    role: String,
    expires_in_s: Option<u64>,
    uses_left: Option<u64>,
    offline: bool,
    founding: bool,
}

pub(super) fn run(args: &Args) -> Result {
    match &args.command {
        Some(Command::List { asked }) => list(asked),
        Some(Command::Retire { id, asked }) => retire(asked, id),
        None if args.offline => offline(args),
        None => make(args),
    }
}

fn make(args: &Args) -> Result {
    let wish = json!({ "role": args.role, "ttl": args.ttl, "uses": args.uses });
    let api = args.asked.api.open()?;
    let reply = api.post("/admin/join-token", serde_json::to_vec(&wish)?)?.success()?;
    let made: Value = reply.json()?;
    if args.asked.output.json {
        return output::print_json(&made);
    }
    match made["token"].as_str() {
        Some(token) => output::print(token),
        None => Err(anyhow!("the agent's answer has no token").into()),
    }
}

fn offline(args: &Args) -> Result {
    let Offline { server, edge, relay } = Offline::generate()?;
    let shown: Vec<&JoinToken> =
        if args.role == "relay" { vec![&server, &edge, &relay] } else { vec![&server, &edge] };
    if args.asked.output.json {
        let token = |token: &JoinToken| (token.role().as_str(), token.reveal().to_string());
        let tokens: std::collections::BTreeMap<_, _> = shown.into_iter().map(token).collect();
        return output::print_json(&tokens);
    }
    shown.into_iter().try_for_each(|token| output::print(&token.reveal()))
}

fn list(asked: &Asked) -> Result {
    let reply = asked.api.open()?.get("/admin/join-tokens")?.success()?;
    if asked.output.json {
        return output::print_json(&reply.json::<Value>()?);
    }
    let rows = reply.json::<Vec<Row>>()?.into_iter().map(row).collect();
    output::print(&output::table(["ID", "ROLE", "EXPIRES", "USES LEFT", "MADE"], rows))
}

fn row(row: Row) -> [String; 5] {
    let expires = match row.expires_in_s {
        None => "never".to_owned(),
        Some(0) => "expired".to_owned(),
        Some(s) => format!("in {}", humantime::format_duration(Duration::from_secs(s))),
    };
    let uses = row.uses_left.map_or("any".to_owned(), |left| left.to_string());
    let made = match (row.founding, row.offline) {
        (true, _) => "offline, founded the cluster",
        (false, true) => "offline",
        (false, false) => "here",
    };
    [row.id, row.role, expires, uses, made.to_owned()]
}

fn retire(asked: &Asked, text: &str) -> Result {
    // A whole token is taken for its id, so that nobody sends the secret anywhere.
    let id = TokenId::parse(text.trim())
        .or_else(|| JoinToken::parse(text).ok().map(|token| token.id()))
        .ok_or_else(|| {
            Failure::usage(anyhow!("a token's id has 16 hex digits: the fourth part of the token"))
        })?;
    let path = format!("/admin/join-tokens/{}", escape(&id.to_string()));
    let reply = asked.api.open()?.delete(&path)?.success()?;
    let said: Value = reply.json()?;
    if asked.output.json {
        return output::print_json(&said);
    }
    output::print(&format!("retired {id}"))?;
    if said["founding_key_ended"] == true {
        output::print("the founding key has ended: no token made offline lets anybody in")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_how_long_and_how_often() {
        let listed = |json: &str| row(serde_json::from_str(json).expect("a row")).join("|");
        assert_eq!(
            listed(
                r#"{"id": "0123456789abcdef", "role": "edge", "expires_in_s": null,
                    "uses_left": null, "offline": true, "founding": false}"#
            ),
            "0123456789abcdef|edge|never|any|offline"
        );
        assert_eq!(
            listed(
                r#"{"id": "1", "role": "server", "expires_in_s": 3660, "uses_left": 2,
                    "offline": true, "founding": true}"#
            ),
            "1|server|in 1h 1m|2|offline, founded the cluster"
        );
        let over = r#"{"id": "1", "role": "relay", "expires_in_s": 0, "uses_left": 0,
                       "offline": false, "founding": false}"#;
        assert_eq!(listed(over), "1|relay|expired|0|here");
    }
}
