//! Runs a program to its end: no shell, a time limit, the end of what it said kept.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

/// How long what a program says may trail behind its end: a daemon it started may hold the pipe.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How a program ended. None: it was stopped at the time limit.
#[derive(Debug)]
pub struct Ended {
    pub status: Option<ExitStatus>,
    pub said: Tail,
}

/// Runs `argv` and hears both its streams, in the order in which it writes them. At the time limit
/// it dies with all its children. An error: it cannot be started.
pub async fn run(argv: &[String], limit: Duration, keep: usize) -> io::Result<Ended> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no program to run"));
    };
    let (heard, spoken) = io::pipe()?;
    // The command is dropped with the statement, and its ends of the pipe with it: what is left
    // is the program's, so that its end is the pipe's.
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(spoken.try_clone()?)
        .stderr(spoken)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let mut heard = pipe::Receiver::from_owned_fd(OwnedFd::from(heard))?;
    let mut said = Tail::new(keep);
    match tokio::time::timeout(limit, listen(&mut child, &mut heard, &mut said)).await {
        Ok(status) => Ok(Ended { status: Some(status?), said }),
        Err(_) => {
            kill_all(&child);
            Ok(Ended { status: None, said })
        }
    }
}

async fn listen(
    child: &mut Child,
    heard: &mut pipe::Receiver,
    said: &mut Tail,
) -> io::Result<ExitStatus> {
    let output = hear(heard, said);
    tokio::pin!(output);
    tokio::select! {
        () = &mut output => child.wait().await,
        status = child.wait() => {
            // What comes later than this is not waited for.
            let _ = tokio::time::timeout(LAST_WORDS, &mut output).await;
            status
        }
    }
}

async fn hear(heard: &mut pipe::Receiver, said: &mut Tail) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = heard.read(&mut buffer).await {
        said.push(buffer.get(..count).unwrap_or_default());
    }
}

fn kill_all(child: &Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(group) = group {
        // It may have ended in this moment.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// The end of a text of any length, in bounded memory: an error's cause stands last.
#[derive(Debug)]
pub struct Tail {
    keep: usize,
    bytes: VecDeque<u8>,
    total: usize,
}

impl Tail {
    pub fn new(keep: usize) -> Tail {
        Tail { keep, bytes: VecDeque::new(), total: 0 }
    }

    pub fn push(&mut self, chunk: &[u8]) {
        self.total = self.total.saturating_add(chunk.len());
        let from = chunk.len().saturating_sub(self.keep);
        self.bytes.extend(chunk.get(from..).unwrap_or_default());
        let surplus = self.bytes.len().saturating_sub(self.keep);
        self.bytes.drain(..surplus);
    }

    /// How many bytes there were in all.
    pub fn total(&self) -> usize {
        self.total
    }

    /// How many of them are kept.
    pub fn kept(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the beginning is missing.
    pub fn is_cut(&self) -> bool {
        self.total > self.kept()
    }

    /// As text; what is not UTF-8 is shown as U+FFFD.
    pub fn into_text(self) -> String {
        String::from_utf8_lossy(&Vec::from(self.bytes)).into_owned()
    }
}

impl io::Write for Tail {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        self.push(chunk);
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
