//! `remora agent`: reads the config, runs the agent until it is told to stop.

use std::path::PathBuf;

use crate::agent::config::{self, Advertise, File, Flags, Listen, RoleSetting};
use crate::agent::{self, Agent, Source};
use crate::model::NodeName;
use crate::telemetry::{LogConfig, LogFormat, init_logging};

use super::{Failure, Result};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The config file (YAML); without one every setting has its default
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// This node's name [default: the host's name]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Where log and snapshots are kept; without one the agent is an edge and keeps nothing
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A server to join through, host:port; may be given several times
    #[arg(long, value_name = "HOST:PORT")]
    join: Vec<String>,
    /// A file with the join token, `-` for standard input [env: REMORA_JOIN_TOKEN, the token]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// auto, server, edge or relay
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Where this agent listens for other agents
    #[arg(long, value_name = "ADDR:PORT")]
    bind: Option<String>,
    /// Where other agents reach this one: an address, address:port or an interface
    #[arg(long, value_name = "ADDR")]
    advertise: Option<String>,
    /// Where DNS is answered in place of `dns.listen`, for example 127.0.0.1:53; may be repeated
    #[arg(long, value_name = "ADDR:PORT")]
    dns: Vec<String>,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(clap::Args)]
pub(super) struct LogArgs {
    /// What is logged, for example `warn` or `info,remora::raft=debug`
    #[arg(long, value_name = "FILTER", env = "REMORA_LOG", default_value = "info")]
    log: String,
    /// Log lines as JSON
    #[arg(long)]
    log_json: bool,
}

impl LogArgs {
    pub(super) fn init(&self) -> Result {
        let format = if self.log_json { LogFormat::Json } else { LogFormat::Text };
        let config = LogConfig { format, filter: self.log.clone() };
        init_logging(&config).map_err(|error| Failure::usage(anyhow::Error::msg(error)))
    }
}

pub(super) fn run(args: Args) -> Result {
    args.log.init()?;
    let file = match &args.config {
        Some(path) => config::load(path).map_err(Failure::usage)?,
        None => File::default(),
    };
    let flags = args.flags().map_err(|error| Failure::usage(anyhow::Error::msg(error)))?;
    let source = Source { path: args.config, file: file.clone() };
    let resolved = config::resolve(file, &flags).map_err(Failure::usage)?;
    agent::block_on(async move {
        let mut agent = Agent::start(resolved).await?;
        let over = agent.until_over(&source).await;
        agent.stop().await;
        // Whoever watches over the process starts one again that could not go on.
        over
    })?;
    Ok(())
}

impl Args {
    fn flags(&self) -> std::result::Result<Flags, String> {
        let named = |flag: &str, error: String| format!("{flag}: {error}");
        let role = match self.role.as_deref() {
            None => None,
            Some("auto") => Some(RoleSetting::Auto),
            Some("server") => Some(RoleSetting::Server),
            Some("edge") => Some(RoleSetting::Edge),
            Some("relay") => Some(RoleSetting::Relay),
            Some(other) => {
                return Err(format!("--role: {other:?} is none of auto, server, edge and relay"));
            }
        };
        let node = self.node.as_deref().map(NodeName::new).transpose();
        let bind = self.bind.as_deref().map(str::parse::<Listen>).transpose();
        let advertise = self.advertise.as_deref().map(str::parse::<Advertise>).transpose();
        let dns = self.dns.iter().map(|addr| addr.parse::<Listen>());
        let dns: std::result::Result<Vec<Listen>, _> = dns.collect();
        Ok(Flags {
            dns: dns.map_err(|error| named("--dns", error.to_string()))?,
            node: node.map_err(|error| named("--node", error.to_string()))?,
            data_dir: self.data_dir.clone(),
            join: self.join.clone(),
            token_file: self.token_file.clone(),
            role,
            bind: bind.map_err(|error| named("--bind", error))?,
            advertise: advertise.map_err(|error| named("--advertise", error))?,
        })
    }
}
