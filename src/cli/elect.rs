//! `remora elect`: a command that runs while it leads.

use super::Result;
use super::hold::{self, HoldArgs, Wish};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The election's name: the candidates are the keys below NAME/, the oldest leads
    name: String,
    /// What the leader's key says to whoever reads it
    #[arg(long, default_value = "")]
    value: String,
    #[command(flatten)]
    hold: HoldArgs,
}

pub(super) fn run(args: &Args) -> Result {
    let Args { name, value, hold } = args;
    hold::run(&Wish { name, value, slots: 1, args: hold })
}
