//! An index moves exactly when its topic wakes, and that is exactly when the answer changes.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use crate::model::Folded;
use crate::state::{Command, InstanceRow, State, Topic};

use super::Told;
use super::commands::{KEYS, NODES, PREFIXES, SERVICES, catalog_op, command, key_command};

fn topics() -> Vec<Topic> {
    let mut topics =
        vec![Topic::Services, Topic::Nodes, Topic::Checks, Topic::Sessions, Topic::Queries];
    topics.push(Topic::Instances);
    topics.extend(KEYS.map(|key| Topic::Key(Bytes::from_static(key))));
    topics.extend(PREFIXES.map(|prefix| Topic::Prefix(Bytes::from_static(prefix))));
    for service in SERVICES.map(Folded::new) {
        topics.push(Topic::Service(service.clone()));
        topics.push(Topic::ServiceCatalog(service.clone()));
        topics.push(Topic::ServiceChecks(service));
    }
    for node in NODES.map(Folded::new) {
        topics.extend([Topic::Node(node.clone()), Topic::NodeCatalog(node)]);
    }
    topics
}

fn index_of(state: &State, topic: &Topic) -> u64 {
    match topic {
        Topic::Key(key) => state.key_index(key) as u64,
        Topic::Prefix(prefix) => state.prefix_index(prefix) as u64,
        Topic::Service(name) => state.service_health_index(name.as_str()),
        Topic::ServiceCatalog(name) => state.service_catalog_index(name.as_str()),
        Topic::ServiceChecks(name) => state.service_checks_index(name.as_str()),
        Topic::Services => state.services_index(),
        Topic::Instances => state.instances_index(),
        Topic::Node(name) => state.node_index(name.as_str()),
        Topic::NodeCatalog(name) => state.node_catalog_index(name.as_str()),
        Topic::Nodes => state.nodes_index(),
        Topic::Checks => state.checks_index(),
        Topic::Sessions => state.sessions_index(),
        Topic::Queries => state.queries_index(),
        Topic::Presences
        | Topic::Members
        | Topic::Leases
        | Topic::Acl
        | Topic::Events
        | Topic::All
        | Topic::Range(_) => state.index(),
    }
}

/// What a client that asks about the topic is told; none where the thing does not exist.
fn answer(state: &State, topic: &Topic) -> Option<String> {
    let shown = |row: &InstanceRow| {
        format!("{}/{} {:?}", row.node, row.def.id, (&row.def.name, &row.def.tags))
    };
    let text =
        |lines: Vec<String>| Some(lines).filter(|lines| !lines.is_empty()).map(|l| l.join("\n"));
    match topic {
        Topic::Key(key) => state.key(key).map(|row| format!("{row:?}")),
        Topic::Prefix(prefix) => {
            text(state.keys_with_prefix(prefix).map(|entry| format!("{entry:?}")).collect())
        }
        Topic::Service(name) => {
            text(state.instances(name.as_str()).map(|view| format!("{view:?}")).collect())
        }
        Topic::ServiceCatalog(name) => {
            let views = state.instances(name.as_str());
            text(views.map(|view| format!("{:?} {:?}", view.instance, view.node)).collect())
        }
        Topic::ServiceChecks(name) => {
            let views: Vec<_> = state.instances(name.as_str()).collect();
            let checked = views.iter().filter(|view| !view.checks.is_empty());
            let lines: Vec<_> =
                checked.map(|view| format!("{} {:?}", shown(view.instance), view.checks)).collect();
            (!views.is_empty()).then(|| lines.join("\n"))
        }
        Topic::Services => Some(
            state
                .nodes()
                .flat_map(|(name, node)| state.instances_on_node(name).map(move |row| (node, row)))
                .map(|(node, row)| format!("{} {:?}\n", shown(row), node.def.meta))
                .collect(),
        ),
        Topic::Instances => Some(
            state
                .nodes()
                .flat_map(|(name, node)| state.instances_on_node(name).map(move |row| (node, row)))
                .map(|(node, row)| format!("{node:?} {row:?}\n"))
                .collect(),
        ),
        Topic::Node(name) => state.node(name.as_str()).map(|row| {
            let (instances, checks): (Vec<_>, Vec<_>) =
                (state.instances_on_node(name).collect(), state.checks_on_node(name).collect());
            format!("{row:?} {instances:?} {checks:?}")
        }),
        Topic::NodeCatalog(name) => state
            .node(name.as_str())
            .map(|row| format!("{row:?} {:?}", state.instances_on_node(name).collect::<Vec<_>>())),
        Topic::Nodes => Some(format!("{:?}", state.nodes().collect::<Vec<_>>())),
        Topic::Checks => Some(
            state
                .checks()
                .map(|row| {
                    let id = row.def.service_id.as_deref().unwrap_or("");
                    format!("{row:?} {:?}\n", state.instance(&row.node, id).map(|row| shown(row)))
                })
                .collect(),
        ),
        Topic::Sessions => Some(format!("{:?}", state.sessions().collect::<Vec<_>>())),
        Topic::Queries => Some(format!("{:?}", state.queries().collect::<Vec<_>>())),
        Topic::Presences
        | Topic::Members
        | Topic::Leases
        | Topic::Acl
        | Topic::Events
        | Topic::All
        | Topic::Range(_) => None,
    }
}

fn is_woken(topic: &Topic, touched: &BTreeSet<Topic>) -> bool {
    let starts = |prefix: &Bytes, touched: &Topic| match touched {
        Topic::Key(key) => key.starts_with(prefix),
        _ => false,
    };
    match topic {
        Topic::Prefix(prefix) => touched.iter().any(|touched| starts(prefix, touched)),
        _ => touched.contains(topic),
    }
}

/// The command's effect on all topics: whether each is as it should be.
fn check(told: &mut Told, command: Command, exact: bool) -> Result<(), TestCaseError> {
    let before = told.state.clone();
    let (_, changes) = told.decide(Default::default(), command.clone());
    let touched = told.state.absorb(&changes);
    let after = &told.state;
    for topic in topics() {
        let (was, is) = (answer(&before, &topic), answer(after, &topic));
        let (from, to) = (index_of(&before, &topic), index_of(after, &topic));
        let woken = is_woken(&topic, &touched);
        let (moved, changed) = (to != from, was != is);
        prop_assert!(to >= from, "{topic:?} went back by {command:?}");
        prop_assert!(woken || !changed, "{topic:?} changed unseen by {command:?}");
        if was.is_some() || is.is_some() {
            let floor_rose = before.deletion_floor() != after.deletion_floor();
            prop_assert!(moved == woken || floor_rose, "{topic:?}: {from} {to} by {command:?}");
        }
        if exact {
            prop_assert_eq!(woken, changed, "{:?} by {:?}", topic, command);
        }
    }
    let presences = |state: &State| {
        let with_a_node = state.presences().filter(|presence| presence.node.is_some());
        with_a_node.map(|presence| format!("{presence:?}")).collect::<Vec<_>>()
    };
    let presences_changed = presences(&before) != presences(after);
    prop_assert!(touched.contains(&Topic::Presences) || !presences_changed);
    prop_assert_eq!(touched.contains(&Topic::All), !changes.rows.is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn of_any_command(commands in proptest::collection::vec(command(), 0..40)) {
        let mut told = Told::founded();
        for (_, command) in commands {
            check(&mut told, command, false)?;
        }
    }

    /// A command of several steps may put a thing and take it away again; one of a single step
    /// wakes nobody in vain.
    #[test]
    fn and_wake_nobody_in_vain(
        commands in proptest::collection::vec(prop_oneof![
            3 => catalog_op().prop_map(|op| Command::Catalog(vec![op])),
            1 => key_command(),
        ], 0..40),
    ) {
        let mut told = Told::founded();
        for command in commands {
            check(&mut told, command, true)?;
        }
    }
}
