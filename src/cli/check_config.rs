//! `remora check-config FILE`: are this config and its TLS files valid, without starting anything.

use std::path::PathBuf;

use anyhow::Error;

use crate::agent::config::{self, Flags};

use super::{Failure, Result};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The config file to check
    file: PathBuf,
}

pub(super) fn run(args: &Args) -> Result {
    let file = config::load(&args.file).map_err(Failure::usage)?;
    let resolved = config::resolve(file, &Flags::default()).map_err(Failure::usage)?;
    if let Some(files) = &resolved.http.tls {
        let ends = files.check().map_err(|error| Failure::usage(Error::new(error)))?;
        if let Some(ends) = ends {
            let cert = files.cert.display();
            return Err(Failure::usage(Error::msg(format!("http.tls.cert: {cert}: {ends}"))));
        }
    }
    println!("{}: valid", args.file.display());
    Ok(())
}
