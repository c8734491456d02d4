//! Prepared queries and events: what is found by which name, what is wanted, what goes with whom.

use crate::model::{
    CheckDef, CheckKind, Folded, Health, QueryId, ServiceDef, SessionId, Source, Stamp, limits,
};
use crate::state::{
    AutopilotRow, CatalogOp, Command, EventDef, NodeDef, Outcome, Part, QueryDef, QueryRefusal,
    QueryRow, QueryTarget, QueryTemplate, Refusal, State,
};

use super::Told;
use super::model::{Decision, Model};

pub fn query(id: u128, name: &str, service: &str) -> QueryDef {
    QueryDef {
        id: QueryId(id),
        name: name.to_owned(),
        session: None,
        token: String::new(),
        template: QueryTemplate::default(),
        target: QueryTarget { service: service.to_owned(), ..QueryTarget::default() },
        ttl: None,
        ttl_text: String::new(),
    }
}

/// One whose service is the first group of its pattern, or all of the name.
pub fn template(id: u128, name: &str, regexp: &str) -> QueryDef {
    let service = if regexp.is_empty() { "${name.full}" } else { "${match(1)}" };
    let template =
        QueryTemplate { is_set: true, regexp: regexp.to_owned(), remove_empty_tags: false };
    QueryDef { template, ..query(id, name, service) }
}

pub fn event(name: &str) -> EventDef {
    EventDef {
        id: 1,
        name: name.to_owned(),
        payload: "x".into(),
        node: String::new(),
        service: String::new(),
        tag: String::new(),
    }
}

/// Queries, events and the autopilot.
impl Model {
    pub fn decide_beside(&mut self, command: &Command) -> Decision {
        match command {
            Command::QueryPut { def, new } => self.put_query(def, *new),
            Command::QueryDelete(id) if !self.queries.has(id) => {
                Err(QueryRefusal::NotFound(*id).into())
            }
            Command::QueryDelete(id) => {
                self.queries.remove(self.index + 1, id);
                Ok(Outcome::Done)
            }
            Command::EventFire(event) => {
                self.events.push(event.clone());
                Ok(Outcome::Done)
            }
            Command::Autopilot { settings, cas } => {
                let known = &self.autopilot;
                if cas.is_some_and(|cas| cas != known.modified) {
                    return Ok(Outcome::Kv(false));
                }
                if known.settings != *settings || known.modified == 0 {
                    let (settings, modified) = (settings.clone(), self.index + 1);
                    self.autopilot = AutopilotRow { settings, modified };
                    self.changed = true;
                }
                Ok(Outcome::Kv(true))
            }
            _ => unreachable!("decided elsewhere"),
        }
    }

    fn put_query(&mut self, def: &QueryDef, new: bool) -> Decision {
        let old = self.queries.get(&def.id);
        match (&old, new) {
            (Some(_), true) => return Err(QueryRefusal::Exists(def.id).into()),
            (None, false) => return Err(QueryRefusal::NotFound(def.id).into()),
            _ => {}
        }
        if let Some(session) = def.session.filter(|id| !self.sessions.has(id)) {
            return Err(Refusal::SessionNotFound(session));
        }
        let same = |other: &QueryDef| {
            other.id != def.id
                && other.name.eq_ignore_ascii_case(&def.name)
                && (!def.name.is_empty() || (def.template.is_set && other.template.is_set))
        };
        if self.queries.all().iter().any(|(_, found)| same(&found.value)) {
            return Err(match def.name.is_empty() {
                true => QueryRefusal::CatchAllTaken.into(),
                false => QueryRefusal::NameTaken(def.name.clone()).into(),
            });
        }
        if old.is_none_or(|old| old.value != *def) {
            self.queries.put(self.index + 1, &def.id, def.clone());
        }
        Ok(Outcome::Done)
    }
}

/// The same search by looking at all of them.
pub fn found(queries: &[QueryRow], asked: &str) -> Option<QueryId> {
    let named = |row: &&QueryRow| {
        row.def.name.eq_ignore_ascii_case(asked) && (!asked.is_empty() || row.def.template.is_set)
    };
    let begins = |row: &&QueryRow| {
        let name = row.def.name.to_ascii_lowercase();
        row.def.template.is_set && asked.to_ascii_lowercase().starts_with(&name)
    };
    let longest = queries.iter().filter(begins).max_by_key(|row| row.def.name.len());
    queries.iter().find(named).or(longest).map(|row| row.def.id)
}

fn put(told: &mut Told, def: QueryDef) -> Outcome {
    told.tell(Stamp(1), Command::QueryPut { def, new: true })
}

#[test]
fn a_name_finds_its_query_before_the_longest_template_fills_in() {
    let mut told = Told::founded();
    for def in [
        query(1, "Plain", "web"),
        template(2, "geo-", "^geo-(.*)$"),
        template(3, "geo-db", ""),
        template(4, "", ""),
    ] {
        assert_eq!(put(&mut told, def), Outcome::Done);
    }
    let service = |asked: &str| told.state.find_query(asked).unwrap().def.target.service.clone();
    assert_eq!(service("PLAIN"), "web");
    assert_eq!(service(&QueryId(1).to_string()), "web");
    assert_eq!(service("geo-web"), "web");
    assert_eq!(service("geo-db-1"), "geo-db-1");
    assert_eq!(service("whatever"), "whatever");
    assert_eq!(service("é"), "é");
    told.tell(Stamp(1), Command::QueryDelete(QueryId(4)));
    assert_eq!(told.state.find_query("whatever"), None);
}

#[test]
fn names_are_given_once_whatever_their_case_and_never_those_of_ids() {
    let mut told = Told::founded();
    put(&mut told, query(1, "a", "web"));
    put(&mut told, template(2, "", ""));
    let refusals = [
        (query(3, "A", "web"), QueryRefusal::NameTaken("A".to_owned())),
        (template(3, "", ""), QueryRefusal::CatchAllTaken),
        (query(3, &QueryId(1).to_string(), "web"), QueryRefusal::NameIsId(QueryId(1).to_string())),
        (query(1, "b", "web"), QueryRefusal::Exists(QueryId(1))),
    ];
    for (def, refusal) in refusals {
        assert_eq!(put(&mut told, def), Outcome::Refused(Refusal::Query(refusal)));
    }
    let def = query(9, "c", "web");
    let outcome = told.tell(Stamp(1), Command::QueryPut { def, new: false });
    assert_eq!(outcome, Outcome::Refused(QueryRefusal::NotFound(QueryId(9)).into()));
    // Its own name is no obstacle to itself.
    let def = query(1, "A", "db");
    assert_eq!(told.tell(Stamp(1), Command::QueryPut { def, new: false }), Outcome::Done);
    let mut long = query(10, "long", "web");
    long.target.tags = Some(vec!["x".repeat(limits::QUERY)]);
    assert!(matches!(
        put(&mut told, long),
        Outcome::Refused(Refusal::Query(QueryRefusal::TooLarge { .. }))
    ));
}

#[test]
fn patterns_are_bounded_because_each_is_compiled() {
    let mut told = Told::founded();
    for id in 0..limits::QUERY_PATTERNS as u128 {
        let def = template(id + 1, &format!("t{id}-"), "a");
        assert_eq!(put(&mut told, def), Outcome::Done);
    }
    let refused = put(&mut told, template(100_000, "one-more", "a"));
    let refusal = QueryRefusal::TooManyPatterns(limits::QUERY_PATTERNS);
    assert_eq!(refused, Outcome::Refused(refusal.into()));
    assert_eq!(put(&mut told, template(100_000, "one-more", "")), Outcome::Done);
}

/// Three instances: passing with tags a and b, warning with a, critical with b.
fn with_instances() -> Told {
    let mut told = Told::founded();
    let mut ops = Vec::new();
    let all = [
        ("qa", vec!["a", "b"], Health::Passing),
        ("qb", vec!["a"], Health::Warning),
        ("qc", vec!["b"], Health::Critical),
    ];
    for (name, tags, status) in all {
        ops.push(CatalogOp::PutNode(NodeDef {
            name: name.into(),
            agent: None,
            uuid: String::new(),
            address: "10.0.0.1".into(),
            tagged_addresses: Default::default(),
            meta: [("rack".to_owned(), name.to_owned())].into(),
            presence_ttl: Default::default(),
        }));
        let node = Folded::new(name);
        let mut def = ServiceDef::new(name, "qs");
        def.tags = tags.into_iter().map(Into::into).collect();
        def.meta = [("m".to_owned(), name.to_owned())].into();
        ops.push(CatalogOp::PutInstance { node: node.clone(), def, source: Source::Catalog });
        let mut def = CheckDef::new(&format!("{name}-check"), "c", CheckKind::Static);
        def.service_id = Some(name.into());
        let (output, source) = (String::new(), Source::Catalog);
        ops.push(CatalogOp::PutCheck { node, def, status, output, source });
    }
    told.tell(Stamp(1), Command::Catalog(ops));
    told
}

#[test]
fn a_query_wants_the_instances_that_all_of_it_holds_for() {
    let told = with_instances();
    let wanted = |change: &dyn Fn(&mut QueryTarget)| {
        let mut target = query(1, "q", "QS").target;
        change(&mut target);
        let views = told.state.execute(&target);
        let ids: Vec<&str> = views.iter().map(|view| &*view.instance.def.id).collect();
        ids.join(" ")
    };
    let list = |items: &[&str]| Some(items.iter().map(|item| (*item).to_owned()).collect());
    assert_eq!(wanted(&|_| {}), "qa qb");
    assert_eq!(wanted(&|target| target.only_passing = true), "qa");
    assert_eq!(wanted(&|target| target.tags = list(&["A"])), "qa qb");
    assert_eq!(wanted(&|target| target.tags = list(&["a", "!b"])), "qb");
    assert_eq!(wanted(&|target| target.ignored_checks = list(&["qc-check"])), "qa qb qc");
    let rack = |name: &str| Some([("rack".to_owned(), name.to_owned())].into());
    assert_eq!(wanted(&|target| target.node_meta = rack("qb")), "qb");
    let meta = |name: &str| Some([("m".to_owned(), name.to_owned())].into());
    assert_eq!(wanted(&|target| target.service_meta = meta("qa")), "qa");
    assert_eq!(wanted(&|target| target.connect = true), "");
    assert_eq!(wanted(&|target| target.service = "unknown".to_owned()), "");
}

#[test]
fn a_query_goes_with_its_session_and_not_without_one() {
    let mut told = with_instances();
    let bound =
        |id, session| QueryDef { session: Some(SessionId(session)), ..query(id, "b", "qs") };
    let refused = put(&mut told, bound(1, 5));
    assert_eq!(refused, Outcome::Refused(Refusal::SessionNotFound(SessionId(5))));
    told.tell(Stamp(1), Command::SessionCreate(super::sessions::session(5, "qa", &[])));
    assert_eq!(put(&mut told, bound(1, 5)), Outcome::Done);
    let before = told.state.queries_index();
    told.tell(Stamp(1), Command::Catalog(vec![CatalogOp::RemoveNode(Folded::new("qa"))]));
    assert_eq!(told.state.query(QueryId(1)), None);
    assert!(told.state.queries_index() > before);
}

#[test]
fn the_newest_events_are_kept_and_their_numbers_go_on() {
    let mut told = Told::founded();
    for _ in 0..limits::EVENTS + 5 {
        told.tell(Stamp(1), Command::EventFire(event("deploy")));
    }
    let numbers: Vec<u64> = told.state.fired().map(|(number, _)| number).collect();
    assert_eq!(numbers, (6..=limits::EVENTS as u64 + 5).collect::<Vec<_>>());
    let again = State::decode(&told.state.encode(Part::Shared), Part::Shared).unwrap();
    assert_eq!(again.fired().map(|(number, _)| number).collect::<Vec<_>>(), numbers);
    let large = EventDef { payload: vec![0; limits::EVENT].into(), ..event("large") };
    let outcome = told.tell(Stamp(1), Command::EventFire(large));
    assert!(matches!(outcome, Outcome::Refused(Refusal::EventTooLarge { .. })));
}
