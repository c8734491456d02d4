//! Rendering against states built by commands.

mod failures;
mod functions;
mod reads;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{
    Applied, CheckDef, CheckKind, Folded, Health, NodeName, Role, ServiceDef, Source, Stamp,
};
use crate::state::{
    Admission, CatalogOp, Command, Founding, KvCommand, NodeDef, Outcome as Applying, Part,
    Proposal, Settings, State,
};

use super::{Outcome, Rendering, Template};

/// A state that commands are put into one by one.
struct World {
    state: State,
    environment: BTreeMap<String, String>,
}

impl World {
    fn new() -> World {
        let mut world = World { state: State::new(Part::Server), environment: BTreeMap::new() };
        let founder = Admission {
            name: NodeName::new("n1").expect("a name"),
            nonce: 1,
            role: Role::Server,
            peer_addr: ([127, 0, 0, 1], 8300).into(),
            client_urls: Vec::new(),
            version: "0".to_owned(),
            level: crate::state::LEVEL,
            token: None,
        };
        let settings = Settings::default();
        world.run(Command::Found(Founding {
            cluster: 1,
            lineage: 1,
            settings,
            founder,
            trust: Default::default(),
            acl: None,
        }));
        world
    }

    fn run(&mut self, command: Command) {
        let index = self.state.applied().index + 1;
        let proposal = Proposal { stamp: Stamp(index), command };
        let (outcome, changes) = self.state.apply(Applied { term: 1, index }, &proposal);
        assert!(!matches!(outcome, Applying::Refused(_)), "{outcome:?}");
        self.state.absorb(&changes);
    }

    fn put(&mut self, key: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref().to_vec().into();
        let key = key.as_bytes().to_vec().into();
        self.run(Command::Kv(KvCommand::Set { key, value, flags: 0, cas: None }));
    }

    fn node(&mut self, name: &str, address: &str) {
        self.run(Command::Catalog(vec![CatalogOp::PutNode(NodeDef {
            name: name.into(),
            agent: None,
            uuid: String::new(),
            address: address.into(),
            tagged_addresses: BTreeMap::new(),
            meta: BTreeMap::new(),
            presence_ttl: std::time::Duration::from_secs(10),
        })]));
    }

    fn instance(&mut self, node: &str, id: &str, health: Health, change: impl Fn(&mut ServiceDef)) {
        let mut def = ServiceDef::new(id, "web");
        def.port = 80;
        change(&mut def);
        let node = Folded::new(node);
        let mut check = CheckDef::new(&format!("c-{id}"), "c", CheckKind::Static);
        check.service_id = Some(id.into());
        self.run(Command::Catalog(vec![
            CatalogOp::PutInstance { node: node.clone(), def, source: Source::Catalog },
            CatalogOp::PutCheck {
                node,
                def: check,
                status: health,
                output: String::new(),
                source: Source::Catalog,
            },
        ]));
    }

    fn render(&self, source: &str) -> Rendering {
        let template = Template::compile("app.conf.j2", source).expect("it compiles");
        template.render(&Arc::new(self.state.clone()), &Arc::new(self.environment.clone()))
    }

    fn text(&self, source: &str) -> String {
        match self.render(source).outcome {
            Outcome::Text(text) => text,
            other => panic!("no text: {other:?}"),
        }
    }

    fn error(&self, source: &str) -> String {
        match self.render(source).outcome {
            Outcome::Failed(error) => error.to_string(),
            other => panic!("no error: {other:?}"),
        }
    }
}
