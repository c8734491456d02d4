//! What is found by address, and by the end of a name, is what a walk through all rows finds.

use proptest::prelude::*;

use crate::state::State;

use super::Told;
use super::commands::{ADDRESSES, command};

fn check(state: &State) -> Result<(), TestCaseError> {
    for ip in ADDRESSES {
        let nodes: Vec<_> = state.nodes_at(ip).collect();
        let all = state.nodes().map(|(_, node)| node);
        let walked: Vec<_> = all.filter(|node| node.def.address.parse() == Ok(ip)).collect();
        prop_assert_eq!(nodes, walked);
        let instances: Vec<_> = state.instances_at(ip).collect();
        let all = state.service_names().flat_map(|name| state.instances(name.as_str()));
        let mut walked: Vec<_> =
            all.map(|view| view.instance).filter(|row| row.def.address.parse() == Ok(ip)).collect();
        walked.sort_by(|a, b| (&a.node, &a.def.id).cmp(&(&b.node, &b.def.id)));
        prop_assert_eq!(instances, walked);
    }
    let dotted = state.nodes().any(|(name, _)| name.as_str() == "a.ext");
    prop_assert_eq!(state.is_above_a_node("EXT"), dotted);
    prop_assert!(!state.is_above_a_node("n1") && !state.is_above_a_node("a.ext"));
    Ok(())
}

proptest! {
    #[test]
    fn whatever_was_told(commands in proptest::collection::vec(command(), 0..40)) {
        let mut told = Told::founded();
        for (stamp, command) in commands {
            told.tell(stamp, command);
            check(&told.state)?;
        }
    }
}
