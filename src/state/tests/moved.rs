//! Which services moved is told whole, or not at all.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::model::{Folded, ServiceDef, Source, Stamp, limits};
use crate::state::{CatalogOp, Command, NodeDef, Part, State};

use super::Told;
use super::commands::{SERVICES, command};

/// The services whose index is another one, of those that are known at all.
fn differing(earlier: &State, later: &State) -> BTreeSet<Folded> {
    let names = SERVICES.map(Folded::new).into_iter();
    let index = |state: &State, name: &Folded| {
        state.has_service(name.as_str()).then(|| state.service_health_index(name.as_str()))
    };
    names.filter(|name| index(earlier, name) != index(later, name)).collect()
}

fn moved(later: &State, since: u64) -> Option<BTreeSet<Folded>> {
    Some(later.services_moved_since(since)?.cloned().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn between_any_two_states(
        commands in proptest::collection::vec(command(), 1..40),
        reload_at in 0_usize..40,
    ) {
        let mut told = Told::founded();
        let mut states = vec![told.state.clone()];
        for (nth, (_, command)) in commands.into_iter().enumerate() {
            if nth == reload_at {
                let bytes = told.state.encode(Part::Server);
                told.state = State::decode(&bytes, Part::Server).unwrap();
                prop_assert_eq!(moved(&told.state, told.state.index() - 1), None);
                states = vec![told.state.clone()];
            }
            let (_, changes) = told.decide(Default::default(), command);
            told.state.absorb(&changes);
            states.push(told.state.clone());
        }
        for (nth, later) in states.iter().enumerate() {
            // The state that was read back has not been followed from anywhere.
            for earlier in states.iter().take(nth) {
                let told = moved(later, earlier.index()).expect("all of it was followed");
                prop_assert!(told.is_superset(&differing(earlier, later)), "{told:?}");
            }
        }
    }
}

/// A node with that many services of one instance each, at its port.
fn services(many: usize, port: i32) -> Command {
    let node = Folded::new("a");
    let def = NodeDef {
        name: "a".into(),
        agent: None,
        uuid: String::new(),
        address: "10.0.0.1".into(),
        tagged_addresses: Default::default(),
        meta: Default::default(),
        presence_ttl: Default::default(),
    };
    let instances = (0..many).map(|nth| {
        let name = format!("web-{nth}");
        let def = ServiceDef { port, ..ServiceDef::new(&name, &name) };
        CatalogOp::PutInstance { node: node.clone(), def, source: Source::Catalog }
    });
    Command::Catalog([CatalogOp::PutNode(def)].into_iter().chain(instances).collect())
}

#[test]
fn so_many_changes_are_known_and_no_more() {
    let mut told = Told::founded();
    let start = told.state.index();
    for nth in 0..limits::RECENT_MOVES + 2 {
        told.tell(Stamp(1), services(1, nth as i32));
    }
    assert_eq!(moved(&told.state, start + 1), None);
    assert_eq!(moved(&told.state, start + 2), Some([Folded::new("web-0")].into()));
    assert_eq!(moved(&told.state, told.state.index()), Some(BTreeSet::new()));
}

#[test]
fn a_change_of_very_many_services_counts_as_one_of_all() {
    let mut told = Told::founded();
    let start = told.state.index();
    told.tell(Stamp(1), services(limits::MOVED_AT_ONCE, 1));
    assert_eq!(moved(&told.state, start).map(|names| names.len()), Some(limits::MOVED_AT_ONCE));
    told.tell(Stamp(1), services(limits::MOVED_AT_ONCE + 1, 2));
    assert_eq!(moved(&told.state, start), None);
    assert_eq!(moved(&told.state, told.state.index()), Some(BTreeSet::new()));
}
