//! Runs a check or a reload: no shell, a time limit, the end of its output kept.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::error::CommandError;
use crate::model::limits;

/// How long a command's output may trail behind its end: a daemon it started may hold the pipe.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Runs `argv` to its end and gives the end of what it said. In each argument `{staged}` stands for
/// the path of the staged file. At the time limit the command dies with all its children.
pub(super) async fn run(
    argv: &[String],
    staged: Option<&Path>,
    limit: Duration,
) -> Result<String, CommandError> {
    let argv: Vec<String> = argv.iter().map(|arg| substitute(arg, staged)).collect();
    let name = argv.join(" ");
    let (program, arguments) = argv.split_first().unwrap_or((&name, &[]));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| CommandError::Start { program: program.clone(), error })?;
    let said = Said::default();
    let ended = tokio::time::timeout(limit, listen(&mut child, &said)).await;
    match ended {
        Ok(Ok(status)) if status.success() => Ok(said.text()),
        Ok(Ok(status)) => {
            let status = status.to_string();
            Err(CommandError::Status { command: name, status, output: said.text() })
        }
        Ok(Err(error)) => Err(CommandError::Start { program: program.clone(), error }),
        Err(_) => {
            kill_all(&child);
            let seconds = limit.as_secs();
            Err(CommandError::TimedOut { command: name, seconds, output: said.text() })
        }
    }
}

fn substitute(argument: &str, staged: Option<&Path>) -> String {
    match staged {
        Some(path) => argument.replace("{staged}", &path.to_string_lossy()),
        None => argument.to_owned(),
    }
}

async fn listen(child: &mut Child, said: &Said) -> std::io::Result<std::process::ExitStatus> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let output = async { tokio::join!(said.hear(stdout), said.hear(stderr)) };
    tokio::pin!(output);
    tokio::select! {
        _ = &mut output => child.wait().await,
        status = child.wait() => {
            // What comes later than this is not waited for.
            let _ = tokio::time::timeout(LAST_WORDS, &mut output).await;
            status
        }
    }
}

fn kill_all(child: &Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(group) = group {
        // It may have ended in this moment.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// The end of what a command wrote to either stream.
#[derive(Default)]
struct Said {
    bytes: Mutex<Vec<u8>>,
}

impl Said {
    async fn hear(&self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(mut stream) = stream else { return };
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
            bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
            let surplus = bytes.len().saturating_sub(limits::COMMAND_OUTPUT);
            bytes.drain(..surplus);
        }
    }

    fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}
