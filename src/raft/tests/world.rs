//! What the tests of this module share: directories, commands, servers that can be killed.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tempfile::TempDir;

use crate::model::{LeaseId, NodeId, NodeName, Role};
use crate::net::peer::{CallError, Purpose};
use crate::raft::{Config, Transport};
use crate::state::{Admission, Command, Founding, Put, Settings};

/// A directory on a file system where a sync means something: below the build's own.
pub fn dir() -> TempDir {
    let base = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/raft-tests");
    std::fs::create_dir_all(&base).unwrap();
    tempfile::tempdir_in(base).unwrap()
}

pub fn config(id: u64, dir: &TempDir) -> Config {
    Config { segment_bytes: 64 * 1024, ..Config::new(NodeId(id), dir.path()) }
}

/// Reaches nobody.
pub struct Nowhere;

impl Transport for Nowhere {
    fn call(
        &self,
        to: NodeId,
        _: Purpose,
        _: Bytes,
        _: Duration,
    ) -> BoxFuture<'static, Result<Bytes, CallError>> {
        Box::pin(async move { Err(CallError::NotSent(format!("there is no way to {to}"))) })
    }
}

pub fn found() -> Command {
    Command::Found(Founding {
        cluster: 7,
        lineage: 1,
        settings: Settings::default(),
        founder: Admission {
            name: NodeName::new("one").unwrap(),
            nonce: 1,
            role: Role::Server,
            peer_addr: ([127, 0, 0, 1], 8300).into(),
            client_urls: Vec::new(),
            version: "test".to_owned(),
        },
    })
}

pub fn put(key: &str, value: impl Into<Bytes>) -> Command {
    Command::Put(Put {
        key: key.as_bytes().to_vec().into(),
        value: value.into(),
        lease: LeaseId::NONE,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}
