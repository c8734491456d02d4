//! The events of one stream. Nothing is queued: an event is made when its client has taken the one
//! before, of what there is then, so who reads slowly is told less often.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use futures::stream::unfold;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until};

use crate::consul::Front;
use crate::consul::error::Failure;
use crate::consul::json;
use crate::consul::shared::{Content, Evaluated};
use crate::model::limits;
use crate::replica::Watch;
use crate::telemetry::Gauge;

use super::place::Place;
use super::subject::Subject;

/// A line that clients pass over.
const HEARTBEAT: &[u8] = b":\n\n";

pub struct Events {
    front: Arc<Front>,
    subjects: Vec<Subject>,
    watch: Watch,
    /// All up to there was told.
    told: Place,
    round: Option<Round>,
    /// The rest of an event that is being sent.
    pieces: VecDeque<Bytes>,
    until: Option<Instant>,
    ended: bool,
    _room: OwnedSemaphorePermit,
    _counted: Counted,
}

/// All subjects looked at once, since the state was at a place.
struct Round {
    place: Place,
    /// Some key has changed since the round before.
    keys: bool,
    next: usize,
    /// An event is sent when it is known whether another one follows: the id of the last one says
    /// that all of them were told.
    held: Option<(usize, Arc<Evaluated>)>,
}

/// One stream more, as long as this is kept.
struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Events {
    pub fn new(
        front: Arc<Front>,
        subjects: Vec<Subject>,
        watch: Watch,
        told: Place,
        until: Option<Instant>,
        room: OwnedSemaphorePermit,
    ) -> Events {
        front.streams.inc();
        let counted = Counted(front.streams.clone());
        let round =
            Round { place: Place::of(&front.cluster.snapshot()), keys: true, next: 0, held: None };
        Events {
            front,
            subjects,
            watch,
            told,
            round: Some(round),
            // Proxies and clients see at once that the stream has begun.
            pieces: VecDeque::from([Bytes::from_static(HEARTBEAT)]),
            until,
            ended: false,
            _room: room,
            _counted: counted,
        }
    }

    pub fn stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        unfold(self, |mut events| async move {
            let piece = events.next().await?;
            Some((Ok(piece), events))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Some(piece);
            }
            if self.ended {
                return None;
            }
            if self.round.is_some() {
                if let Err(failure) = self.go_on() {
                    self.pieces.push_back(refusal(&failure));
                    self.ended = true;
                }
                continue;
            }
            self.wait().await;
        }
    }

    /// Looks at subjects until there is an event to send, or all were looked at.
    fn go_on(&mut self) -> Result<(), Failure> {
        while let Some(round) = &mut self.round {
            let Some(subject) = self.subjects.get_mut(round.next) else {
                self.told = round.place;
                let held = round.held.take();
                self.round = None;
                if let Some((at, evaluated)) = held {
                    self.send(at, &evaluated);
                }
                return Ok(());
            };
            let at = round.next;
            round.next += 1;
            let state = self.front.cluster.snapshot();
            if !subject.is_due(&state, round.keys) {
                continue;
            }
            let evaluated = self.front.shelf.current(&subject.slot, &state)?;
            if !subject.is_news(&evaluated, &state) {
                continue;
            }
            if let Some((before, held)) = round.held.replace((at, evaluated)) {
                self.send(before, &held);
                return Ok(());
            }
        }
        Ok(())
    }

    fn send(&mut self, at: usize, evaluated: &Evaluated) {
        let Some(subject) = self.subjects.get(at) else { return };
        let name = String::from_utf8_lossy(&json::to_vec(&subject.name, false)).into_owned();
        let (kind, index, id) = (subject.kind.word(), evaluated.mark.index, self.told);
        let omitted = match &evaluated.content {
            Content::Nothing { omitted } | Content::Whole { omitted, .. } => *omitted,
            Content::Shuffled(_) | Content::Raw(_) => 0,
        };
        let omitted = if omitted > 0 { format!("\"Omitted\":{omitted},") } else { String::new() };
        let head = format!(
            "event: {kind}\nid: {id}\ndata: {{\"Name\":{name},\"Index\":{index},{omitted}\"Rows\":"
        );
        self.pieces.push_back(head.into());
        match &evaluated.content {
            Content::Whole { body, .. } => self.pieces.push_back(body.clone()),
            Content::Shuffled(deck) => {
                self.pieces.extend(deck.deal(&mut rand::rng()).into_pieces());
            }
            Content::Nothing { .. } | Content::Raw(_) => {
                self.pieces.push_back(Bytes::from_static(b"[]"));
            }
        }
        self.pieces.push_back(Bytes::from_static(b"}\n\n"));
    }

    /// Until something was touched, or the client has to be told that the stream is alive.
    async fn wait(&mut self) {
        let ends = async {
            match self.until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.front.shutdown.begun() => self.ended = true,
            () = ends => self.ended = true,
            () = self.watch.changed() => self.begin_round(),
            () = sleep(limits::STREAM_HEARTBEAT) => self.beat(),
        }
    }

    fn begin_round(&mut self) {
        let state = self.front.cluster.snapshot();
        if !self.told.counts_in(&state) {
            self.subjects.iter_mut().for_each(Subject::begin_anew);
        }
        let place = Place::of(&state);
        let keys = place.revision != self.told.revision;
        self.round = Some(Round { place, keys, next: 0, held: None });
    }

    /// Rights may have been withdrawn while nothing happened.
    fn beat(&mut self) {
        let state = self.front.cluster.snapshot();
        let refused = self.subjects.iter().find_map(|subject| subject.slot.admit(&state).err());
        self.ended = refused.is_some();
        let beat = refused.map_or(Bytes::from_static(HEARTBEAT), |failure| refusal(&failure));
        self.pieces.push_back(beat);
    }
}

/// The last event of a stream that its client may not go on reading. It has no id: who may again
/// goes on where it was.
fn refusal(failure: &Failure) -> Bytes {
    let data = json!({ "Status": failure.status.as_u16(), "Text": failure.text });
    format!("event: refused\ndata: {data}\n\n").into()
}
