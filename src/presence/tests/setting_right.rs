//! Comparing with the catalog, as a property: whatever others did, one round sets it right.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::model::{
    Applied, CheckDef, CheckKind, Folded, Health, NodeName, Role, ServiceDef, Source, Stamp,
};
use crate::presence::diff::{diff, learn};
use crate::presence::plan::{Wish, plan};
use crate::presence::promise::{Check, Edit, Promise, Service};
use crate::state::{
    Admission, CatalogOp, CheckRow, Command, Founding, InstanceRow, NodeDef, Outcome, Part,
    Proposal, Settings, State,
};

use super::house::NODE;

fn node() -> Folded {
    Folded::new(NODE)
}

fn apply(state: &mut State, command: Command) -> Outcome {
    let at = Applied { term: 1, index: state.applied().index + 1 };
    let (outcome, changes) = state.apply(at, &Proposal { stamp: Stamp(at.index), command });
    state.absorb(&changes);
    outcome
}

fn founded() -> State {
    let mut state = State::new(Part::Server);
    let founder = Admission {
        name: NodeName::new(NODE).unwrap(),
        nonce: 1,
        role: Role::Server,
        peer_addr: ([127, 0, 0, 1], 8300).into(),
        client_urls: vec![],
        version: String::new(),
        level: crate::state::LEVEL,
        token: None,
    };
    let settings = Settings::default();
    apply(
        &mut state,
        Command::Found(Founding {
            cluster: 1,
            lineage: 1,
            settings,
            founder,
            trust: Default::default(),
            acl: None,
        }),
    );
    state
}

fn node_def(address: &str) -> NodeDef {
    NodeDef {
        name: NODE.into(),
        agent: None,
        uuid: String::new(),
        address: address.into(),
        tagged_addresses: Default::default(),
        meta: Default::default(),
        presence_ttl: Duration::from_secs(10),
    }
}

fn service_def(id: u8, port: u8, overridable: bool) -> ServiceDef {
    let mut def = ServiceDef::new(&format!("s{id}"), "web");
    def.port = port.into();
    def.tags = vec![format!("t{port}").into()];
    def.enable_tag_override = overridable;
    def
}

fn check_def(id: u8, service: Option<u8>) -> CheckDef {
    let kind = CheckKind::Ttl { ttl: Duration::from_secs(1) };
    let mut def = CheckDef::new(&format!("c{id}"), "check", kind);
    def.service_id = service.map(|service| format!("s{service}").into());
    def
}

fn health() -> impl Strategy<Value = Health> {
    prop_oneof![Just(Health::Passing), Just(Health::Critical)]
}

/// What the config promises: services 0..6 and checks 0..6, so that all that happens meets often.
fn configured() -> impl Strategy<Value = Promise> {
    let services = prop::collection::btree_map(0..6_u8, any::<bool>(), 0..4);
    let checks = prop::collection::btree_map(0..6_u8, any::<prop::sample::Index>(), 0..4);
    (services, checks).prop_map(|(services, checks)| {
        let mut promise = Promise::new(node_def("10.0.0.1"), 8300, false);
        let mut subjects = vec![None];
        for (id, overridable) in services {
            subjects.push(Some(id));
            let def = service_def(id, 80, overridable);
            promise.edit(Edit::PutService(Service { def, source: Source::Config }));
        }
        for (id, subject) in checks {
            let def = check_def(id, subjects[subject.index(subjects.len())]);
            promise.edit(Edit::PutCheck(Check::new(def, Source::Config)));
        }
        promise
    })
}

/// What clients of this agent ask for.
fn wish() -> impl Strategy<Value = Wish> {
    let checks = prop::collection::btree_set(0..6_u8, 0..3);
    (0..6_u8, checks, any::<bool>(), any::<bool>()).prop_map(|(id, checks, tags, replace)| {
        let checks = checks.into_iter().map(|check| check_def(check, None)).collect();
        Wish::Register { def: service_def(id, 90, tags), checks, replace_checks: replace }
    })
}

/// What is done to the catalog past this agent: by an earlier life of it under any source, by
/// others only as `Source::Catalog`.
fn deed(source: impl Strategy<Value = Source> + Clone) -> impl Strategy<Value = CatalogOp> {
    let service = (0..6_u8, 80..83_u8, source.clone()).prop_map(|(id, port, source)| {
        CatalogOp::PutInstance { node: node(), def: service_def(id, port, false), source }
    });
    let check = (0..6_u8, prop::option::of(0..6_u8), health(), source);
    let check = check.prop_map(|(id, service, status, source)| {
        let def = check_def(id, service);
        CatalogOp::PutCheck { node: node(), def, status, output: String::new(), source }
    });
    let id = |kind: char| (0..6_u8).prop_map(move |id| Arc::<str>::from(format!("{kind}{id}")));
    prop_oneof![
        4 => service,
        4 => check,
        1 => id('s').prop_map(|id| CatalogOp::RemoveInstance { node: node(), id }),
        1 => id('c').prop_map(|id| CatalogOp::RemoveCheck { node: node(), id }),
        1 => Just(CatalogOp::PutNode(node_def("192.0.2.1"))),
        1 => Just(CatalogOp::RemoveNode(node())),
    ]
}

fn any_source() -> impl Strategy<Value = Source> + Clone {
    prop::sample::select(vec![Source::Config, Source::Api, Source::Catalog, Source::System])
}

/// A deed that the catalog refuses (no such node or instance) did not happen.
fn happen(state: &mut State, deeds: Vec<CatalogOp>) {
    for deed in deeds {
        apply(state, Command::Catalog(vec![deed]));
    }
}

fn grant(promise: &mut Promise, state: &mut State, wish: &Wish) {
    let edits = plan(promise, state, wish).expect("registering is always possible here");
    let ops = edits.iter().map(|edit| edit.op(&node())).collect();
    assert_eq!(apply(state, Command::Catalog(ops)), Outcome::Done);
    for edit in edits {
        promise.edit(edit);
    }
}

/// One round of what the worker does.
fn round(promise: &mut Promise, state: &mut State) -> Outcome {
    for edit in learn(promise, state) {
        promise.edit(edit);
    }
    promise.node_create = state.node(NODE).map(|row| row.create);
    let ops = diff(promise, state);
    let outcome = apply(state, Command::Catalog(ops));
    promise.node_create = state.node(NODE).map(|row| row.create);
    outcome
}

/// Rows under ids that this agent never promised.
fn foreign(state: &State, promise: &Promise) -> (Vec<Arc<InstanceRow>>, Vec<Arc<CheckRow>>) {
    let node = node();
    let theirs = |source: Source| source == Source::Catalog;
    let instances = state.instances_on_node(&node);
    let instances: Vec<_> = instances
        .filter(|row| theirs(row.source) && promise.service(&row.def.id).is_none())
        .cloned()
        .collect();
    // A check of theirs on an instance that goes, goes with it.
    let stands = |check: &CheckRow| match &check.def.service_id {
        None => true,
        Some(id) => instances.iter().any(|row| row.def.id == *id),
    };
    let checks = state.checks_on_node(&node);
    let checks = checks
        .filter(|row| theirs(row.source) && promise.check(&row.def.id).is_none() && stands(row))
        .cloned()
        .collect();
    (instances, checks)
}

proptest! {
    #[test]
    fn one_round_sets_everything_right_and_touches_nobody_elses_rows(
        mut promise in configured(),
        earlier in prop::collection::vec(deed(any_source()), 0..20),
        wishes in prop::collection::vec(wish(), 0..4),
        later in prop::collection::vec(deed(Just(Source::Catalog)), 0..20),
    ) {
        let mut state = founded();
        happen(&mut state, earlier);
        prop_assert_eq!(round(&mut promise, &mut state), Outcome::Done);
        for wish in &wishes {
            grant(&mut promise, &mut state, wish);
        }
        happen(&mut state, later);
        let known = promise.clone();
        let theirs = foreign(&state, &known);
        prop_assert_eq!(round(&mut promise, &mut state), Outcome::Done);
        prop_assert_eq!(learn(&promise, &state), []);
        prop_assert_eq!(diff(&promise, &state), []);
        prop_assert_eq!(foreign(&state, &known), theirs);
    }

    /// What somebody took out comes back if the config promised it, and never if it came by API.
    #[test]
    fn only_configured_instances_are_set_back(
        mut promise in configured(),
        wishes in prop::collection::vec(wish(), 0..4),
        id in 0..6_u8,
    ) {
        let mut state = founded();
        round(&mut promise, &mut state);
        for wish in &wishes {
            grant(&mut promise, &mut state, wish);
        }
        let id: Arc<str> = format!("s{id}").into();
        let was = promise.service(&id).cloned();
        let remove = CatalogOp::RemoveInstance { node: node(), id: id.clone() };
        apply(&mut state, Command::Catalog(vec![remove]));
        round(&mut promise, &mut state);
        let configured = was.is_some_and(|service| service.source == Source::Config);
        prop_assert_eq!(state.instance(&node(), &id).is_some(), configured);
        prop_assert_eq!(promise.service(&id).is_some(), configured);
    }
}
