//! Passwords and what they are held against.

use crate::identity::{hash_password, is_password, nobodys_hash};

#[test]
fn a_password_is_known_by_its_hash_and_no_other_is() {
    let hash = hash_password("secret", &[7; 16]).unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=7168,t=5,p=1$"), "{hash}");
    assert!(!hash.contains("secret"));
    assert!(is_password("secret", &hash));
    for other in ["", "Secret", "secret ", "secre"] {
        assert!(!is_password(other, &hash), "{other:?}");
    }
    let salted = hash_password("secret", &[8; 16]).unwrap();
    assert_ne!(hash, salted);
    assert!(is_password("secret", &salted));
    let none = hash_password("", &[7; 16]).unwrap();
    assert!(is_password("", &none) && !is_password(" ", &none));
}

#[test]
fn what_is_no_hash_is_nobodys() {
    let hash = hash_password("secret", &[7; 16]).unwrap();
    let cut = &hash[..hash.len() - 1];
    let weaker = hash.replace("t=5", "t=4");
    let longer = format!("{hash}AAAA");
    for other in ["", "secret", cut, &weaker, &longer, &hash.replace("argon2id", "argon2i")] {
        assert!(!is_password("secret", other), "{other}");
    }
    for password in ["", "secret"] {
        assert!(!is_password(password, &nobodys_hash()));
    }
    // It takes as long as somebody's.
    let cost = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
    assert_eq!(cost(&nobodys_hash()), cost(&hash));
}
