//! The files: written whole, read strictly, for nobody else's eyes.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use super::member;
use crate::identity::{
    Admitted, Authority, DataDir, Identity, IdentityError, Key, Lost, Pledge, Promise,
};
use crate::model::{Digest, NodeId, NodeName, Role};
use crate::raft::{LogMark, RealDisk};

fn data(path: &Path) -> DataDir {
    DataDir::new(Arc::new(RealDisk), path.to_owned())
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn an_identity_comes_back_and_no_other_is_taken() {
    let dir = tempfile::TempDir::new().unwrap();
    let data = data(&dir.path().join("deep/below"));
    let s1 = name("s1");
    assert_eq!(data.load_identity(&s1).unwrap(), None);
    let mut identity = Identity::new(s1.clone(), u128::MAX - 5);
    data.store_identity(&identity).unwrap();
    assert_eq!(data.load_identity(&s1).unwrap().as_ref(), Some(&identity));
    identity.admitted = Some(Admitted { cluster: 3, node: NodeId(4), founder: false });
    identity.root = Some(Digest([0xd1; 32]));
    identity.log = Some(LogMark { incarnation: u64::MAX, floor: u64::MAX });
    let pledge = Some(Pledge { name: name("s0"), nonce: u128::MAX, round: 7 });
    identity.promise = Promise { round: 8, pledge };
    identity.lost = Some(Lost { cluster: u128::MAX, node: NodeId(2) });
    identity.peers = vec![([127, 0, 0, 1], 8300).into()];
    data.store_identity(&identity).unwrap();
    assert_eq!(data.load_identity(&s1).unwrap().as_ref(), Some(&identity));

    let path = data.path().join("identity");
    let error = data.load_identity(&name("s2")).unwrap_err().to_string();
    assert!(error.contains("s1") && error.contains("s2"), "{error}");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(&"d1".repeat(32)), "{text}");
    for broken in [
        text.replace("\"version\": 1", "\"version\": 2"),
        text.replace("\"nonce\"", "\"once\""),
        text.replace(&"d1".repeat(32), "d1"),
        text[..text.len() / 2].to_owned(),
        String::new(),
    ] {
        assert_ne!(broken, text);
        std::fs::write(&path, broken).unwrap();
        let error = data.load_identity(&s1).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn keys_chains_and_the_authority_come_back() {
    let dir = tempfile::TempDir::new().unwrap();
    let data = data(dir.path());
    assert!(data.load_key().unwrap().is_none());
    assert!(data.load_leaf().unwrap().is_none());
    assert!(data.load_authority().unwrap().is_none());
    let authority = Authority::found(7, None).unwrap();
    let leaf = member(&authority, Role::Server, 4);
    data.store_key(leaf.key()).unwrap();
    assert!(data.load_leaf().unwrap().is_none(), "a key alone says nothing");
    data.store_chain(leaf.chain()).unwrap();
    data.store_authority(&authority).unwrap();
    let back = data.load_leaf().unwrap().unwrap();
    assert_eq!((back.chain(), back.ends()), (leaf.chain(), leaf.ends()));
    assert_eq!(back.key().digest(), leaf.key().digest());
    assert_eq!(data.load_authority().unwrap().unwrap().root(), authority.root());
    for file in ["agent.key", "agent.chain", "authority"] {
        let path = dir.path().join(file);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(names.len(), 3, "nothing staged is left: {names:?}");

    // The chain of another key.
    data.store_key(&Key::generate().unwrap()).unwrap();
    let error = data.load_leaf().unwrap_err().to_string();
    assert!(error.contains("agent.chain"), "{error}");
    data.forget_keys().unwrap();
    data.forget_keys().unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_others_can_reach_is_refused_with_the_command_that_helps() {
    let dir = tempfile::TempDir::new().unwrap();
    let data = data(dir.path());
    let s1 = name("s1");
    let authority = Authority::found(7, None).unwrap();
    let leaf = member(&authority, Role::Server, 4);
    data.store_identity(&Identity::new(s1.clone(), 1)).unwrap();
    data.store_key(leaf.key()).unwrap();
    data.store_chain(leaf.chain()).unwrap();
    data.store_authority(&authority).unwrap();
    type Load<'a> = &'a dyn Fn() -> Result<(), IdentityError>;
    let loads: [(&str, Load<'_>); 4] = [
        ("identity", &|| data.load_identity(&s1).map(drop)),
        ("agent.key", &|| data.load_key().map(drop)),
        ("agent.chain", &|| data.load_leaf().map(drop)),
        ("authority", &|| data.load_authority().map(drop)),
    ];
    for (file, load) in loads {
        let path = dir.path().join(file);
        for wide in [0o640, 0o604, 0o610, 0o620, 0o602, 0o601, 0o777] {
            set_mode(&path, wide);
            let text = load().unwrap_err().to_string();
            assert!(text.contains(&format!("{wide:04o}")), "{text}");
            assert!(text.contains(&format!("chmod 600 {}", path.display())), "{text}");
        }
        for narrow in [0o600, 0o400] {
            set_mode(&path, narrow);
            load().unwrap();
        }
    }
    // One staged by whoever, and left wide, is not written into.
    let staged = dir.path().join("agent.key.new");
    std::fs::write(&staged, "x").unwrap();
    set_mode(&staged, 0o666);
    data.store_key(leaf.key()).unwrap();
    data.load_key().unwrap().unwrap();
}
