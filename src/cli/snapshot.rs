//! `remora snapshot`: saves everything to a file, restores it, and looks into one without an agent.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Serialize};

use super::api::ApiArgs;
use super::output::{self, OutputArgs};
use super::{Failure, Result};
use crate::cluster::Unwrapping;
use crate::state::{BackupHead, BackupReader};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Write everything that the cluster holds to a file
    Save {
        file: PathBuf,
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Put a file's content in the place of everything that the cluster holds
    Restore {
        file: PathBuf,
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Check a file and say what is in it; asks no agent
    Inspect {
        file: PathBuf,
        #[command(flatten)]
        output: OutputArgs,
    },
}

pub(super) fn run(args: Args) -> Result {
    match args.command {
        Command::Save { file, api } => save(&file, &api),
        Command::Restore { file, api } => restore(&file, &api),
        Command::Inspect { file, output } => inspect(&file, output),
    }
}

/// The file is there whole and checked, or not at all.
fn save(file: &Path, api: &ApiArgs) -> Result {
    let api = api.open()?;
    let mut partial = file.to_owned().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = (|| -> Result<BackupHead> {
        let mut out = create(&partial)?;
        let mut reader = BackupReader::default();
        api.download("/admin/snapshot", |piece| {
            out.write_all(piece).with_context(|| format!("cannot write {}", partial.display()))?;
            Ok(reader.push(piece)?)
        })?;
        out.sync_all().with_context(|| format!("cannot write {}", partial.display()))?;
        Ok(reader.finish()?.0)
    })();
    let head = written.inspect_err(|_| {
        // Half a backup helps nobody.
        let _ = fs::remove_file(&partial);
    })?;
    fs::rename(&partial, file).with_context(|| format!("cannot write {}", file.display()))?;
    let BackupHead { revision, keys, instances, .. } = head;
    let file = file.display();
    output::print(&format!("{file}: revision {revision}, {keys} keys, {instances} instances"))
}

/// It holds every key: nobody else may read it.
fn create(path: &Path) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    Ok(options.open(path).with_context(|| format!("cannot write {}", path.display()))?)
}

#[derive(Deserialize)]
struct Restored {
    revision: i64,
    keys: u64,
}

fn restore(file: &Path, api: &ApiArgs) -> Result {
    // Looked through first: a damaged file is not worth the cluster's time.
    read(file)?;
    let opened = open(file)?;
    let answer = api.open()?.upload("/admin/snapshot", opened)?.success()?;
    let Restored { revision, keys } = answer.json()?;
    output::print(&format!("restored {}: {keys} keys, now at revision {revision}", file.display()))
}

#[derive(Serialize)]
struct Shown<'a> {
    file: &'a Path,
    /// 32 hexadecimal digits.
    cluster: String,
    /// 16 hexadecimal digits.
    lineage: String,
    release: &'a str,
    level: u32,
    index: u64,
    revision: i64,
    members: u64,
    keys: u64,
    leases: u64,
    nodes: u64,
    instances: u64,
    checks: u64,
    checksum: &'static str,
}

fn inspect(file: &Path, output: OutputArgs) -> Result {
    let head = read(file)?;
    let shown = Shown {
        file,
        cluster: format!("{:032x}", head.cluster),
        lineage: format!("{:016x}", head.lineage),
        release: &head.release,
        level: head.level,
        index: head.index,
        revision: head.revision,
        members: head.members,
        keys: head.keys,
        leases: head.leases,
        nodes: head.nodes,
        instances: head.instances,
        checks: head.checks,
        checksum: "ok",
    };
    let value = serde_json::to_value(&shown)?;
    if output.json {
        return output::print_json(&value);
    }
    let rows = value.as_object().into_iter().flatten().map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        [name.clone(), value]
    });
    output::print(&output::table(["FIELD", "VALUE"], rows.collect()))
}

fn open(file: &Path) -> Result<File> {
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()));
    opened.map_err(Failure::usage)
}

/// Reads all of it, and so checks all of it.
fn read(file: &Path) -> Result<BackupHead> {
    let mut opened = open(file)?;
    let (mut unwrapping, mut reader) = (Unwrapping::default(), BackupReader::default());
    let mut piece = vec![0; 256 * 1024];
    loop {
        let len = match opened.read(&mut piece) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(anyhow!("cannot read {}: {error}", file.display()).into()),
        };
        let piece = unwrapping.push(piece.get(..len).unwrap_or_default());
        reader.push(&piece).with_context(|| file.display().to_string())?;
    }
    let last = unwrapping.finish().with_context(|| file.display().to_string())?;
    reader.push(&last).with_context(|| file.display().to_string())?;
    Ok(reader.finish().with_context(|| file.display().to_string())?.0)
}
