//! `remora lock`: a command that runs while it holds a lock, or one of a semaphore's slots.

use super::Result;
use super::hold::{self, HoldArgs, Wish};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The lock's name: its places are the keys below NAME/
    name: String,
    /// How many hold it at the same time; everyone who asks has to say the same
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    slots: u32,
    #[command(flatten)]
    hold: HoldArgs,
}

pub(super) fn run(args: &Args) -> Result {
    let Args { name, slots, hold } = args;
    hold::run(&Wish { name, value: "", slots: *slots, args: hold })
}
