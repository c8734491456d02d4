//! Takes connections from other agents and answers what they ask.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::coop::unconstrained;
use tokio::time::interval;

use crate::lifecycle::{Shutdown, Tasks};
use crate::model::limits;
use crate::net::{Arrivals, Connection};

use super::guard::Guard;
use super::knocks::Knock;
use super::stream::Pushes;
use super::wire::{self, Frame, Kind, Open, Reader, Writer};
use super::{Caller, Handler, Purpose, Refused, Streamer};

/// What is served under a purpose.
#[derive(Clone)]
pub enum Service {
    Calls(Handler),
    Stream(Streamer),
}

/// Accepts whom the guard lets in, until the shutdown begins. Streams that are open then are cut.
/// Who calls is told to go elsewhere: what it has asked is answered, what comes later is refused,
/// for as long as `limits::PEER_PARTING`.
pub fn serve(
    mut arrivals: Box<dyn Arrivals>,
    guard: &Guard,
    services: BTreeMap<Purpose, Service>,
    tasks: &Tasks,
    shutdown: &Shutdown,
) {
    let (guard, services) = (guard.clone(), Arc::new(services));
    let (spawner, stop) = (tasks.clone(), shutdown.clone());
    let room = Arc::new(Semaphore::new(limits::PEER_CONNECTIONS));
    tasks.spawn("peer accept", async move {
        let accept = async {
            loop {
                let Ok(permit) = room.clone().acquire_owned().await else { return };
                let (stream, from) = match arrivals.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Mostly too many open files: wait for some to close.
                        tracing::warn!(%error, "cannot accept a connection of an agent");
                        tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                let Some(knock) = guard.knock(from.ip()) else {
                    tracing::debug!(%from, "too many connections are on their way in");
                    continue;
                };
                let (guard, services, stop) = (guard.clone(), services.clone(), stop.clone());
                spawner.spawn("peer connection", async move {
                    connection(stream, &guard, from, (knock, &services), &stop).await;
                    drop(permit);
                });
            }
        };
        stop.or(accept).await;
    });
}

async fn connection(
    stream: Connection,
    guard: &Guard,
    from: SocketAddr,
    (knock, services): (Knock, &BTreeMap<Purpose, Service>),
    stop: &Shutdown,
) {
    let offers = |purpose| services.contains_key(&purpose);
    let Some(accepted) = stop.or(wire::accept(stream, guard, from, offers)).await else { return };
    drop(knock);
    let Open { caller, purpose, pass, reader, writer } = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            tracing::warn!(%from, %error, "refused a connection to the agents' port");
            return;
        }
    };
    let served = async {
        match services.get(&purpose) {
            Some(Service::Calls(handler)) => {
                answer_calls(caller, reader, writer, handler, stop).await
            }
            Some(Service::Stream(streamer)) => {
                let pushed = push_stream(caller, reader, writer, streamer);
                stop.or(pushed).await.unwrap_or(Ok(()))
            }
            None => Ok(()),
        }
    };
    let parted = async {
        stop.begun().await;
        tokio::time::sleep(limits::PEER_PARTING).await;
    };
    let ended = tokio::select! {
        ended = served => ended,
        error = pass.revoked() => Err(error),
        () = parted => Ok(()),
    };
    match ended {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            tracing::warn!(%from, ?purpose, %error, "an agent sent garbage: connection closed");
        }
        Err(error) => tracing::debug!(%from, ?purpose, %error, "an agent's connection broke"),
        Ok(()) => {}
    }
}

async fn answer_calls(
    caller: Caller,
    reader: Reader,
    writer: Writer,
    handler: &Handler,
    stop: &Shutdown,
) -> io::Result<()> {
    // Bounded by the calls under way: none is read before its answer has a place.
    let room = Arc::new(Semaphore::new(limits::PEER_IN_FLIGHT));
    let (answers, queue) = mpsc::unbounded_channel();
    // Once this agent stops, the caller is who ends it: a call on its way into a closed connection
    // would be lost.
    tokio::select! {
        ended = handle_calls(caller, reader, (handler, stop), &room, answers) => ended,
        ended = write_answers(writer, queue, stop) => ended,
    }
}

struct Answer {
    frame: Frame,
    _permit: OwnedSemaphorePermit,
}

async fn handle_calls(
    caller: Caller,
    mut reader: Reader,
    (handler, stop): (&Handler, &Shutdown),
    room: &Arc<Semaphore>,
    answers: mpsc::UnboundedSender<Answer>,
) -> io::Result<()> {
    let mut running = FuturesUnordered::new();
    // Requests in hand: several large ones must not pile up.
    let mut bytes = 0;
    loop {
        let (full, heavy) = (room.available_permits() == 0, bytes >= limits::PEER_FRAME);
        let frame = tokio::select! {
            Some((length, answer)) = running.next(), if !running.is_empty() => {
                bytes -= length;
                let _ = answers.send(answer);
                continue;
            }
            frame = reader.next(), if !full && !heavy => frame?,
            // Answers that were written make room.
            permit = room.acquire(), if full => {
                drop(permit);
                continue;
            }
        };
        let Some(frame) = frame else { return Ok(()) };
        match frame.kind {
            Kind::Ping => continue,
            Kind::Request => {}
            kind => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{kind:?}"))),
        }
        let Ok(permit) = room.clone().acquire_owned().await else { return Ok(()) };
        let (id, length) = (frame.id, frame.body.len());
        if stop.has_begun() {
            let refused = Err(Refused("the agent is stopping".to_owned()));
            let _ = answers.send(Answer { frame: answer(id, refused), _permit: permit });
            continue;
        }
        let mut handled = handler(caller, frame.body);
        // Handling begins in the order of the calls. A task that has done much in one go would be
        // told to wait by whatever it asks next, and this call would begin behind those after it.
        match futures::poll!(unconstrained(&mut handled)) {
            Poll::Ready(result) => {
                let _ = answers.send(Answer { frame: answer(id, result), _permit: permit });
            }
            Poll::Pending => {
                bytes += length;
                running.push(async move {
                    let frame = answer(id, handled.await);
                    (length, Answer { frame, _permit: permit })
                });
            }
        }
    }
}

fn answer(id: u64, result: Result<Bytes, Refused>) -> Frame {
    match result {
        Ok(body) if wire::fits(&body) => Frame::new(Kind::Answer, id, body),
        Ok(body) => {
            // It was handled, so it must not be called refused: the caller learns nothing.
            tracing::error!(bytes = body.len(), "an answer to an agent is too long");
            Frame::new(Kind::Answer, id, Bytes::new())
        }
        Err(Refused(why)) => Frame::new(Kind::Refused, id, why.into()),
    }
}

async fn write_answers(
    mut writer: Writer,
    mut queue: mpsc::UnboundedReceiver<Answer>,
    stop: &Shutdown,
) -> io::Result<()> {
    const BATCH: usize = 256;
    let mut batch = Vec::new();
    let mut ping = interval(wire::PING);
    let mut left = false;
    loop {
        tokio::select! {
            () = stop.begun(), if !left => {
                left = true;
                writer.put(&Frame::new(Kind::Leave, 0, Bytes::new())).await?;
            }
            taken = queue.recv_many(&mut batch, BATCH) => if taken == 0 {
                return Ok(());
            },
            _ = ping.tick() => writer.put(&Frame::new(Kind::Ping, 0, Bytes::new())).await?,
        }
        for answer in &batch {
            writer.put(&answer.frame).await?;
        }
        writer.flush().await?;
        batch.clear();
    }
}

async fn push_stream(
    caller: Caller,
    mut reader: Reader,
    writer: Writer,
    streamer: &Streamer,
) -> io::Result<()> {
    let Some(first) = reader.next().await? else { return Ok(()) };
    if first.kind != Kind::Request {
        return Err(io::ErrorKind::InvalidData.into());
    }
    streamer(caller, first.body, Pushes::new(writer)).await;
    Ok(())
}
