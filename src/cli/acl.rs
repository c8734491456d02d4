//! `remora acl`: whether tokens count, and the first of them.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::cluster::Reset;

use super::Result;
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
    /// From now on every request takes a token that permits it, at every agent
    Enable {
        /// What counts where no rule fits
        #[arg(long, value_name = "POLICY", value_parser = ["deny", "allow"], default_value = "deny")]
        default_policy: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Nobody is asked for a token any more; tokens and policies stay
    Disable {
        #[command(flatten)]
        asked: Asked,
    },
    /// Makes another token that may do everything, on the machine of a server: where the first is
    /// lost
    Reset {
        /// The data directory of the server that is asked
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
        #[command(flatten)]
        asked: Asked,
    },
    /// Makes the first token, which may do everything: once, for who asks first
    Bootstrap {
        #[command(flatten)]
        asked: Asked,
    },
}

#[derive(Deserialize)]
struct Shown {
    enabled: bool,
    default_policy: String,
    bootstrapped: bool,
    tokens: usize,
    policies: usize,
    roles: usize,
}

#[derive(Deserialize)]
struct First {
    #[serde(rename = "AccessorID")]
    accessor: String,
    #[serde(rename = "SecretID")]
    secret: String,
}

pub(super) fn run(args: &Args) -> Result {
    match &args.command {
        None => {
            let reply = args.asked.api.open()?.get("/admin/acl")?.success()?;
            say(&args.asked, &reply.json()?)
        }
        Some(Command::Enable { default_policy, asked }) => {
            switch(asked, &json!({ "enabled": true, "default_policy": default_policy }))
        }
        Some(Command::Disable { asked }) => switch(asked, &json!({ "enabled": false })),
        Some(Command::Bootstrap { asked }) => bootstrap(asked, Vec::new()),
        Some(Command::Reset { data_dir, asked }) => reset(asked, data_dir),
    }
}

fn switch(asked: &Asked, wanted: &Value) -> Result {
    let reply = asked.api.open()?.post("/admin/acl", serde_json::to_vec(wanted)?)?.success()?;
    say(asked, &reply.json()?)
}

fn say(asked: &Asked, said: &Value) -> Result {
    if asked.output.json {
        return output::print_json(said);
    }
    let Shown { enabled, default_policy, bootstrapped, tokens, policies, roles } =
        serde_json::from_value(said.clone())?;
    if !enabled {
        return output::print("tokens do not count: nobody is asked for one");
    }
    output::print(&format!("tokens count; what no rule is about: {default_policy}"))?;
    output::print(&format!("{tokens} tokens, {policies} policies, {roles} roles"))?;
    match bootstrapped {
        true => Ok(()),
        false => output::print("the first token is still to be made: `remora acl bootstrap`"),
    }
}

/// The agent makes it for who knows the secret that lies in its directory.
fn reset(asked: &Asked, data_dir: &Path) -> Result {
    let secret = uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string();
    let wish = serde_json::to_vec(&json!({ "BootstrapSecret": secret }))?;
    let reset = Reset::leave(data_dir, &secret)?;
    let done = bootstrap(asked, wish);
    reset.take_back()?;
    done
}

fn bootstrap(asked: &Asked, wish: Vec<u8>) -> Result {
    let reply = asked.api.open()?.put("/v1/acl/bootstrap", wish)?.success()?;
    if asked.output.json {
        return output::print_json(&reply.json::<Value>()?);
    }
    let First { accessor, secret } = reply.json()?;
    output::print(&format!("AccessorID: {accessor}"))?;
    output::print(&format!("SecretID:   {secret}"))
}
