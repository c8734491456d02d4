//! The command line: one file per command, exit codes decided here.

mod acl;
mod agent;
mod api;
mod check_config;
mod deregister;
mod dev;
mod elect;
mod entries;
mod hold;
mod join_token;
mod kv;
mod lock;
mod lookup;
mod members;
mod output;
mod recover;
mod register;
mod revoke;
mod servers;
mod services;
mod snapshot;
mod status;

use std::process::{ExitCode, ExitStatus};

use clap::{Parser, Subcommand};

/// 0 done, 1 failed, 2 usage or config; of a command that was run, its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Done,
    Failed,
    Usage,
    Command(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Command(code) => code,
        })
    }
}

#[derive(Parser)]
#[command(name = "remora", version, about = "A service-discovery agent that travels beside an app")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One throw-away server, everything on loopback; prints what to try
    Dev(dev::Args),
    /// The agent
    Agent(agent::Args),
    /// The agents of the cluster
    Members(members::Args),
    /// What the agent says of itself
    Status(status::Args),
    /// The servers of the cluster: list them, set how many, hand over leadership, remove one
    Servers(servers::Args),
    /// Make, list and retire the tokens with which agents join
    JoinToken(join_token::Args),
    /// Whether requests take a token, and the first token
    Acl(acl::Args),
    /// Put an agent out of the cluster: its certificate is worth nothing from then on
    Revoke(revoke::Args),
    /// What is registered, healthy or not
    Services(services::Args),
    /// Where to connect to, as DNS would answer
    Lookup(lookup::Args),
    /// Put a service of this agent into the catalog
    Register(register::Args),
    /// Take a service of this agent out of the catalog
    Deregister(deregister::Args),
    /// Read and write keys
    Kv(kv::Args),
    /// Run a command while it holds a lock
    Lock(lock::Args),
    /// Run a command while it leads
    Elect(elect::Args),
    /// Save, restore and inspect everything that the cluster holds
    Snapshot(snapshot::Args),
    /// Let the last server that is left go on alone
    Recover(recover::Args),
    /// Check a config file and say what is wrong with it
    CheckConfig(check_config::Args),
}

/// An error with the exit code it deserves.
struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure { exit: Exit::Failed, error: error.into() }
    }
}

impl Failure {
    fn usage(error: impl Into<anyhow::Error>) -> Failure {
        Failure { exit: Exit::Usage, error: error.into() }
    }
}

type Result<T = ()> = std::result::Result<T, Failure>;

/// The exit code of a command that was run is this one's.
fn ended_with(status: ExitStatus) -> Result {
    use std::os::unix::process::ExitStatusExt as _;
    if status.success() {
        return Ok(());
    }
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    let error = anyhow::anyhow!("the command ended with {status}");
    Err(Failure { exit: Exit::Command(code), error })
}

/// Parses the command line, runs the command, and turns its result into an exit code.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Dev(args) => dev::run(args),
        Command::Agent(args) => agent::run(args),
        Command::Members(args) => members::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Servers(args) => servers::run(&args),
        Command::JoinToken(args) => join_token::run(&args),
        Command::Acl(args) => acl::run(&args),
        Command::Revoke(args) => revoke::run(&args),
        Command::Services(args) => services::run(&args),
        Command::Lookup(args) => lookup::run(&args),
        Command::Register(args) => register::run(&args),
        Command::Deregister(args) => deregister::run(&args),
        Command::Kv(args) => kv::run(&args),
        Command::Lock(args) => lock::run(&args),
        Command::Elect(args) => elect::run(&args),
        Command::Snapshot(args) => snapshot::run(args),
        Command::Recover(args) => recover::run(&args),
        Command::CheckConfig(args) => check_config::run(&args),
    };
    match done {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            eprintln!("remora: {:#}", failure.error);
            failure.exit.into()
        }
    }
}
