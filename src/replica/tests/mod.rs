//! The replica seen from its readers, its watchers and its followers.

mod feed;
mod topics;

use bytes::Bytes;

use crate::model::{Applied, Folded, LeaseId, NodeName, Role, ServiceDef, Source, Stamp};
use crate::state::{
    Admission, CatalogOp, Command, Founding, NodeDef, Outcome, Part, Proposal, Put, Settings,
};

use super::{Replica, Writer};

pub(super) fn founded() -> (Writer, Replica) {
    let (mut writer, replica) = super::new(Part::Server);
    let founder = Admission {
        name: NodeName::new("n1").unwrap(),
        nonce: 1,
        role: Role::Server,
        peer_addr: ([127, 0, 0, 1], 8300).into(),
        client_urls: Vec::new(),
        version: "1".to_owned(),
        level: crate::state::LEVEL,
        token: None,
    };
    let settings = Settings::default();
    take(
        &mut writer,
        Command::Found(Founding {
            cluster: 1,
            lineage: 1,
            settings,
            founder,
            trust: Default::default(),
            acl: None,
        }),
    );
    writer.publish();
    (writer, replica)
}

/// Takes a command in without publishing it.
pub(super) fn take(writer: &mut Writer, command: Command) -> Outcome {
    let at = Applied { term: 1, index: writer.state().applied().index + 1 };
    writer.apply(at, &Proposal { stamp: Stamp(at.index), command })
}

pub(super) fn run(writer: &mut Writer, command: Command) {
    let outcome = take(writer, command);
    assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    writer.publish();
}

pub(super) fn put(key: &str, value: &str) -> Command {
    Command::Put(Put {
        key: Bytes::from(key.to_owned()),
        value: Bytes::from(value.to_owned()),
        lease: LeaseId::NONE,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

pub(super) fn node(name: &str) -> CatalogOp {
    CatalogOp::PutNode(NodeDef {
        name: name.into(),
        agent: None,
        uuid: String::new(),
        address: "10.0.0.1".into(),
        tagged_addresses: Default::default(),
        meta: Default::default(),
        presence_ttl: std::time::Duration::from_secs(10),
    })
}

pub(super) fn instance(node: &str, id: &str, service: &str, port: i32) -> CatalogOp {
    let mut def = ServiceDef::new(id, service);
    def.port = port;
    CatalogOp::PutInstance { node: Folded::new(node), def, source: Source::Api }
}

#[test]
fn readers_see_nothing_before_publish_and_all_after() {
    let (mut writer, replica) = founded();
    let before = replica.snapshot();
    take(&mut writer, put("a", "1"));
    take(&mut writer, put("b", "2"));
    assert_eq!(replica.snapshot().revision(), before.revision());
    assert_eq!(*replica.applied().borrow(), before.applied());
    writer.publish();
    let after = replica.snapshot();
    assert!(after.key(b"a").is_some() && after.key(b"b").is_some());
    assert!(before.key(b"a").is_none(), "a root that was taken never changes");
    assert_eq!(*replica.applied().borrow(), after.applied());
}

#[tokio::test]
async fn a_blank_entry_lets_who_waits_for_its_position_go_on() {
    let (mut writer, replica) = founded();
    let next = Applied { term: 2, index: writer.state().applied().index + 1 };
    let waiter = tokio::spawn({
        let replica = replica.clone();
        async move { replica.wait_for(next.index).await }
    });
    writer.blank(next);
    writer.publish();
    waiter.await.unwrap();
    assert_eq!(replica.snapshot().applied(), next);
}
