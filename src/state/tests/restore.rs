//! Backups: what is restored is what was saved, whatever was there; and half a restore is none.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use crate::model::{
    Folded, Health, LeaseId, NodeId, Revision, ServiceDef, Source, Stamp, TokenId, limits,
};
use crate::state::{
    BackupError, BackupReader, Behavior, CatalogOp, Command, Key, KeyRow, Lock, NodeDef, Outcome,
    Part, RangeQuery, Refusal, SessionDef, State,
};

use super::Told;
use super::commands::{PREFIXES, commands};

pub(super) fn backup(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    state.back_up(&mut bytes).unwrap();
    bytes
}

/// Stages bytes in pieces of about that length.
fn stage(told: &mut Told, id: u128, bytes: &[u8], piece: usize) {
    let now = told.state.stamp();
    for (number, part) in bytes.chunks(piece).enumerate() {
        let (offset, bytes) = ((number * piece) as u64, Bytes::copy_from_slice(part));
        assert_eq!(told.tell(now, Command::Stage { id, offset, bytes }), Outcome::Done);
    }
}

pub(super) fn restore(told: &mut Told, bytes: &[u8], piece: usize) -> Outcome {
    stage(told, 7, bytes, piece);
    told.tell(told.state.stamp(), Command::Restore { id: 7, lineage: 99 })
}

fn told(commands: Vec<(Stamp, Command)>) -> Told {
    let mut told = Told::founded();
    for (stamp, command) in commands {
        told.tell(stamp, command);
    }
    told
}

/// What a backup brings back: keys with their leases, and what no agent of ours runs.
fn content(state: &State) -> String {
    content_with(state, keys(state))
}

fn keys(state: &State) -> Vec<(Key, KeyRow)> {
    state.keys_with_prefix(b"").map(|(key, row)| (key.clone(), (**row).clone())).collect()
}

/// The saved keys once the sessions have ended whose node or check did not come with them.
fn keys_without_lost(saved: &State, restored: &State, revision: Revision) -> Vec<(Key, KeyRow)> {
    let is_borne = |session: &SessionDef| {
        let node = Folded::new(&session.node);
        let well = |id| restored.check(&node, id).is_some_and(|c| c.status != Health::Critical);
        restored.node(&session.node).is_some() && session.all_checks().all(|id| well(id))
    };
    let mut kept = Vec::new();
    for (key, mut row) in keys(saved) {
        let session = row.holder().and_then(|id| saved.session(id));
        match session.filter(|session| !is_borne(&session.def)) {
            None => kept.push((key, row)),
            Some(session) if session.def.behavior == Behavior::Delete => {}
            Some(_) => {
                row.lock = Some(Arc::new(Lock { holder: None, index: row.lock_index() }));
                (row.modified, row.version) = (revision, row.version + 1);
                kept.push((key, row));
            }
        }
    }
    for session in saved.sessions() {
        let there = restored.session(session.def.id) == Some(session);
        assert_eq!(there, is_borne(&session.def), "{session:?}");
    }
    assert!(restored.sessions().all(|session| saved.session(session.def.id) == Some(session)));
    kept
}

fn content_with(state: &State, keys: Vec<(Key, KeyRow)>) -> String {
    let leases: Vec<_> = state
        .leases()
        .map(|lease| (lease.clone(), state.lease_keys(lease.id).collect::<Vec<_>>()))
        .collect();
    let external = |name: &Folded| {
        let node = state.catalog.nodes.get(name);
        node.is_some_and(|node| node.row.def.agent.is_none())
    };
    let nodes = state.catalog.nodes.iter().filter(|(name, _)| external(name));
    let nodes: Vec<_> = nodes.map(|(name, node)| (name, &node.row)).collect();
    let instances = state.catalog.instances.iter().filter(|(key, _)| external(&key.node));
    let instances: Vec<_> = instances.map(|(key, entry)| (key, &entry.row)).collect();
    let checks: Vec<_> =
        state.catalog.checks.iter().filter(|(key, _)| external(&key.node)).collect();
    format!("{keys:?}\n{leases:?}\n{nodes:?}\n{instances:?}\n{checks:?}")
}

proptest! {
    #[test]
    fn what_is_restored_is_what_was_saved(
        saved in commands(),
        there in commands(),
        piece in 1usize..2000,
    ) {
        let saved = told(saved).state;
        let mut told = told(there);
        let before = told.state.clone();
        // An agent's node of the saved state and one without an agent here cannot both be.
        let names = || before.catalog.nodes.iter().filter(|(_, node)| node.row.def.agent.is_some());
        prop_assume!(names().all(|(name, _)| {
            saved.catalog.nodes.get(name).is_none_or(|node| node.row.def.agent.is_some())
        }));
        prop_assume!(saved.identity().level <= before.identity().level);
        let entries = told.entries.len();
        let mut edge = State::decode(&before.encode(Part::Server), Part::Shared).unwrap();
        let outcome = restore(&mut told, &backup(&saved), piece);
        let revision: Revision = before.revision().max(saved.revision()) + 1;
        let keys = saved.key_count() as u64;
        prop_assert_eq!(outcome, Outcome::Restored { revision, keys });
        let state = &told.state;
        let kept = keys_without_lost(&saved, state, revision);
        // Of those that went with their session no lease speaks any more.
        // The lists of leases below are the saved ones: keys that went with a session are not told
        // apart there.
        prop_assume!(kept.len() == saved.key_count());
        prop_assert_eq!(content(state), content_with(&saved, kept));
        prop_assert_eq!(state.revision(), revision);
        prop_assert_eq!(state.index(), before.index().max(saved.index()) + 1);
        prop_assert_eq!(state.identity().lineage, 99);
        prop_assert_eq!(state.identity().cluster, before.identity().cluster);
        prop_assert!(state.members().eq(before.members()));
        prop_assert_eq!(state.history().unwrap().compacted(), revision);
        prop_assert!(state.staging().is_none());
        // Nobody who waited with an older index waits on.
        for prefix in PREFIXES {
            prop_assert!(state.prefix_index(prefix) >= revision);
            prop_assert!(state.key_index(prefix) >= revision);
        }
        // The past begins here, and is what is there now.
        let mut then = RangeQuery::new(crate::state::KeyRange::prefix(&Bytes::new()));
        let now = state.range(&then).unwrap();
        let mut later = told.state.clone();
        let set = super::commands::key_put("later");
        let at = crate::model::Applied { term: 1, index: later.applied().index + 1 };
        let proposal = crate::state::Proposal { stamp: later.stamp(), command: set };
        let (_, changes) = later.apply(at, &proposal);
        later.absorb(&changes);
        then.revision = revision;
        prop_assert_eq!(later.range(&then).unwrap(), now);
        then.revision = revision - 1;
        prop_assert!(later.range(&then).is_err());
        // Who follows, and who comes back from a snapshot, has the same.
        for entry in told.entries.iter().skip(entries) {
            let travelled = postcard::to_stdvec(&*entry.shared()).unwrap();
            edge.absorb(&postcard::from_bytes(&travelled).unwrap());
        }
        prop_assert_eq!(edge.checksum(Part::Shared), state.checksum(Part::Shared));
        let bytes = state.encode(Part::Server);
        let again = State::decode(&bytes, Part::Server).unwrap();
        prop_assert_eq!(&again.history, &state.history);
        prop_assert_eq!(again.encode(Part::Server), bytes);
    }

    #[test]
    fn a_damaged_or_cut_backup_changes_nothing(
        saved in commands(),
        there in commands(),
        at in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = backup(&told(saved).state);
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at.max(1));
        } else {
            bytes[at] ^= 0x10;
        }
        let mut told = told(there);
        let (before, index) = (content(&told.state), told.state.index());
        let outcome = restore(&mut told, &bytes, 500);
        prop_assert!(matches!(outcome, Outcome::Refused(Refusal::Restore(_))), "{outcome:?}");
        prop_assert_eq!((content(&told.state), told.state.index()), (before, index));
        told.tell(told.state.stamp(), Command::Unstage(7));
        prop_assert!(told.state.staging().is_none());
    }
}

#[test]
fn what_is_staged_is_kept_by_servers_and_their_snapshots_alone() {
    let mut told = Told::founded();
    let index = told.state.index();
    stage(&mut told, 3, b"some bytes that are no backup", 10);
    assert_eq!(told.state.index(), index, "nothing that anyone can ask for has changed");
    let bytes = told.state.encode(Part::Server);
    let server = State::decode(&bytes, Part::Server).unwrap();
    assert_eq!(server.staging(), told.state.staging());
    assert_eq!(server.staging().unwrap().bytes, 29);
    assert!(State::decode(&bytes, Part::Shared).unwrap().staging().is_none());
    assert!(told.entries.iter().skip(1).all(|entry| entry.shared().rows.is_empty()));
}

#[test]
fn one_backup_at_a_time_in_order() {
    let mut told = Told::founded();
    stage(&mut told, 1, b"0123456789", 5);
    let piece = |id, offset| Command::Stage { id, offset, bytes: Bytes::from_static(b"x") };
    let refused = |outcome| matches!(outcome, Outcome::Refused(Refusal::Restore(_)));
    let (soon, late) = (Stamp(1), Stamp(1).plus(limits::STAGING_IDLE));
    assert!(refused(told.tell(soon, piece(2, 0))), "another is under way");
    assert!(refused(told.tell(soon, piece(1, 5))), "that one was there");
    assert!(refused(told.tell(soon, piece(1, 11))), "a gap");
    assert!(refused(told.tell(soon, Command::Restore { id: 2, lineage: 5 })));
    assert_eq!(told.tell(late, piece(2, 0)), Outcome::Done, "the first was abandoned");
    assert_eq!(told.state.staging().unwrap().bytes, 1);
}

fn node(name: &str, agent: Option<NodeId>) -> CatalogOp {
    CatalogOp::PutNode(NodeDef {
        name: name.into(),
        agent,
        uuid: String::new(),
        address: "10.0.0.1".into(),
        tagged_addresses: Default::default(),
        meta: Default::default(),
        presence_ttl: Duration::from_secs(10),
    })
}

#[test]
fn what_members_run_stays_as_it_is_and_strangers_nodes_stay_away() {
    let put = |node: &str, id: &str, source| CatalogOp::PutInstance {
        node: Folded::new(node),
        def: ServiceDef::new(id, id),
        source,
    };
    let mut saved = Told::founded();
    saved.tell(
        Stamp(1),
        Command::Catalog(vec![
            node("n1", Some(NodeId(1))),
            put("n1", "old", Source::Api),
            put("n1", "noted", Source::Catalog),
            node("gone", Some(NodeId(77))),
            node("ext", None),
            put("ext", "db", Source::Catalog),
        ]),
    );
    let mut told = Told::founded();
    told.tell(
        Stamp(1),
        Command::Catalog(vec![
            node("n1", Some(NodeId(1))),
            put("n1", "new", Source::Api),
            node("later", None),
        ]),
    );
    assert!(matches!(restore(&mut told, &backup(&saved.state), 4096), Outcome::Restored { .. }));
    let nodes: Vec<_> = told.state.catalog.nodes.keys().map(|name| name.to_string()).collect();
    assert_eq!(nodes, ["ext", "n1"]);
    let instances = told.state.catalog.instances.keys();
    let instances: Vec<_> = instances.map(|key| format!("{}/{}", key.node, key.id)).collect();
    assert_eq!(instances, ["ext/db", "n1/new", "n1/noted"]);
}

#[test]
fn a_backup_tells_what_it_is() {
    let mut told = Told::founded();
    told.tell(Stamp(1), super::commands::key_put("k"));
    let lease = Command::LeaseGrant { id: LeaseId(4), ttl: Duration::from_secs(5) };
    told.tell(Stamp(1), lease);
    let mut reader = BackupReader::default();
    let bytes = backup(&told.state);
    reader.push(&bytes).unwrap();
    let (head, state) = reader.finish().unwrap();
    assert_eq!((head.cluster, head.lineage, head.keys, head.leases), (1, 1, 1, 1));
    assert_eq!((head.revision, head.index), (told.state.revision(), told.state.index()));
    assert_eq!(state.encode(Part::Server), told.state.encode(Part::Server));
    let mut other = BackupReader::default();
    assert_eq!(other.push(b"hello, this is something else").err(), Some(BackupError::Magic));
    assert!(matches!(BackupReader::default().finish(), Err(BackupError::Short(0))));
}

#[test]
fn a_survivor_goes_on_alone_past_everything_that_the_lost_may_have_given_out() {
    use crate::model::{NodeName, Role};
    let mut told = Told::founded();
    for (n, role) in [(2u128, Role::Server), (3, Role::Server), (4, Role::Edge)] {
        let name = NodeName::new(&format!("n{n}")).unwrap();
        let token = Some(TokenId(if role == Role::Server { 1 } else { 2 }));
        let admission = crate::state::Admission { name, nonce: n, role, token, ..super::founder() };
        let outcome = told.tell(Stamp(1), Command::Admit(admission));
        assert!(matches!(outcome, Outcome::Admitted { .. }), "{outcome:?}");
    }
    told.tell(Stamp(1), super::commands::key_put("k"));
    let ops = vec![node("n2", Some(NodeId(2))), node("n3", Some(NodeId(3)))];
    told.tell(Stamp(1), Command::Catalog(ops));
    let before = told.state.clone();
    let refused = told.tell(Stamp(2), Command::Recover { survivor: NodeId(4), lineage: 5 });
    assert_eq!(refused, Outcome::Refused(Refusal::NoMember(NodeId(4))));
    told.tell(Stamp(2), Command::Recover { survivor: NodeId(3), lineage: 5 });
    let state = &told.state;
    let members: Vec<u64> = state.members().map(|member| member.id.0).collect();
    assert_eq!(members, [3, 4]);
    let nodes: Vec<_> = state.catalog.nodes.keys().map(|name| name.to_string()).collect();
    assert_eq!(nodes, ["n3"]);
    assert_eq!(state.identity().lineage, 5);
    assert!(state.identity().next_node > before.identity().next_node + 1000);
    assert!(state.revision() > before.revision() + 1_000_000);
    assert!(state.index() > before.index() + 1_000_000);
    assert_eq!(state.key(b"k"), before.key(b"k"));
}
