//! The identity file: written whole, read strictly, for nobody else's eyes.

use std::os::unix::fs::PermissionsExt;

use crate::cluster::identity::{Admitted, Identity};
use crate::model::{NodeId, NodeName};

#[test]
fn what_was_stored_is_loaded_and_nothing_else() {
    let dir = tempfile::TempDir::new().unwrap();
    let data = dir.path().join("deep/below");
    let name = NodeName::new("s1").unwrap();
    assert_eq!(Identity::load(&data, &name).unwrap(), None);
    let mut identity = Identity::new(name.clone(), u128::MAX - 5);
    identity.store(&data).unwrap();
    assert_eq!(Identity::load(&data, &name).unwrap().as_ref(), Some(&identity));
    identity.admitted = Some(Admitted { cluster: 3, node: NodeId(4), founder: false });
    identity.store(&data).unwrap();
    assert_eq!(Identity::load(&data, &name).unwrap().as_ref(), Some(&identity));

    let path = data.join("identity");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    for broken in [
        text.replace("\"version\": 1", "\"version\": 2"),
        text.replace("\"nonce\"", "\"once\""),
        text[..text.len() / 2].to_owned(),
        String::new(),
    ] {
        std::fs::write(&path, broken).unwrap();
        let error = Identity::load(&data, &name).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}
