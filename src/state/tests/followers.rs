//! Absorbing the changes from any snapshot on makes the same state as applying the commands.

use proptest::prelude::*;

use crate::model::{Applied, Folded};
use crate::state::{Part, Proposal, State};

use super::Told;
use super::commands::{NODES, SERVICES, commands};

/// Rows, indexes and what is derived: the answers to the questions that need a derived table.
fn picture(state: &State) -> String {
    let mut lines = vec![format!("{:?}", state.services())];
    for service in SERVICES {
        lines.extend(state.instances(service).map(|view| format!("{view:?}")));
    }
    for node in NODES.map(Folded::new) {
        lines.push(format!("{:?}", state.checks_of(&node, "")));
    }
    lines.extend(state.presences().map(|presence| format!("{presence:?}")));
    let leases = state.leases().map(|lease| (lease.id, state.lease_keys(lease.id)));
    lines.extend(leases.map(|(id, keys)| format!("{id:?} {:?}", keys.collect::<Vec<_>>())));
    lines.push(format!("{:?}", state.deletions));
    lines.join("\n")
}

proptest! {
    #[test]
    fn from_any_snapshot_on(commands in commands(), cut in any::<prop::sample::Index>()) {
        let mut told = Told::founded();
        let cut = cut.index(commands.len() + 1);
        let mut server = None;
        for (n, (stamp, command)) in commands.iter().cloned().enumerate() {
            if n == cut {
                server = Some(told.state.encode(Part::Server));
            }
            told.tell(stamp, command);
        }
        let bytes = server.unwrap_or_else(|| told.state.encode(Part::Server));

        let mut edge = State::decode(&bytes, Part::Shared).unwrap();
        prop_assert!(edge.history().is_none());
        for entry in told.entries.iter().skip(cut + 1) {
            // As they travel.
            let bytes = postcard::to_stdvec(&*entry.shared()).unwrap();
            edge.absorb(&postcard::from_bytes(&bytes).unwrap());
        }
        prop_assert_eq!(edge.checksum(Part::Shared), told.state.checksum(Part::Shared));
        prop_assert_eq!(picture(&edge), picture(&told.state));
        prop_assert_eq!(edge.encode(Part::Server), told.state.encode(Part::Shared));

        let mut server = State::decode(&bytes, Part::Server).unwrap();
        for (stamp, command) in commands.into_iter().skip(cut) {
            let at = Applied { term: 1, index: server.applied().index + 1 };
            let (_, changes) = server.apply(at, &Proposal { stamp, command });
            server.absorb(&changes);
        }
        prop_assert_eq!(&server.history, &told.state.history);
        prop_assert_eq!(picture(&server), picture(&told.state));
        prop_assert_eq!(server.encode(Part::Server), told.state.encode(Part::Server));
    }

    #[test]
    fn a_root_that_was_taken_never_changes(commands in commands()) {
        let mut told = Told::founded();
        let mut taken = Vec::new();
        for (stamp, command) in commands {
            taken.push((told.state.clone(), told.state.encode(Part::Server)));
            told.tell(stamp, command);
        }
        for (root, bytes) in taken {
            prop_assert_eq!(root.encode(Part::Server), bytes);
        }
    }
}
