//! `remora dev`: one throw-away server on loopback, with a tour to paste.

use crate::agent::config::{self, File, Flags};
use crate::agent::{self, Agent, Source};

use super::Result;
use super::agent::LogArgs;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    log: LogArgs,
}

/// What to try, each line on its own. A test pastes them.
const TOUR: [&str; 5] = [
    r#"curl -X PUT localhost:8500/v1/agent/service/register -d '{"Name":"web","Port":8080}'"#,
    "dig @127.0.0.1 -p 8600 web.service.remora SRV +short",
    "curl -X PUT localhost:8500/v1/kv/config/web/color -d blue",
    "curl localhost:8500/v1/kv/config/web/color?raw",
    "remora status",
];

pub(super) fn run(args: Args) -> Result {
    args.log.init()?;
    agent::block_on(async move {
        let scratch = agent::Scratch::new()?;
        let flags = Flags { data_dir: Some(scratch.path().to_owned()), ..Flags::default() };
        let resolved = config::resolve(File::default(), &flags)?;
        let mut agent = Agent::start(resolved).await?;
        agent.ready().await;
        print_tour(&agent);
        let over = agent.until_over(&Source { path: None, file: File::default() }).await;
        agent.stop().await;
        over
    })?;
    Ok(())
}

fn print_tour(agent: &Agent) {
    println!("Remora {} is ready; everything is gone when it stops.", env!("CARGO_PKG_VERSION"));
    for listener in agent.listeners() {
        println!("  {:<10} {}", listener.name, listener.address);
    }
    println!("Try, in another terminal:");
    for line in TOUR {
        println!("  {line}");
    }
}
