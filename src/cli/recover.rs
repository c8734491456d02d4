//! `remora recover`: the last server that is left goes on alone.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;

use anyhow::anyhow;

use super::{Failure, Result, output};
use crate::cluster::Survivor;
use crate::model::Role;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The data directory of the server that is left; its agent must be stopped
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &Args) -> Result {
    let survivor = Survivor::open(&args.data_dir)?;
    output::print(&told(&survivor))?;
    if !args.yes && !confirmed(survivor.name.as_str())? {
        return Err(Failure::usage(anyhow!("nothing was changed")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let name = survivor.name.clone();
    runtime.block_on(survivor.recover())?;
    output::print(&format!(
        "{name} is the only server now. Start its agent; then give the others empty data \
         directories and let them join again."
    ))
}

fn told(survivor: &Survivor) -> String {
    let state = survivor.state();
    let servers = state.members().filter(|member| member.role == Role::Server);
    let others: Vec<String> = servers
        .filter(|member| member.id != survivor.id())
        .map(|member| format!("  {} (id {}, {})", member.name, member.id, member.peer_addr))
        .collect();
    let others = if others.is_empty() { "  none".to_owned() } else { others.join("\n") };
    let applied = state.applied();
    let (name, id, cluster) = (&survivor.name, survivor.id(), state.identity().cluster);
    let (keys, unsure, votes) = (state.key_count(), survivor.unsure(), survivor.voters().len());
    format!(
        "This directory is that of server {name} (id {id}) of cluster {cluster:032x}.\n\
         It has everything up to entry {index} of term {term}: revision {revision}, {keys} keys.\n\
         {unsure} entries of these may never have been acknowledged to anyone; they are kept.\n\
         The cluster had {votes} voters as far as this server knows.\n\n\
         Recovering makes {name} the only server. What the others acknowledged and {name} does \
         not have is LOST. These are members no more, with everything on their nodes:\n{others}\n\n\
         They must never be started with their old data again: two of them might go on as the old \
         cluster beside this one. Recover only where a majority of the servers will not come back.",
        index = applied.index,
        term = applied.term,
        revision = state.revision(),
    )
}

fn confirmed(name: &str) -> Result<bool> {
    print!("Type the name of the server ({name}) to go on: ");
    std::io::stdout().flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim() == name)
}
