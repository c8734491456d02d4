//! Rewrites the log of a server that is stopped, so that it goes on alone with what it has.

use std::io;
use std::sync::Arc;

use openraft::EntryPayload;

use crate::lifecycle::aside;
use crate::model::{Applied, NodeId};
use crate::state::{Command, Outcome, Part, Proposal, State};

use super::config::Config;
use super::disk::Disk;
use super::error::OpenError;
use super::open::{Opened, open};
use super::types::{Membership, SnapshotMeta, StoredMembership, Vote, applied, log_id, position};
use super::wal::Position;

/// What a stopped server has. Its directory is held against other processes meanwhile.
pub struct Remains {
    opened: Opened,
    id: NodeId,
    state: State,
    last: Position,
    /// Who voted, as far as this server knows; while they were changing, those of both sides.
    pub voters: Vec<NodeId>,
    /// Entries behind the last that is known to have been committed: taken for committed, as they
    /// may have been acknowledged.
    pub unsure: u64,
}

impl Remains {
    /// Reads log and snapshot, and applies every entry there is.
    pub fn open(disk: &Arc<dyn Disk>, config: &Config) -> Result<Remains, OpenError> {
        let opened = open(disk, config)?;
        let dir = config.dir.clone();
        let garbled = |why: String| OpenError::Entries { dir: dir.clone(), why };
        let (mut state, mut membership) = (State::new(Part::Server), StoredMembership::default());
        let mut last = None;
        if let Some(kept) = opened.snapshots.newest() {
            state = kept.read().map_err(|error| OpenError::Snapshot {
                path: kept.path.clone(),
                why: error.to_string(),
            })?;
            membership = kept.meta.last_membership.clone();
            last = kept.meta.last_log_id.as_ref().map(position);
        }
        let committed = opened.log.committed().map(|id| id.index).max(last.map(|at| at.index));
        for entry in opened.log.after(last.map(|at| at.index)) {
            let at = applied(&entry.log_id);
            let changes = match &entry.payload {
                EntryPayload::Normal(logged) => {
                    let proposal = logged.decode().map_err(|error| garbled(error.to_string()))?;
                    state.apply(at, &proposal).1
                }
                EntryPayload::Membership(next) => {
                    membership = StoredMembership::new(Some(entry.log_id), next.clone());
                    state.blank(at)
                }
                EntryPayload::Blank => state.blank(at),
            };
            state.absorb(&changes);
            last = Some(position(&entry.log_id));
        }
        let voters = membership.voter_ids().map(NodeId).collect();
        let last = last.ok_or_else(|| garbled("it holds nothing".to_owned()))?;
        let unsure = last.index.saturating_sub(committed.unwrap_or(0));
        Ok(Remains { opened, id: config.id, state, last, voters, unsure })
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// Applies `command` as the last entry of the old log and begins a new one behind it, with
    /// this server as the only member. Done again after an interruption, it does no harm.
    pub async fn go_on_alone(mut self, command: Command) -> Result<Applied, OpenError> {
        let failed = |error: io::Error| OpenError::Raft(error.to_string());
        let term = self.opened.log.term().max(self.last.term) + 1;
        let at = Position { index: self.last.index + 1, term };
        let id = log_id(at);
        let proposal = Proposal { stamp: self.state.stamp(), command };
        let (outcome, changes) = self.state.apply(applied(&id), &proposal);
        if let Outcome::Refused(refusal) = outcome {
            return Err(OpenError::Raft(refusal.to_string()));
        }
        self.state.absorb(&changes);
        let alone = Membership::new_with_defaults(vec![[self.id.0].into()], [self.id.0]);
        let meta = SnapshotMeta {
            last_log_id: Some(id),
            last_membership: StoredMembership::new(Some(id), alone),
        };
        // The snapshot first: until the log begins behind it, it is merely ahead of the log.
        self.opened.snapshots.save(&meta, &self.state).map_err(failed)?;
        self.opened.log.begin_at(id, Vote::new(term, self.id.0)).await.map_err(failed)?;
        let log = self.opened.log;
        let _ = aside(move || log.close()).await;
        Ok(applied(&id))
    }
}
