//! The snapshot format: versioned, checksummed, the shared and the server part apart.
//!
//! `magic, version, then sections of (kind, length, crc32, postcard)`, numbers little-endian.
//! Every map is written in key order, so equal states give equal bytes.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::{Applied, Folded, Index, LeaseId, Member, NodeId, Revision, Stamp};

use super::State;
use super::catalog::{Catalog, TableIndexes};
use super::history::{History, KeyEvent, RevisionLog};
use super::rows::{
    CheckKey, CheckRow, Identity, InstanceKey, InstanceRow, Key, KeyRow, LeaseRow, NodeRow,
    Tombstone,
};
use super::topic::Touch;

pub(super) const MAGIC: &[u8; 8] = b"rmrsnap\0";
const VERSION: u32 = 1;
const SECTION_SHARED: u8 = 1;
const SECTION_SERVER: u8 = 2;

/// How much of the state a snapshot carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What everyone holds: keys, catalog, leases, members.
    Shared,
    /// The same and what only servers hold: the history.
    Server,
}

/// Why bytes are no snapshot that can be taken over.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SnapshotError {
    #[error("not a snapshot: it does not begin with the magic bytes")]
    Magic,
    #[error("snapshot format {0} is not among those that this release reads (up to {VERSION})")]
    Version(u32),
    #[error("the snapshot ends at byte {0}, in the middle of a section")]
    Short(usize),
    #[error("section {kind} at byte {offset} does not match its checksum")]
    Checksum { kind: u8, offset: usize },
    #[error("section {kind} at byte {offset} cannot be read: {why}")]
    Garbled { kind: u8, offset: usize, why: String },
    #[error("revision {0} names a current row that the shared part does not have")]
    Astray(Revision),
    #[error("the snapshot lacks its {0} part")]
    Missing(&'static str),
}

#[derive(Serialize, Deserialize)]
struct SharedPart {
    applied: Applied,
    stamp: Stamp,
    index: Index,
    revision: Revision,
    floor: Revision,
    identity: Identity,
    members: Vec<(NodeId, Arc<Member>)>,
    keys: Vec<(Key, Arc<KeyRow>)>,
    tombstones: Vec<(Key, Tombstone)>,
    leases: Vec<(LeaseId, LeaseRow)>,
    nodes: Vec<(Folded, Arc<NodeRow>)>,
    instances: Vec<(InstanceKey, Arc<InstanceRow>)>,
    checks: Vec<(CheckKey, Arc<CheckRow>)>,
    /// The indexes cannot be derived from the rows: what moved them may have gone since.
    node_indexes: Vec<(Folded, [Index; 2])>,
    service_indexes: Vec<(Folded, [Index; 3])>,
    table_indexes: [Index; 5],
}

#[derive(Serialize, Deserialize)]
struct ServerPart {
    compacted: Revision,
    log: Vec<PastRevision>,
    /// Versions that a compaction left are not in the log: they come apart.
    kept: Vec<(Key, Revision, Version)>,
}

#[derive(Serialize, Deserialize)]
struct PastRevision {
    revision: Revision,
    at: Stamp,
    events: Vec<(Key, Version)>,
}

/// What a revision left of a key. A row that still is current stands in the shared part alone.
#[derive(Serialize, Deserialize)]
enum Version {
    Deleted,
    Current,
    Past(Arc<KeyRow>),
}

impl State {
    /// The snapshot of this state. An edge's state has no server part to give.
    pub fn encode(&self, part: Part) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        push_section(&mut out, SECTION_SHARED, &self.shared_part());
        if let (Part::Server, Some(history)) = (part, &self.history) {
            push_section(&mut out, SECTION_SERVER, &self.server_part(history));
        }
        out
    }

    /// Reads what `encode` wrote. A server needs both parts, an edge drops the server part.
    pub fn decode(bytes: &[u8], part: Part) -> Result<State, SnapshotError> {
        let mut reader = Reader { bytes, at: 0 };
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(SnapshotError::Magic);
        }
        let version = reader.u32()?;
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        let (mut shared, mut server) = (None, None);
        while let Some((kind, offset, body)) = reader.section()? {
            match kind {
                SECTION_SHARED => shared = Some(read::<SharedPart>(kind, offset, body)?),
                SECTION_SERVER if part == Part::Server => {
                    server = Some(read::<ServerPart>(kind, offset, body)?);
                }
                _ => {}
            }
        }
        let mut state = restore(shared.ok_or(SnapshotError::Missing("shared"))?);
        if part == Part::Server {
            let server = server.ok_or(SnapshotError::Missing("server"))?;
            state.history = Some(history(server, &state)?);
        }
        Ok(state)
    }

    /// Over the shared current rows in their canonical encoding: equal on every agent that has
    /// applied the same entries.
    pub fn checksum(&self) -> u32 {
        match postcard::to_stdvec(&self.shared_part()) {
            Ok(bytes) => crc32fast::hash(&bytes),
            Err(error) => unreachable!("rows are plain data: {error}"),
        }
    }

    fn server_part(&self, history: &History) -> ServerPart {
        let version = |key: &Key, revision, row: &Option<Arc<KeyRow>>| match row {
            None => Version::Deleted,
            Some(row) => match self.keys.get(key) {
                Some(current) if current.modified == revision => Version::Current,
                _ => Version::Past(row.clone()),
            },
        };
        let events = |revision, log: &RevisionLog| {
            let events = log.events.iter();
            events.map(|e| (e.key.clone(), version(&e.key, revision, &e.row))).collect()
        };
        let log = history.log.iter().map(|(revision, log)| PastRevision {
            revision: *revision,
            at: log.at,
            events: events(*revision, log),
        });
        let kept = history.versions.iter().filter(|((_, at), _)| *at <= history.compacted);
        ServerPart {
            compacted: history.compacted,
            log: log.collect(),
            kept: kept.map(|((key, at), row)| (key.clone(), *at, version(key, *at, row))).collect(),
        }
    }

    fn shared_part(&self) -> SharedPart {
        let catalog = &self.catalog;
        let (indexes, services) = (catalog.indexes, catalog.services.iter());
        SharedPart {
            applied: self.applied,
            stamp: self.stamp,
            index: self.index,
            revision: self.revision,
            floor: self.floor,
            identity: self.identity.clone(),
            members: self.members.iter().map(|(k, v)| (*k, v.clone())).collect(),
            keys: self.keys.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            tombstones: self.tombstones.iter().map(|(k, v)| (k.clone(), *v)).collect(),
            leases: self.leases.iter().map(|(k, v)| (*k, v.clone())).collect(),
            nodes: catalog.nodes.iter().map(|(k, v)| (k.clone(), v.row.clone())).collect(),
            instances: catalog.instances.iter().map(|(k, v)| (k.clone(), v.row.clone())).collect(),
            checks: catalog.checks.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            node_indexes: catalog.nodes.iter().map(|(k, v)| (k.clone(), v.indexes())).collect(),
            service_indexes: services.map(|(k, v)| (k.clone(), v.indexes())).collect(),
            table_indexes: [
                indexes.nodes,
                indexes.services,
                indexes.checks,
                indexes.lost_node,
                indexes.lost_service,
            ],
        }
    }
}

fn restore(part: SharedPart) -> State {
    let mut state = State::new(Part::Shared);
    state.applied = part.applied;
    state.stamp = part.stamp;
    state.index = part.index;
    state.revision = part.revision;
    state.floor = part.floor;
    state.identity = part.identity;
    state.members = part.members.into_iter().collect();
    for (key, row) in part.keys {
        if !row.lease.is_none() {
            state.lease_keys.entry(row.lease).or_default().insert(key.clone());
        }
        state.keys.insert(key, row);
    }
    for (key, tombstone) in part.tombstones {
        state.remember(&key, tombstone);
    }
    state.leases = part.leases.into_iter().collect();
    let mut catalog = Catalog::default();
    let mut touch = Touch::default();
    for (name, row) in part.nodes {
        catalog.absorb_node(&name, Some(&row), &mut touch);
    }
    for (key, row) in part.instances {
        catalog.absorb_instance(&key, Some(&row), &mut touch);
    }
    for (key, row) in part.checks {
        catalog.absorb_check(&key, Some(&row), &mut touch);
    }
    for (name, [of_catalog, all]) in part.node_indexes {
        if let Some(entry) = catalog.nodes.get_mut(&name) {
            (entry.catalog_index, entry.index) = (of_catalog, all);
        }
    }
    for (name, [of_catalog, of_health, of_checks]) in part.service_indexes {
        if let Some(entry) = catalog.services.get_mut(&name) {
            entry.catalog_index = of_catalog;
            entry.health_index = of_health;
            entry.checks_index = of_checks;
        }
    }
    let [nodes, services, checks, lost_node, lost_service] = part.table_indexes;
    catalog.indexes = TableIndexes { nodes, services, checks, lost_node, lost_service };
    state.catalog = catalog;
    state
}

fn history(part: ServerPart, state: &State) -> Result<History, SnapshotError> {
    let row = |key: &Key, revision, version| match version {
        Version::Deleted => Ok(None),
        Version::Past(row) => Ok(Some(row)),
        Version::Current => {
            let row = state.keys.get(key).filter(|row| row.modified == revision);
            row.map(|row| Some(row.clone())).ok_or(SnapshotError::Astray(revision))
        }
    };
    let mut history = History { compacted: part.compacted, ..History::default() };
    for (key, revision, version) in part.kept {
        let row = row(&key, revision, version)?;
        history.versions.insert((key, revision), row);
    }
    for PastRevision { revision, at, events } in part.log {
        let events: Result<Vec<KeyEvent>, SnapshotError> = events
            .into_iter()
            .map(|(key, version)| Ok(KeyEvent { row: row(&key, revision, version)?, key }))
            .collect();
        history.push(revision, at, events?);
    }
    Ok(history)
}

fn push_section<T: Serialize>(out: &mut Vec<u8>, kind: u8, part: &T) {
    let body = match postcard::to_stdvec(part) {
        Ok(body) => body,
        Err(error) => unreachable!("rows are plain data: {error}"),
    };
    let len = (body.len() as u64).to_le_bytes();
    out.push(kind);
    out.extend_from_slice(&len);
    out.extend_from_slice(&section_crc(kind, len, &body).to_le_bytes());
    out.extend_from_slice(&body);
}

fn read<T: DeserializeOwned>(kind: u8, offset: usize, body: &[u8]) -> Result<T, SnapshotError> {
    let garbled = |why: String| SnapshotError::Garbled { kind, offset, why };
    match postcard::take_from_bytes(body) {
        Ok((part, [])) => Ok(part),
        Ok((_, rest)) => Err(garbled(format!("{} bytes are left over", rest.len()))),
        Err(error) => Err(garbled(error.to_string())),
    }
}

/// Over all of a section, so that a damaged kind or length is found as well.
pub(super) fn section_crc(kind: u8, len: [u8; 8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&len);
    hasher.update(body);
    hasher.finalize()
}

/// Kind, offset and body.
type Section<'a> = (u8, usize, &'a [u8]);

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], SnapshotError> {
        let end = self.at.checked_add(len).ok_or(SnapshotError::Short(self.at))?;
        let taken = self.bytes.get(self.at..end).ok_or(SnapshotError::Short(self.bytes.len()))?;
        self.at = end;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, SnapshotError> {
        let mut number = [0; 4];
        number.copy_from_slice(self.take(4)?);
        Ok(u32::from_le_bytes(number))
    }

    /// The next section; none at the end.
    fn section(&mut self) -> Result<Option<Section<'a>>, SnapshotError> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let offset = self.at;
        let kind = self.take(1)?.first().copied().unwrap_or_default();
        let mut len = [0; 8];
        len.copy_from_slice(self.take(8)?);
        let crc = self.u32()?;
        let body = self.take(usize::try_from(u64::from_le_bytes(len)).unwrap_or(usize::MAX))?;
        if section_crc(kind, len, body) != crc {
            return Err(SnapshotError::Checksum { kind, offset });
        }
        Ok(Some((kind, offset, body)))
    }
}
