//! One connection on which calls are made: opened when needed, written in order, answered in any.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, interval, timeout};

use crate::lifecycle::{Backoff, Shutdown};
use crate::net::Fabric;

use super::guard::Guard;
use super::wire::{self, Frame, Kind, Open, Reader, Writer};
use super::{CallError, Purpose};

/// A connection on which nothing was asked for this long is closed.
const UNUSED: Duration = Duration::from_secs(60);
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(300));
/// Calls gathered into one write.
const BATCH: usize = 256;

/// Whether a call may have reached the peer: decided once, by who is first.
#[derive(Debug, Default)]
pub(super) struct Stage(AtomicU8);

const QUEUED: u8 = 0;
const WRITTEN: u8 = 1;
const ABANDONED: u8 = 2;

impl Stage {
    fn leave(&self, to: u8) -> bool {
        self.0.compare_exchange(QUEUED, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The caller gives up; true if nothing was written and nothing will be.
    pub fn abandon(&self) -> bool {
        self.leave(ABANDONED)
    }
}

pub(super) struct Call {
    pub body: Bytes,
    pub stage: Arc<Stage>,
    pub reply: oneshot::Sender<Result<Bytes, CallError>>,
    /// Held until the answer has come, so that the calls under way are bounded.
    pub permit: OwnedSemaphorePermit,
}

impl Call {
    fn fail(self, why: &str) {
        // The caller may have gone.
        let _ = self.reply.send(Err(CallError::NotSent(why.to_owned())));
    }
}

struct Waiting {
    reply: oneshot::Sender<Result<Bytes, CallError>>,
    _permit: OwnedSemaphorePermit,
}

/// Serves the queue until it is closed, or unused for a while.
pub(super) async fn run(
    fabric: Arc<dyn Fabric>,
    guard: Guard,
    addr: SocketAddr,
    purpose: Purpose,
    mut queue: mpsc::Receiver<Call>,
) {
    let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
    let mut down: Option<(Instant, String)> = None;
    while let Ok(Some(call)) = timeout(UNUSED, queue.recv()).await {
        if let Some((until, why)) = &down
            && Instant::now() < *until
        {
            call.fail(why);
            continue;
        }
        match wire::connect(&*fabric, &guard, addr, purpose).await {
            Ok(open) => {
                backoff.reset();
                down = None;
                converse(open, call, &mut queue).await;
            }
            Err(error) => {
                let why = format!("cannot reach the agent at {addr}: {error}");
                call.fail(&why);
                while let Ok(call) = queue.try_recv() {
                    call.fail(&why);
                }
                down = Some((Instant::now() + backoff.next_delay(), why));
            }
        }
    }
    // What came in while this ended was never written.
    queue.close();
    while let Ok(call) = queue.try_recv() {
        call.fail(&format!("the connection to {addr} was just closed"));
    }
}

#[derive(Default)]
struct Answers(Mutex<BTreeMap<u64, Waiting>>);

impl Answers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes and reads until either fails, the peer takes its leave, or the queue has been closed or
/// unused.
async fn converse(open: Open, first: Call, queue: &mut mpsc::Receiver<Call>) {
    let Open { caller, pass, mut reader, mut writer, .. } = open;
    let addr = caller.addr;
    let answers = Answers::default();
    let leave = Shutdown::default();
    let talk = async {
        tokio::select! {
            ended = write_calls(&mut writer, first, queue, &answers, &leave) => ended?,
            ended = read_answers(&mut reader, &answers, &leave) => ended?,
        }
        // What was written before the leave was heard is answered or refused.
        while leave.has_begun() && !answers.lock().is_empty() {
            let Some(frame) = reader.next().await? else { break };
            take(frame, &answers, &leave)?;
        }
        Ok(())
    };
    let ended = tokio::select! {
        ended = talk => ended,
        error = pass.revoked() => Err(error),
    };
    let why = match ended {
        Ok(()) => format!("the agent at {addr} closed the connection"),
        Err(error) => format!("the connection to the agent at {addr} broke: {error}"),
    };
    tracing::debug!(%addr, why, "a connection between agents has ended");
    for (_, waiting) in std::mem::take(&mut *answers.lock()) {
        let _ = waiting.reply.send(Err(CallError::Lost(why.clone())));
    }
}

async fn write_calls(
    writer: &mut Writer,
    first: Call,
    queue: &mut mpsc::Receiver<Call>,
    answers: &Answers,
    leave: &Shutdown,
) -> io::Result<()> {
    let mut batch = vec![first];
    let mut next = 1;
    let mut last_call = Instant::now();
    let mut ping = interval(wire::PING);
    loop {
        if !batch.is_empty() {
            last_call = Instant::now();
        }
        for call in batch.drain(..) {
            if !call.stage.leave(WRITTEN) {
                continue;
            }
            let waiting = Waiting { reply: call.reply, _permit: call.permit };
            answers.lock().insert(next, waiting);
            writer.put(&Frame::new(Kind::Request, next, call.body)).await?;
            next += 1;
        }
        writer.flush().await?;
        tokio::select! {
            biased;
            () = leave.begun() => return Ok(()),
            taken = queue.recv_many(&mut batch, BATCH) => if taken == 0 {
                return Ok(());
            },
            _ = ping.tick() => {
                // Callers that gave up are not waited for.
                answers.lock().retain(|_, waiting| !waiting.reply.is_closed());
                if last_call.elapsed() > UNUSED && answers.lock().is_empty() {
                    return Ok(());
                }
                writer.put(&Frame::new(Kind::Ping, 0, Bytes::new())).await?;
            }
        }
    }
}

async fn read_answers(reader: &mut Reader, answers: &Answers, leave: &Shutdown) -> io::Result<()> {
    while let Some(frame) = reader.next().await? {
        take(frame, answers, leave)?;
    }
    Ok(())
}

fn take(frame: Frame, answers: &Answers, leave: &Shutdown) -> io::Result<()> {
    let answer = match frame.kind {
        Kind::Answer => Ok(frame.body),
        Kind::Refused => Err(CallError::NotSent(String::from_utf8_lossy(&frame.body).into_owned())),
        Kind::Ping => return Ok(()),
        Kind::Leave => {
            leave.begin();
            return Ok(());
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    if let Some(waiting) = answers.lock().remove(&frame.id) {
        // The caller may have gone.
        let _ = waiting.reply.send(answer);
    }
    Ok(())
}
