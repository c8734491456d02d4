//! What a check says that repeats others: the worst of an instance's checks and its node's. Pure.

use std::sync::Arc;

use crate::model::{CheckDef, CheckKind, Folded, Health};
use crate::state::{CheckRow, State};

/// The node that an alias is about; none for a check that is no alias.
pub(super) fn subject(def: &CheckDef, own: &Folded) -> Option<Folded> {
    let CheckKind::Alias { node, .. } = &def.kind else { return None };
    Some(node.as_ref().map_or_else(|| own.clone(), |node| Folded::new(node)))
}

/// What the alias says of this state: in Consul's words, and never of itself.
pub(super) fn look(def: &CheckDef, own: &Folded, state: &State) -> (Health, String) {
    let Some(node) = subject(def, own) else { return (def.initial, String::new()) };
    let CheckKind::Alias { node: named, service } = &def.kind else {
        return (def.initial, String::new());
    };
    let named = named.as_deref().unwrap_or_default();
    if state.node(node.as_str()).is_none() {
        return (Health::Critical, format!("Node {named} could not be found"));
    }
    if let Some(id) = service
        && state.instance(&node, id).is_none()
    {
        let output = format!("Service {id} could not be found on node {named}");
        return (Health::Critical, output);
    }
    let of_service = service.as_ref().map_or(&[][..], |id| state.checks_of(&node, id));
    // Whether this agent is there is no news to itself, and two aliases of one node that looked
    // at each other would never get well again.
    let counts = |row: &&Arc<CheckRow>| match row.def.kind {
        CheckKind::Presence => !named.is_empty(),
        CheckKind::Alias { .. } => false,
        _ => true,
    };
    let of_node = state.checks_of(&node, "").iter().filter(counts);
    let itself = |row: &CheckRow| node == *own && row.def.id == def.id;
    let of_service = of_service.iter().filter(|row| !itself(row));
    match of_node.chain(of_service).max_by_key(|row| row.status) {
        None => (Health::Passing, "No checks found.".to_owned()),
        Some(worst) if worst.status == Health::Passing => {
            (Health::Passing, "All checks passing.".to_owned())
        }
        Some(worst) => (worst.status, failing(worst)),
    }
}

fn failing(row: &Arc<CheckRow>) -> String {
    format!("Aliased check {:?} failing: {}", &*row.def.name, row.output)
}
