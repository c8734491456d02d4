//! `remora check-config FILE`: is this config valid, without starting anything.

use std::path::PathBuf;

use crate::agent::config::{self, Flags};

use super::{Failure, Result};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The config file to check
    file: PathBuf,
}

pub(super) fn run(args: &Args) -> Result {
    let file = config::load(&args.file).map_err(Failure::usage)?;
    config::resolve(file, &Flags::default()).map_err(Failure::usage)?;
    println!("{}: valid", args.file.display());
    Ok(())
}
