//! Sessions: what the stupid model makes of them, and what random commands seldom meet.

use std::time::Duration;

use bytes::Bytes;

use crate::model::{Folded, Health, LeaseId, SessionId, Source, Stamp};
use crate::state::{
    Behavior, CatalogOp, CheckKey, Command, Key, KvCommand, Lock, LockDelay, NodeDef, Outcome,
    PRESENCE_CHECK, Refusal, SessionDef, presence_check,
};

use super::model::{Model, Write};
use super::{Told, put};

impl Model {
    /// Consul's write, which is none where it changes nothing.
    pub fn write(&mut self, key: &Key, value: &Bytes, flags: u64, lock: Option<Lock>) {
        let write = Write { value: value.clone(), lease: LeaseId(0), flags, lock };
        if self.keys.get(key).is_none_or(|old| old.value != write) {
            self.keys.put(self.revision as u64 + 1, key, write);
        }
    }

    pub fn create_session(&mut self, def: &SessionDef) -> Result<Outcome, Refusal> {
        if def.id == SessionId(0) || self.sessions.has(&def.id) {
            return Err(Refusal::SessionExists(def.id));
        }
        let node = Folded::new(&def.node);
        if !self.nodes.has(&node) {
            return Err(Refusal::NoNode(node));
        }
        for id in def.all_checks() {
            let (node, id) = (node.clone(), id.clone());
            match self.checks.get(&CheckKey::new(&node, &id)) {
                None => return Err(Refusal::NoCheck { node, id }),
                Some(check) if check.value.status == Health::Critical => {
                    return Err(Refusal::CheckIsCritical { node, id });
                }
                Some(_) => {}
            }
        }
        self.sessions.put(self.index + 1, &def.id, def.clone());
        Ok(Outcome::Done)
    }

    pub fn end_sessions(&mut self, ids: &[SessionId]) -> Outcome {
        for (key, found) in self.keys.all() {
            let Some(Lock { holder: Some(holder), index }) = found.value.lock else { continue };
            let Some(session) = self.sessions.get(&holder).filter(|_| ids.contains(&holder)) else {
                continue;
            };
            let revision = self.revision as u64 + 1;
            match session.value.behavior {
                Behavior::Delete => self.keys.remove(revision, &key),
                Behavior::Release => {
                    let lock = Some(Lock { holder: None, index });
                    self.keys.put(revision, &key, Write { lock, ..found.value });
                }
            }
            let wanted = session.value.lock_delay.clamp(0, 60_000_000_000) as u64;
            if wanted > 0 {
                self.delays.put(self.index + 1, &key, Duration::from_nanos(wanted));
            }
        }
        for id in ids.iter().filter(|id| self.sessions.has(id)).collect::<Vec<_>>() {
            if self.sessions.has(id) {
                for (query, found) in self.queries.all() {
                    if found.value.session == Some(*id) {
                        self.queries.remove(self.index + 1, &query);
                    }
                }
                self.sessions.remove(self.index + 1, id);
            }
        }
        Outcome::Done
    }

    /// What the command in hand did to the catalog may have ended some.
    pub fn end_unborne(&mut self) {
        let nodes = self.nodes.writes_since(self.index).into_iter();
        let nodes: Vec<Folded> =
            nodes.filter(|(_, def)| def.is_none()).map(|(name, _)| name).collect();
        let checks = self.checks.writes_since(self.index).into_iter();
        let checks: Vec<CheckKey> = checks
            .filter(|(_, check)| check.as_ref().is_none_or(|c| c.status == Health::Critical))
            .map(|(key, _)| key)
            .collect();
        let ended = self.sessions.all().into_iter().filter(|(_, session)| {
            let node = Folded::new(&session.value.node);
            let fails = |id| checks.contains(&CheckKey::new(&node, id));
            nodes.contains(&node) || session.value.all_checks().any(|id| fails(id))
        });
        let ended: Vec<SessionId> = ended.map(|(id, _)| id).collect();
        self.end_sessions(&ended);
    }

    pub fn end_delays(&mut self, delays: &[(Key, u64)]) -> Outcome {
        for (key, index) in delays {
            if self.delays.get(key).is_some_and(|delay| delay.modified == *index) {
                self.delays.remove(self.index + 1, key);
            }
        }
        Outcome::Done
    }

    pub fn acquire(
        &mut self,
        key: &Key,
        value: &Bytes,
        flags: u64,
        session: SessionId,
    ) -> Result<bool, Refusal> {
        if self.delays.has(key) {
            return Ok(false);
        }
        if !self.sessions.has(&session) {
            return Err(Refusal::SessionNotFound(session));
        }
        let lock = self.keys.get(key).and_then(|found| found.value.lock);
        let index = lock.as_ref().map_or(0, |lock| lock.index);
        let index = match lock.and_then(|lock| lock.holder) {
            Some(holder) if holder != session => return Ok(false),
            Some(_) => index,
            None => index + 1,
        };
        self.write(key, value, flags, Some(Lock { holder: Some(session), index }));
        Ok(true)
    }

    pub fn release(&mut self, key: &Key, value: &Bytes, flags: u64, session: SessionId) -> bool {
        let lock = self.keys.get(key).and_then(|found| found.value.lock);
        let Some(lock) = lock.filter(|lock| lock.holder == Some(session)) else { return false };
        self.write(key, value, flags, Some(Lock { holder: None, ..lock }));
        true
    }
}

pub fn session(id: u128, node: &str, checks: &[&str]) -> SessionDef {
    SessionDef {
        id: SessionId(id),
        name: String::new(),
        node: node.into(),
        behavior: Behavior::Release,
        ttl: None,
        ttl_text: String::new(),
        lock_delay: 0,
        node_checks: checks.iter().map(|id| (*id).into()).collect(),
        service_checks: None,
        checks: Vec::new(),
    }
}

/// A node with its presence.
pub fn with_node() -> Told {
    let mut told = Told::founded();
    let def = NodeDef {
        name: "n1".into(),
        agent: None,
        uuid: String::new(),
        address: "10.0.0.1".into(),
        tagged_addresses: Default::default(),
        meta: Default::default(),
        presence_ttl: Duration::from_secs(10),
    };
    let ops = vec![CatalogOp::PutNode(def), presence(Health::Passing)];
    assert_eq!(told.tell(Stamp(0), Command::Catalog(ops)), Outcome::Done);
    told
}

fn presence(status: Health) -> CatalogOp {
    CatalogOp::PutCheck {
        node: Folded::new("n1"),
        def: presence_check(),
        status,
        output: String::new(),
        source: Source::System,
    }
}

fn acquire(key: &'static str, session: u128) -> Command {
    let (key, value) = (Bytes::from(key), Bytes::from("v"));
    Command::Kv(KvCommand::Acquire { key, value, flags: 0, session: SessionId(session) })
}

/// One session with two keys, another with one; two of the keys are to be waited for.
fn held() -> Told {
    let mut told = with_node();
    let first = SessionDef { lock_delay: 90_000_000_000, ..session(1, "N1", &[PRESENCE_CHECK]) };
    let second = SessionDef { behavior: Behavior::Delete, ..session(2, "n1", &[PRESENCE_CHECK]) };
    for def in [first, second] {
        assert_eq!(told.tell(Stamp(0), Command::SessionCreate(def)), Outcome::Done);
    }
    for (key, session) in [("b", 1), ("a", 2), ("c", 1)] {
        assert_eq!(told.tell(Stamp(0), acquire(key, session)), Outcome::Kv(true));
    }
    told
}

#[test]
fn a_critical_check_ends_its_sessions_and_frees_their_keys_in_the_same_entry() {
    let mut told = held();
    let (index, revision) = (told.state.index(), told.state.revision());
    // It is well again at once, but it was not.
    let ops = vec![presence(Health::Critical), presence(Health::Passing)];
    told.tell(Stamp(0), Command::Catalog(ops));
    assert_eq!((told.state.index(), told.state.revision()), (index + 1, revision + 1));
    assert_eq!(told.state.sessions().count(), 0);
    let events = told.entries.last().unwrap().key_events();
    let events: Vec<(Bytes, bool)> = events.map(|event| (event.key, event.row.is_some())).collect();
    assert_eq!(events, [("a".into(), false), ("b".into(), true), ("c".into(), true)]);
    let freed = told.state.key(b"b").unwrap();
    assert_eq!((freed.holder(), freed.lock_index(), freed.version), (None, 1, 2));
    assert_eq!(freed.value, "v");
    let delays: Vec<_> = told.state.lock_delays().map(|(key, d)| (key.clone(), *d)).collect();
    let delay = LockDelay { lasts: Duration::from_secs(60), index: index + 1 };
    assert_eq!(delays, [("b".into(), delay), ("c".into(), delay)]);
}

#[test]
fn a_delay_keeps_a_key_from_being_taken_until_its_own_end() {
    let mut told = held();
    told.tell(Stamp(0), Command::SessionDestroy(SessionId(1)));
    assert_eq!(told.tell(Stamp(0), acquire("b", 2)), Outcome::Kv(false));
    assert_eq!(
        told.tell(Stamp(0), Command::Put(put("b", "plain"))),
        Outcome::Put { prev: None, revision: told.state.revision() }
    );
    let index = told.state.lock_delay(b"b").unwrap().index;
    let end = |index, term| Command::LockDelayEnd { delays: vec![("b".into(), index)], term };
    told.tell(Stamp(0), end(index - 1, 1));
    assert_eq!(told.tell(Stamp(0), end(index, 2)), Outcome::Refused(Refusal::StaleTerm));
    assert_eq!(told.tell(Stamp(0), acquire("b", 2)), Outcome::Kv(false));
    told.tell(Stamp(0), end(index, 1));
    assert_eq!(told.tell(Stamp(0), acquire("b", 2)), Outcome::Kv(true));
    let row = told.state.key(b"b").unwrap();
    assert_eq!((row.holder(), row.lock_index()), (Some(SessionId(2)), 2));
}

#[test]
fn what_etcd_does_to_a_key_leaves_the_lock_to_it_and_takes_it_along() {
    let mut told = held();
    told.tell(Stamp(0), Command::LeaseGrant { id: LeaseId(7), ttl: Duration::from_secs(5) });
    let leased = crate::state::Put { lease: LeaseId(7), ..put("b", "etcd") };
    told.tell(Stamp(0), Command::Put(leased));
    let row = told.state.key(b"b").unwrap();
    assert_eq!((row.holder(), row.lock_index(), row.lease), (Some(SessionId(1)), 1, LeaseId(7)));
    told.tell(Stamp(0), Command::LeaseRevoke(LeaseId(7)));
    let keys: Vec<&Key> = told.state.session_keys(SessionId(1)).collect();
    assert_eq!(keys, ["c"]);
    // Made anew, it has never been taken.
    told.tell(Stamp(0), Command::Put(put("b", "new")));
    assert_eq!(told.state.key(b"b").unwrap().lock, None);
}
