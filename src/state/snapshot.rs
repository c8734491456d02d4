//! The snapshot format: versioned, checksummed, the shared and the server part apart.
//!
//! `magic, version, part, then sections of (kind, length, crc32, postcard)`, numbers little-endian.
//! Every map is written in key order, so equal states give equal bytes.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::{Applied, Folded, Index, LeaseId, Member, NodeId, Revision, Stamp};

use super::history::{History, RevisionLog};
use super::rows::{
    CheckKey, CheckRow, Identity, InstanceKey, InstanceRow, Key, KeyRow, LeaseRow, NodeRow,
    Tombstone,
};
use super::{Catalog, CatalogIndexes, State};

const MAGIC: &[u8; 8] = b"rmrsnap\0";
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

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SnapshotError {
    #[error("not a snapshot: it does not begin with the magic bytes")]
    Magic,
    #[error("snapshot format {0} is newer than this release reads ({VERSION})")]
    Version(u32),
    #[error("the snapshot ends at byte {0}, in the middle of a section")]
    Short(usize),
    #[error("section {kind} at byte {offset} does not match its checksum")]
    Checksum { kind: u8, offset: usize },
    #[error("section {kind} at byte {offset} cannot be read: {why}")]
    Garbled { kind: u8, offset: usize, why: String },
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
    /// Per service its catalog and its health index: not derivable, rows may have gone since.
    service_indexes: Vec<(Folded, Index, Index)>,
    /// Of nodes, services, checks, and the last extinction.
    table_indexes: [Index; 4],
}

type KeptVersion = ((Key, Revision), Option<Arc<KeyRow>>);

/// Versions of a key that a compaction left are not in the log: they come apart.
#[derive(Serialize, Deserialize)]
struct ServerPart {
    compacted: Revision,
    log: Vec<(Revision, Arc<RevisionLog>)>,
    kept: Vec<KeptVersion>,
}

impl State {
    /// The snapshot of this state. An edge's state has no server part to give.
    pub fn encode(&self, part: Part) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        push_section(&mut out, SECTION_SHARED, &self.shared_part());
        if let (Part::Server, Some(history)) = (part, &self.history) {
            push_section(&mut out, SECTION_SERVER, &server_part(history));
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
        state.history = match (part, server) {
            (Part::Shared, _) => None,
            (Part::Server, Some(server)) => Some(history(server)),
            (Part::Server, None) => return Err(SnapshotError::Missing("server")),
        };
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

    fn shared_part(&self) -> SharedPart {
        let indexes = self.catalog.indexes;
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
            nodes: self.catalog.nodes.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            instances: self.catalog.instances.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            checks: self.catalog.checks.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            service_indexes: self
                .catalog
                .services
                .iter()
                .map(|(name, entry)| (name.clone(), entry.catalog_index, entry.health_index))
                .collect(),
            table_indexes: [indexes.nodes, indexes.services, indexes.checks, indexes.extinction],
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
    state.tombstones = part.tombstones.into_iter().collect();
    state.leases = part.leases.into_iter().collect();
    let mut catalog = Catalog::default();
    for (name, row) in part.nodes {
        catalog.absorb_node(&name, Some(&row), 0);
    }
    for (key, row) in part.instances {
        catalog.absorb_instance(&key, Some(&row), 0);
    }
    for (key, row) in part.checks {
        catalog.absorb_check(&key, Some(&row), 0);
    }
    for (name, catalog_index, health_index) in part.service_indexes {
        if let Some(entry) = catalog.services.get_mut(&name) {
            entry.catalog_index = catalog_index;
            entry.health_index = health_index;
        }
    }
    let [nodes, services, checks, extinction] = part.table_indexes;
    catalog.indexes = CatalogIndexes { nodes, services, checks, extinction };
    state.catalog = catalog;
    state
}

fn server_part(history: &History) -> ServerPart {
    let kept = history.versions.iter().filter(|((_, at), _)| *at <= history.compacted);
    ServerPart {
        compacted: history.compacted,
        log: history.log.iter().map(|(k, v)| (*k, v.clone())).collect(),
        kept: kept.map(|(k, v)| (k.clone(), v.clone())).collect(),
    }
}

fn history(part: ServerPart) -> History {
    let mut history = History { compacted: part.compacted, ..History::default() };
    history.versions = part.kept.into_iter().collect();
    for (revision, log) in part.log {
        for event in &log.events {
            history.versions.insert((event.key.clone(), revision), event.row.clone());
        }
        history.log.insert(revision, log);
    }
    history
}

fn push_section<T: Serialize>(out: &mut Vec<u8>, kind: u8, part: &T) {
    let body = match postcard::to_stdvec(part) {
        Ok(body) => body,
        Err(error) => unreachable!("rows are plain data: {error}"),
    };
    out.push(kind);
    out.extend_from_slice(&(body.len() as u64).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    out.extend_from_slice(&body);
}

fn read<T: DeserializeOwned>(kind: u8, offset: usize, body: &[u8]) -> Result<T, SnapshotError> {
    postcard::from_bytes(body).map_err(|error| SnapshotError::Garbled {
        kind,
        offset,
        why: error.to_string(),
    })
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
        let mut number = [0; 8];
        number.copy_from_slice(self.take(8)?);
        let len = usize::try_from(u64::from_le_bytes(number)).unwrap_or(usize::MAX);
        let crc = self.u32()?;
        let body = self.take(len)?;
        if crc32fast::hash(body) != crc {
            return Err(SnapshotError::Checksum { kind, offset });
        }
        Ok(Some((kind, offset, body)))
    }
}
