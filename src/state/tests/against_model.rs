//! Every command and every question against the stupid model.

use proptest::prelude::*;

use crate::model::{Folded, Health, LeaseId, SessionId};
use crate::state::{
    CheckRow, InstanceRow, KeyRange, KeyRow, LeaseRow, NodeRow, QueryRow, RangeError, RangeQuery,
    SortBy, State,
};

use super::commands::{KEYS, NODES, PREFIXES, SERVICES, commands, query};
use super::model::Model;
use super::{Told, founder, key_row};

proptest! {
    #[test]
    fn commands_do_and_say_what_the_model_does(commands in commands()) {
        let (mut told, mut model) = (Told::founded(), Model::founded(&founder()));
        for (stamp, command) in commands {
            let expected = model.apply(stamp, &command);
            let outcome = told.tell(stamp, command.clone());
            prop_assert_eq!(outcome, expected, "of {:?}", command);
            same_rows(&told.state, &model);
        }
        same_key_indexes(&told.state, &model);
        same_views(&told.state, &model);
        same_holdings(&told.state, &model);
    }

    #[test]
    fn ranges_answer_as_the_model_does(
        commands in commands(),
        queries in proptest::collection::vec(query(), 20),
    ) {
        let (mut told, mut model) = (Told::founded(), Model::founded(&founder()));
        for (stamp, command) in commands {
            model.apply(stamp, &command);
            told.tell(stamp, command);
        }
        for query in queries {
            let (is, should) = (answer(&told.state, &query), model_answer(&model, &query));
            prop_assert_eq!(is, should, "{:?}", query);
        }
    }
}

fn same_rows(state: &State, model: &Model) {
    assert_eq!((state.index(), state.revision()), (model.index, model.revision));
    assert_eq!(state.deletion_floor(), model.floor);
    assert_eq!(state.history().unwrap().compacted(), model.compacted);
    assert_eq!(state.identity().settings, model.settings);
    assert_eq!(state.identity().next_node, model.next_node);
    let all = KeyRange::prefix(&bytes::Bytes::new());
    let keys: Vec<_> = state.keys_in(&all).map(|(k, row)| (k.clone(), (**row).clone())).collect();
    let expected = model.keys.all().into_iter().map(|(key, found)| (key, key_row(found)));
    assert_eq!(keys, expected.collect::<Vec<(_, KeyRow)>>());

    let leases: Vec<LeaseRow> = state.leases().cloned().collect();
    let expected = model.leases.all().into_iter();
    let lease = |(id, found): (LeaseId, super::Version<_>)| LeaseRow {
        id,
        ttl: found.value,
        index: found.create,
    };
    assert_eq!(leases, expected.map(lease).collect::<Vec<_>>());

    let sessions: Vec<_> = state.sessions().map(|row| (row.def.clone(), row.index)).collect();
    let expected = model.sessions.all().into_iter();
    let expected: Vec<_> = expected.map(|(_, found)| (found.value, found.create)).collect();
    assert_eq!(sessions, expected);
    let delays = state.lock_delays().map(|(key, delay)| (key.clone(), delay.lasts, delay.index));
    let expected = model.delays.all().into_iter();
    let expected: Vec<_> =
        expected.map(|(key, found)| (key, found.value, found.modified)).collect();
    assert_eq!(delays.collect::<Vec<_>>(), expected);

    same_queries(state, model);
    let members: Vec<_> = state.members().map(|member| (**member).clone()).collect();
    let expected = model.members.all().into_iter().map(|(_, found)| found.value);
    assert_eq!(members, expected.collect::<Vec<_>>());

    let tokens: Vec<_> = state.tokens().cloned().collect();
    let expected = model.tokens.all().into_iter().map(|(_, found)| found.value);
    assert_eq!(tokens, expected.collect::<Vec<_>>());
    assert_eq!(state.identity().founding, model.founding);

    let nodes: Vec<NodeRow> = state.nodes().map(|(_, row)| (**row).clone()).collect();
    assert_eq!(nodes, node_rows(model));
    let instances: Vec<InstanceRow> = state
        .nodes()
        .flat_map(|(n, _)| state.instances_on_node(n))
        .map(|r| (**r).clone())
        .collect();
    assert_eq!(instances, instance_rows(model));
    let checks: Vec<CheckRow> = state.checks().map(|row| (**row).clone()).collect();
    assert_eq!(checks, check_rows(model));
}

fn same_queries(state: &State, model: &Model) {
    let queries: Vec<QueryRow> = state.queries().map(|row| (**row).clone()).collect();
    let row = |(_, found): (_, super::Version<_>)| QueryRow {
        def: found.value,
        create: found.create,
        modified: found.modified,
    };
    assert_eq!(queries, model.queries.all().into_iter().map(row).collect::<Vec<_>>());
    let last = model.queries.all_at(u64::MAX).iter().map(|(_, found)| found.modified).max();
    let gone = model.queries.gone().into_iter().map(|(_, at)| at).max();
    assert_eq!(state.queries_index(), last.max(gone).unwrap_or_default());
    for id in (1..4).map(SessionId) {
        let of_session = queries.iter().filter(|row| row.def.session == Some(id));
        let of_session: Vec<_> = of_session.map(|row| row.def.id).collect();
        assert_eq!(state.session_queries(id).collect::<Vec<_>>(), of_session);
    }
    for asked in ["q", "Q", "q-web", "other"] {
        let found = state.find_query(asked).map(|row| row.def.id);
        assert_eq!(found, super::queries::found(&queries, asked), "{asked} of {queries:?}");
    }
    let events: Vec<_> = state.fired().map(|(number, event)| (number, (**event).clone())).collect();
    let expected: Vec<_> = (1..).zip(model.events.iter().cloned()).collect();
    assert_eq!(events, expected);
    assert_eq!(*state.autopilot(), model.autopilot);
}

fn node_rows(model: &Model) -> Vec<NodeRow> {
    let row = |(_, found): (_, super::Version<_>)| NodeRow {
        def: found.value,
        create: found.create,
        modified: found.modified,
    };
    model.nodes.all().into_iter().map(row).collect()
}

fn instance_rows(model: &Model) -> Vec<InstanceRow> {
    let rows = model.instances.all().into_iter();
    rows.map(|(key, found)| InstanceRow {
        node: key.node,
        def: found.value.0,
        source: found.value.1,
        create: found.create,
        modified: found.modified,
    })
    .collect()
}

fn check_rows(model: &Model) -> Vec<CheckRow> {
    let rows = model.checks.all().into_iter();
    rows.map(|(key, found)| CheckRow {
        node: key.node,
        def: found.value.def,
        status: found.value.status,
        output: found.value.output,
        source: found.value.source,
        create: found.create,
        modified: found.modified,
    })
    .collect()
}

/// What blocking queries on keys answer with.
fn same_key_indexes(state: &State, model: &Model) {
    let gone = model.keys.gone();
    let gone = gone.iter().map(|(key, at)| (key, *at as i64)).filter(|(_, at)| *at > model.floor);
    let gone: Vec<_> = gone.collect();
    for key in KEYS {
        let live = model.keys.get(&key.into()).map(|found| found.modified as i64);
        let gone = gone.iter().find(|(name, _)| name.as_ref() == key).map(|(_, at)| *at);
        let expected = live.or(gone).unwrap_or(model.revision);
        assert_eq!(state.key_index(key), expected, "{key:?}");
    }
    for prefix in PREFIXES {
        let under = model.keys.all().into_iter().filter(|(key, _)| key.starts_with(prefix));
        let live = under.map(|(_, found)| found.modified as i64).max();
        let gone = gone.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(_, at)| *at).max();
        let expected = live.max(gone).map_or(model.revision, |newest| newest.max(model.floor));
        assert_eq!(state.prefix_index(prefix), expected, "{prefix:?}");
    }
    for lease in 1..4 {
        let keys = model.keys.all();
        let on_it = keys.into_iter().filter(|(_, found)| found.value.lease == LeaseId(lease));
        let expected: Vec<_> = on_it.map(|(key, _)| key).collect();
        let keys: Vec<_> = state.lease_keys(LeaseId(lease)).cloned().collect();
        assert_eq!(keys, expected, "lease {lease}");
    }
}

/// What is held by whom, and who lives where.
fn same_holdings(state: &State, model: &Model) {
    for id in (1..4).map(SessionId) {
        let keys = model.keys.all().into_iter();
        let held = keys.filter(|(_, found)| {
            found.value.lock.as_ref().is_some_and(|lock| lock.holder == Some(id))
        });
        let expected: Vec<_> = held.map(|(key, _)| key).collect();
        assert_eq!(state.session_keys(id).cloned().collect::<Vec<_>>(), expected, "{id}");
    }
    for node in NODES.map(Folded::new) {
        let on_it: Vec<SessionId> = state.sessions_on(&node).map(|row| row.def.id).collect();
        let all = model.sessions.all().into_iter();
        let expected = all.filter(|(_, found)| Folded::new(&found.value.node) == node);
        assert_eq!(on_it, expected.map(|(id, _)| id).collect::<Vec<_>>(), "{node}");
    }
}

/// The view of services, their health, and the presences.
fn same_views(state: &State, model: &Model) {
    let instances = instance_rows(model);
    let checks = check_rows(model);
    for service in SERVICES {
        let of_service = |row: &&InstanceRow| row.def.name.eq_ignore_ascii_case(service);
        let expected: Vec<(InstanceRow, Health)> = instances
            .iter()
            .filter(of_service)
            .map(|row| {
                let counts = checks.iter().filter(|check| {
                    let own = check.def.service_id.as_ref();
                    check.node == row.node && own.is_none_or(|id| *id == row.def.id)
                });
                (row.clone(), Health::worst(counts.map(|check| check.status)))
            })
            .collect();
        let seen =
            |view: super::super::InstanceView<'_>| ((**view.instance).clone(), view.health());
        let views: Vec<_> = state.instances(service).map(seen).collect();
        assert_eq!(views, expected);
        let healthy: Vec<_> = state.healthy(service, Some("V1")).map(seen).collect();
        let mut expected = expected;
        expected.retain(|(row, health)| row.def.has_tag("v1") && *health != Health::Critical);
        assert_eq!(healthy, expected);
    }
    let names: Vec<String> = state.service_names().map(|name| name.to_string()).collect();
    let mut expected: Vec<String> =
        instances.iter().map(|row| Folded::new(&row.def.name).to_string()).collect();
    expected.sort();
    expected.dedup();
    assert_eq!(names, expected);

    let mut presences: Vec<_> = state.presences().filter(|p| p.node.is_some()).collect();
    presences.sort_by_key(|presence| presence.node);
    let nodes = node_rows(model).into_iter().filter(|row| row.def.agent.is_some());
    let expected: Vec<_> = nodes
        .map(|row| {
            let silent = model.is_silent(&Folded::new(&row.def.name));
            (row.def.agent.unwrap(), row.def.presence_ttl, silent)
        })
        .collect();
    let presences: Vec<_> = presences.iter().map(|p| (p.agent, p.ttl, p.silent)).collect();
    assert_eq!(presences, expected);
    assert!(
        NODES.iter().all(|node| state.node(node).is_some() == model.nodes.has(&Folded::new(node)))
    );
}

pub type Answer = Result<(Vec<(bytes::Bytes, KeyRow)>, bool, u64), RangeError>;

fn answer(state: &State, query: &RangeQuery) -> Answer {
    let result = state.range(query)?;
    let rows = result.rows.into_iter().map(|(key, row)| (key, (*row).clone())).collect();
    Ok((rows, result.more, result.count))
}

pub fn model_answer(model: &Model, query: &RangeQuery) -> Answer {
    let current = model.revision;
    if query.revision > current {
        return Err(RangeError::Future { asked: query.revision, current });
    }
    let at = if query.revision <= 0 { current } else { query.revision };
    if at < model.compacted {
        return Err(RangeError::Compacted { asked: at, compacted: model.compacted });
    }
    let mut rows: Vec<_> = model
        .keys
        .all_at(at as u64)
        .into_iter()
        .map(|(key, found)| (key, key_row(found)))
        .collect();
    rows.retain(|(key, _)| query.range.contains(key));
    let count = rows.len() as u64;
    if query.count_only {
        return Ok((Vec::new(), false, count));
    }
    let within = |n: i64, min: i64, max: i64| (min == 0 || n >= min) && (max == 0 || n <= max);
    rows.retain(|(_, row)| within(row.modified, query.min_modified, query.max_modified));
    rows.retain(|(_, row)| within(row.create, query.min_create, query.max_create));
    rows.sort_by(|(left_key, left), (right_key, right)| {
        let order = match query.sort_by {
            SortBy::Key => left_key.cmp(right_key),
            SortBy::Version => left.version.cmp(&right.version),
            SortBy::Create => left.create.cmp(&right.create),
            SortBy::Modified => left.modified.cmp(&right.modified),
            SortBy::Value => left.value.cmp(&right.value),
        };
        if query.descending { order.reverse() } else { order }
    });
    let more = query.limit > 0 && rows.len() as i64 > query.limit;
    if more {
        rows.truncate(query.limit as usize);
    }
    Ok((rows, more, count))
}
