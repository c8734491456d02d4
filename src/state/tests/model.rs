//! A deliberately stupid state: lists of events, every answer by scanning.

use std::time::Duration;

use bytes::Bytes;

use crate::model::{
    CheckDef, Folded, Health, LeaseId, Member, NodeId, QueryId, Role, ServiceDef, SessionId,
    Source, Stamp, TokenId,
};
use crate::state::{
    ABSENT, Admission, AutopilotRow, CatalogOp, CheckKey, Command, EventDef, InstanceKey, Key,
    KvCommand, Lock, NodeDef, Outcome, PRESENCE_CHECK, Put, QueryDef, Refusal, SessionDef,
    Settings, TokenPut, TokenRow, presence_check,
};

use super::table::Table;

#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    pub value: Bytes,
    pub lease: LeaseId,
    pub flags: u64,
    pub lock: Option<Lock>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub def: CheckDef,
    pub status: Health,
    pub output: String,
    pub source: Source,
}

#[derive(Clone, Default)]
pub struct Model {
    pub index: u64,
    pub revision: i64,
    pub compacted: i64,
    pub floor: i64,
    pub keys: Table<Key, Write>,
    pub leases: Table<LeaseId, Duration>,
    pub sessions: Table<SessionId, SessionDef>,
    pub delays: Table<Key, Duration>,
    pub queries: Table<QueryId, QueryDef>,
    pub events: Vec<EventDef>,
    pub autopilot: AutopilotRow,
    pub nodes: Table<Folded, NodeDef>,
    pub instances: Table<InstanceKey, (ServiceDef, Source)>,
    pub checks: Table<CheckKey, Check>,
    pub members: Table<NodeId, Member>,
    pub tokens: Table<TokenId, TokenRow>,
    pub founding: Option<TokenId>,
    pub next_node: u64,
    pub settings: Settings,
    pub level: u32,
    stamp: Stamp,
    stamps: Vec<(i64, Stamp)>,
    /// Something other than a table was changed by the command in hand.
    pub changed: bool,
}

pub type Decision = Result<Outcome, Refusal>;

impl Model {
    /// A founded cluster with one member.
    pub fn founded(founder: &Admission) -> Model {
        let mut model = Model { index: 1, revision: 1, next_node: 2, level: 1, ..Model::default() };
        model.members.put(1, &NodeId(1), member(NodeId(1), founder));
        for def in super::trust().offline {
            let founds = (def.role == Role::Server).then_some(def.id);
            model.founding = founds.or(model.founding);
            let row = TokenRow { def: def.clone(), ends: None, left: None, offline: true };
            model.tokens.put(1, &def.id, row);
        }
        model
    }

    /// What an entry of term 1 does.
    pub fn apply(&mut self, stamp: Stamp, command: &Command) -> Outcome {
        self.stamp = self.stamp.max(stamp);
        let before = self.clone();
        self.changed = false;
        let outcome = match self.decide(command) {
            Ok(outcome) => outcome,
            Err(refusal) => {
                *self = Model { stamp: self.stamp, ..before };
                return Outcome::Refused(refusal);
            }
        };
        self.end_unborne();
        if self.keys.len() > before.keys.len() {
            self.revision += 1;
            self.stamps.push((self.revision, self.stamp));
        }
        if self.changed || self.lengths() != before.lengths() {
            self.index += 1;
        }
        outcome
    }

    fn lengths(&self) -> [usize; 10] {
        let [keys, leases, members] = [self.keys.len(), self.leases.len(), self.members.len()];
        let [nodes, instances] = [self.nodes.len(), self.instances.len()];
        let [sessions, delays] = [self.sessions.len(), self.delays.len()];
        let [checks, tokens] = [self.checks.len(), self.tokens.len()];
        let beside = self.queries.len() + self.events.len();
        [keys, leases, members, nodes, instances, checks, tokens, sessions, delays, beside]
    }

    pub fn decide(&mut self, command: &Command) -> Decision {
        match command {
            Command::Found(_) => Err(Refusal::Founded),
            Command::Admit(admission) => self.admit(admission),
            Command::Contact { id, peer_addr, client_urls, version, level } => {
                let mut member = self.member(*id)?;
                self.speaks(*level)?;
                member.level = *level;
                member.peer_addr = *peer_addr;
                member.client_urls = client_urls.clone();
                member.version = version.clone();
                self.put_member(member);
                Ok(Outcome::Done)
            }
            Command::Retire(id) => {
                self.member(*id)?;
                self.remove_nodes_of(*id);
                self.members.remove(self.index + 1, id);
                Ok(Outcome::Done)
            }
            Command::Settings(settings) => {
                self.changed = self.settings != *settings;
                self.settings = settings.clone();
                Ok(Outcome::Done)
            }
            Command::Put(put) => self.put(put),
            Command::DeleteRange(delete) if delete.range.key.is_empty() => Err(Refusal::EmptyKey),
            Command::DeleteRange(delete) => {
                let gone = self.delete(|key| delete.range.contains(key));
                let prev = if delete.prev_kv { gone.clone() } else { Vec::new() };
                let prev = prev.into_iter().map(|(key, row)| (key, row.into())).collect();
                let revision = self.revision + i64::from(!gone.is_empty());
                Ok(Outcome::Deleted { count: gone.len() as u64, prev, revision })
            }
            Command::Kv(command) => self.kv(command),
            Command::Txn(txn) => super::txn::decide(self, txn),
            Command::Compact(revision) => self.compact(*revision),
            Command::LeaseGrant { id, ttl } => {
                if *id == LeaseId(0) {
                    return Err(Refusal::LeaseNotFound(*id));
                }
                if self.leases.has(id) {
                    return Err(Refusal::LeaseExists(*id));
                }
                self.leases.put(self.index + 1, id, *ttl);
                Ok(Outcome::Done)
            }
            Command::LeaseRevoke(id) if !self.leases.has(id) => Err(Refusal::LeaseNotFound(*id)),
            Command::LeaseRevoke(id) => self.end_leases(&[*id]),
            Command::LeaseExpire { ids, term: 1 } => self.end_leases(ids),
            Command::Silent { nodes, term: 1 } => self.silence(nodes),
            Command::Reap { nodes, term: 1 } => self.reap(nodes),
            Command::SessionCreate(def) => self.create_session(def),
            Command::SessionDestroy(id) => Ok(self.end_sessions(&[*id])),
            Command::SessionExpire { ids, term: 1 } => Ok(self.end_sessions(ids)),
            Command::LockDelayEnd { delays, term: 1 } => Ok(self.end_delays(delays)),
            Command::LeaseExpire { .. }
            | Command::SessionExpire { .. }
            | Command::LockDelayEnd { .. }
            | Command::Silent { .. }
            | Command::Reap { .. } => Err(Refusal::StaleTerm),
            Command::Catalog(ops) => {
                ops.iter().try_for_each(|op| self.operate(op))?;
                Ok(Outcome::Done)
            }
            Command::QueryPut { .. }
            | Command::QueryDelete(_)
            | Command::EventFire(_)
            | Command::Autopilot { .. } => self.decide_beside(command),
            Command::Forget { tombstones, history } => self.forget(*tombstones, *history),
            Command::Sequence(ops) => Ok(super::sequence::decide(self, ops)),
            Command::Stage { .. }
            | Command::Restore { .. }
            | Command::Unstage(_)
            | Command::Recover { .. }
            | Command::Alarm { .. }
            | Command::Relieve
            | Command::Account(_)
            | Command::Acl(_)
            | Command::For(_)
            | Command::Checkpoint => unreachable!("they are tested apart"),
            Command::Raise(level) => self.raise(*level),
            Command::TokenPut(put) => self.put_token(put),
            Command::TokenRetire(id) => self.retire_token(*id),
        }
    }

    fn member(&self, id: NodeId) -> Result<Member, Refusal> {
        self.members.get(&id).map(|version| version.value).ok_or(Refusal::NoMember(id))
    }

    fn put_member(&mut self, member: Member) {
        if self.member(member.id).as_ref() != Ok(&member) {
            self.members.put(self.index + 1, &member.id.clone(), member);
        }
    }

    fn speaks(&self, spoken: u32) -> Result<(), Refusal> {
        let current = self.level;
        if spoken >= current { Ok(()) } else { Err(Refusal::Outdated { spoken, current }) }
    }

    fn raise(&mut self, level: u32) -> Decision {
        let servers = self.members.all().into_iter().map(|(_, found)| found.value);
        let least = servers.filter(|m| m.role == Role::Server).map(|m| m.level).min();
        if level < self.level || least.is_some_and(|least| least < level) {
            return Err(Refusal::Level { asked: level, current: self.level });
        }
        self.changed = self.level != level;
        self.level = level;
        Ok(Outcome::Done)
    }

    fn admit(&mut self, admission: &Admission) -> Decision {
        self.speaks(admission.level)?;
        let members: Vec<Member> =
            self.members.all().into_iter().map(|(_, found)| found.value).collect();
        let known = members.iter().find(|member| member.nonce == admission.nonce);
        let same_name = |member: &&Member| member.name.folded() == admission.name.folded();
        let is_new = known.is_none() && !members.iter().any(|member| same_name(&member));
        self.show_token(admission, known.is_none(), is_new)?;
        for other in members.iter().filter(same_name) {
            if Some(other.id) == known.map(|known| known.id) {
                continue;
            }
            if other.role == Role::Server {
                return Err(Refusal::NameTaken(admission.name.clone()));
            }
            self.members.remove(self.index + 1, &other.id);
        }
        let id = match known {
            Some(known) => {
                if !same_name(&known) {
                    self.remove_nodes_of(known.id);
                }
                known.id
            }
            None => {
                self.next_node += 1;
                NodeId(self.next_node - 1)
            }
        };
        self.put_member(member(id, admission));
        Ok(Outcome::Admitted { id, cluster: 1 })
    }

    fn show_token(
        &mut self,
        admission: &Admission,
        asks_first: bool,
        is_new: bool,
    ) -> Result<(), Refusal> {
        let Some(id) = admission.token else {
            return if asks_first { Err(Refusal::TokenNeeded) } else { Ok(()) };
        };
        let Some(mut row) = self.tokens.get(&id).map(|found| found.value) else {
            return Err(Refusal::NoToken(id));
        };
        let (token, asked) = (row.def.role, admission.role);
        let fits = [
            (Role::Server, Role::Server),
            (Role::Server, Role::Edge),
            (Role::Edge, Role::Edge),
            (Role::Relay, Role::Relay),
            (Role::Relay, Role::Edge),
        ];
        if !fits.contains(&(token, asked)) {
            return Err(Refusal::TokenRole { token, asked });
        }
        let binds = if token == Role::Server { asks_first } else { is_new };
        if binds && row.ends.is_some_and(|ends| self.stamp >= ends) {
            return Err(Refusal::TokenExpired(id));
        }
        if binds && row.left == Some(0) {
            return Err(Refusal::TokenUsedUp(id));
        }
        if let (true, Some(left)) = (binds, &mut row.left) {
            *left -= 1;
            self.tokens.put(self.index + 1, &id, row);
        }
        Ok(())
    }

    fn put_token(&mut self, put: &TokenPut) -> Decision {
        if self.tokens.has(&put.def.id) {
            return Err(Refusal::TokenExists(put.def.id));
        }
        let ends = put.ttl.map(|ttl| Stamp(self.stamp.0 + ttl.as_millis() as u64));
        let row = TokenRow { def: put.def.clone(), ends, left: put.uses, offline: false };
        self.tokens.put(self.index + 1, &put.def.id, row);
        Ok(Outcome::Done)
    }

    fn retire_token(&mut self, id: TokenId) -> Decision {
        if !self.tokens.has(&id) {
            return Err(Refusal::NoToken(id));
        }
        let ends_founding = self.founding == Some(id);
        for (other, found) in self.tokens.all() {
            if other == id || (ends_founding && found.value.offline) {
                self.tokens.remove(self.index + 1, &other);
            }
        }
        if ends_founding {
            self.founding = None;
        }
        Ok(Outcome::Done)
    }

    pub fn put(&mut self, put: &Put) -> Decision {
        let old = self.keys.get(&put.key);
        if put.key.is_empty() {
            return Err(Refusal::EmptyKey);
        }
        if put.lease != LeaseId(0) && !self.leases.has(&put.lease) {
            return Err(Refusal::LeaseNotFound(put.lease));
        }
        if old.is_none() && (put.ignore_lease || put.ignore_value) {
            return Err(Refusal::KeyNotFound);
        }
        let (value, lease) = (put.value.clone(), put.lease);
        let mut write = Write { value, lease, flags: 0, lock: None };
        if let Some(old) = &old {
            (write.flags, write.lock) = (old.value.flags, old.value.lock.clone());
            if put.ignore_value {
                write.value = old.value.value.clone();
            }
            if put.ignore_lease {
                write.lease = old.value.lease;
            }
        }
        self.keys.put(self.revision as u64 + 1, &put.key, write);
        let prev = old.filter(|_| put.prev_kv).map(|old| super::key_row(old).into());
        Ok(Outcome::Put { prev, revision: self.revision + 1 })
    }

    pub fn delete(&mut self, goes: impl Fn(&Key) -> bool) -> Vec<(Key, crate::state::KeyRow)> {
        let mut gone = self.keys.all();
        gone.retain(|(key, _)| goes(key));
        for (key, _) in &gone {
            self.keys.remove(self.revision as u64 + 1, key);
        }
        gone.into_iter().map(|(key, version)| (key, super::key_row(version))).collect()
    }

    fn kv(&mut self, command: &KvCommand) -> Decision {
        match command {
            KvCommand::Set { key, value, flags, cas } => {
                if key.is_empty() {
                    return Err(Refusal::EmptyKey);
                }
                let old = self.keys.get(key);
                let is = old.as_ref().map_or(0, |old| old.modified as i64);
                if cas.is_some_and(|cas| cas != is) {
                    return Ok(Outcome::Kv(false));
                }
                let lock = old.and_then(|old| old.value.lock);
                self.write(key, value, *flags, lock);
            }
            KvCommand::Delete { key, cas } => {
                if key.is_empty() {
                    return Err(Refusal::EmptyKey);
                }
                let old = self.keys.get(key);
                if let (Some(old), Some(cas)) = (&old, cas)
                    && old.modified as i64 != *cas
                {
                    return Ok(Outcome::Kv(false));
                }
                self.delete(|found| found == key);
            }
            KvCommand::DeleteTree { prefix } => {
                self.delete(|key| key.starts_with(prefix));
            }
            KvCommand::Acquire { key, .. } | KvCommand::Release { key, .. } if key.is_empty() => {
                return Err(Refusal::EmptyKey);
            }
            KvCommand::Acquire { key, value, flags, session } => {
                return self.acquire(key, value, *flags, *session).map(Outcome::Kv);
            }
            KvCommand::Release { key, value, flags, session } => {
                return Ok(Outcome::Kv(self.release(key, value, *flags, *session)));
            }
        }
        Ok(Outcome::Kv(true))
    }

    fn compact(&mut self, revision: i64) -> Decision {
        if revision > self.revision {
            return Err(Refusal::FutureRevision { asked: revision, current: self.revision });
        }
        if revision == 0 && self.compacted == 0 {
            return Ok(Outcome::Done);
        }
        if revision <= self.compacted {
            return Err(Refusal::Compacted { asked: revision, compacted: self.compacted });
        }
        self.compacted = revision;
        self.changed = true;
        Ok(Outcome::Done)
    }

    fn end_leases(&mut self, ids: &[LeaseId]) -> Decision {
        for id in ids {
            if self.leases.has(id) {
                for (key, found) in self.keys.all() {
                    if found.value.lease == *id {
                        self.keys.remove(self.revision as u64 + 1, &key);
                    }
                }
                self.leases.remove(self.index + 1, id);
            }
        }
        Ok(Outcome::Done)
    }

    fn forget(&mut self, tombstones: Stamp, history: Stamp) -> Decision {
        let stamp_of =
            |at: i64| self.stamps.iter().find(|(revision, _)| *revision == at).unwrap().1;
        let deletions = self.keys.gone().into_iter().map(|(_, at)| at as i64);
        let old = deletions.filter(|at| *at > self.floor && stamp_of(*at) < tombstones);
        let floor = old.max();
        let past = self.stamps.iter().filter(|(_, at)| *at < history).map(|(at, _)| *at).max();
        if let Some(floor) = floor {
            (self.floor, self.changed) = (floor, true);
        }
        if let Some(past) = past.filter(|past| *past > self.compacted) {
            (self.compacted, self.changed) = (past, true);
        }
        Ok(Outcome::Done)
    }
}

/// The catalog.
impl Model {
    pub fn operate(&mut self, op: &CatalogOp) -> Result<(), Refusal> {
        match op {
            CatalogOp::PutNode(def) => self.put_node(def)?,
            CatalogOp::PutInstance { node, def, source } => {
                self.need_node(node)?;
                let key = InstanceKey::new(node, &def.id);
                let value = (def.clone(), *source);
                if self.instances.get(&key).is_none_or(|old| old.value != value) {
                    self.instances.put(self.index + 1, &key, value);
                }
            }
            CatalogOp::PutCheck { node, def, status, output, source } => {
                self.need_node(node)?;
                if let Some(id) = &def.service_id
                    && !self.instances.has(&InstanceKey::new(node, id))
                {
                    let (node, id, check) = (node.clone(), id.clone(), def.id.clone());
                    return Err(Refusal::NoInstanceForCheck { node, id, check });
                }
                let (status, source) = (*status, *source);
                let (def, output) = (def.clone(), output.clone());
                self.put_check(node, Check { def, status, output, source });
            }
            CatalogOp::Report { node, check, status, output } => {
                self.report(node, check, *status, output);
            }
            CatalogOp::RemoveNode(node) => self.remove_node(node),
            CatalogOp::RemoveInstance { node, id } => {
                let key = InstanceKey::new(node, id);
                if self.instances.has(&key) {
                    let of = |check: &Check| check.def.service_id.as_ref() == Some(id);
                    self.remove_checks(|key, check| key.node == *node && of(check));
                    self.instances.remove(self.index + 1, &key);
                }
            }
            CatalogOp::RemoveCheck { node, id } => {
                self.remove_checks(|key, _| key.node == *node && key.id == *id);
            }
        }
        Ok(())
    }

    fn need_node(&self, node: &Folded) -> Result<(), Refusal> {
        if self.nodes.has(node) { Ok(()) } else { Err(Refusal::NoNode(node.clone())) }
    }

    fn put_node(&mut self, def: &NodeDef) -> Result<(), Refusal> {
        let name = Folded::new(&def.name);
        let old = self.nodes.get(&name).map(|old| old.value);
        let mut def = def.clone();
        if let Some(NodeDef { agent: Some(owner), presence_ttl, .. }) = old {
            match def.agent {
                None => (def.agent, def.presence_ttl) = (Some(owner), presence_ttl),
                Some(agent) if agent < owner && self.members.has(&owner) => {
                    return Err(Refusal::NodeOwned { name, owner });
                }
                Some(_) => {}
            }
        }
        if old.as_ref() != Some(&def) {
            self.nodes.put(self.index + 1, &name, def);
        }
        Ok(())
    }

    fn put_check(&mut self, node: &Folded, check: Check) {
        let key = CheckKey::new(node, &check.def.id);
        if self.checks.get(&key).is_none_or(|old| old.value != check) {
            self.checks.put(self.index + 1, &key, check);
        }
    }

    fn report(&mut self, node: &Folded, check: &str, status: Health, output: &str) {
        if let Some(old) = self.checks.get(&CheckKey::new(node, check)) {
            self.put_check(node, Check { status, output: output.to_owned(), ..old.value });
        }
    }

    fn remove_checks(&mut self, goes: impl Fn(&CheckKey, &Check) -> bool) {
        for (key, found) in self.checks.all() {
            if goes(&key, &found.value) {
                self.checks.remove(self.index + 1, &key);
            }
        }
    }

    fn remove_node(&mut self, node: &Folded) {
        self.remove_checks(|key, _| key.node == *node);
        for (key, _) in self.instances.all() {
            if key.node == *node {
                self.instances.remove(self.index + 1, &key);
            }
        }
        if self.nodes.has(node) {
            self.nodes.remove(self.index + 1, node);
        }
    }

    fn nodes_of(&self, agents: &[NodeId]) -> Vec<Folded> {
        let mut nodes = self.nodes.all();
        nodes.retain(|(_, node)| node.value.agent.is_some_and(|agent| agents.contains(&agent)));
        nodes.into_iter().map(|(name, _)| name).collect()
    }

    fn remove_nodes_of(&mut self, agent: NodeId) {
        for node in self.nodes_of(&[agent]) {
            self.remove_node(&node);
        }
    }

    pub fn is_silent(&self, node: &Folded) -> bool {
        let check = self.checks.get(&CheckKey::new(node, PRESENCE_CHECK));
        check.is_some_and(|check| check.value.status == Health::Critical)
    }

    fn silence(&mut self, agents: &[NodeId]) -> Decision {
        for node in self.nodes_of(agents) {
            let old = self.checks.get(&CheckKey::new(&node, PRESENCE_CHECK));
            let old = old.map_or((presence_check(), Source::System), |old| {
                (old.value.def, old.value.source)
            });
            let (def, source, output) = (old.0, old.1, ABSENT.to_owned());
            self.put_check(&node, Check { def, status: Health::Critical, output, source });
        }
        Ok(Outcome::Done)
    }

    fn reap(&mut self, agents: &[NodeId]) -> Decision {
        for node in self.nodes_of(agents) {
            if self.is_silent(&node) {
                self.remove_node(&node);
            }
        }
        for agent in agents {
            let follows = self.member(*agent).is_ok_and(|member| member.role.follows());
            if follows && self.nodes_of(&[*agent]).is_empty() {
                self.members.remove(self.index + 1, agent);
            }
        }
        Ok(Outcome::Done)
    }
}

fn member(id: NodeId, admission: &Admission) -> Member {
    Member {
        id,
        name: admission.name.clone(),
        role: admission.role,
        peer_addr: admission.peer_addr,
        client_urls: admission.client_urls.clone(),
        nonce: admission.nonce,
        version: admission.version.clone(),
        level: admission.level,
    }
}
