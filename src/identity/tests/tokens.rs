//! Join tokens: read, printed, never shown by accident; what follows from their secrets.

use proptest::prelude::*;

use crate::identity::{Founding, JoinToken, Key, Offline, TokenError, prove, verify_proof};
use crate::model::{Digest, Role};

fn token(role: Role) -> JoinToken {
    JoinToken::generate(role, Digest([0x5a; 32])).unwrap()
}

#[test]
fn what_is_printed_is_read() {
    for role in [Role::Server, Role::Edge, Role::Relay] {
        let token = token(role);
        let text = token.reveal();
        assert!(text.starts_with(&format!("rmr1-{}-5a5a", role.as_str())), "{}", *text);
        let read = JoinToken::parse(&format!("\n {}\n", *text)).unwrap();
        assert_eq!(read.reveal(), text);
        assert_eq!((read.role(), read.digest(), read.id()), (role, Digest([0x5a; 32]), token.id()));
        assert_eq!(read.key().unwrap().public(), token.key().unwrap().public());
    }
}

#[test]
fn an_error_says_which_part_is_wrong_and_nothing_of_the_secret() {
    let text = token(Role::Edge).reveal();
    let secret = text.rsplit('-').next().unwrap();
    let parts: Vec<&str> = text.split('-').collect();
    let with = |at: usize, part: &str| {
        let mut parts = parts.clone();
        parts[at] = part;
        parts.join("-")
    };
    let upper = secret.to_uppercase();
    for (text, expected) in [
        (String::new(), TokenError::Empty),
        (" \n".to_owned(), TokenError::Empty),
        ("hello".to_owned(), TokenError::Prefix),
        (with(0, "rmr2"), TokenError::Prefix),
        (format!("{}-more", *text), TokenError::Parts(6)),
        (parts[..4].join("-"), TokenError::Parts(4)),
        (with(1, "voter"), TokenError::Role),
        (with(1, "Server"), TokenError::Role),
        (with(2, "5a5a"), TokenError::Digest),
        (with(3, "0"), TokenError::Id),
        (with(3, "+000000000000000"), TokenError::Id),
        (with(4, &secret[..63]), TokenError::Secret),
        (with(4, &format!("{secret}0")), TokenError::Secret),
        (with(4, &upper), TokenError::Secret),
        (with(1, "server"), TokenError::Mixed),
        (with(2, &"5b".repeat(32)), TokenError::Mixed),
        (with(3, "0123456789abcdef"), TokenError::Mixed),
        (with(4, &"0".repeat(64)), TokenError::Mixed),
    ] {
        let error = JoinToken::parse(&text).unwrap_err();
        assert_eq!(error, expected, "{text}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(secret) && !shown.contains(&upper), "{shown}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let offline = Offline::generate().unwrap();
    let shown = format!("{offline:?} {:?} {:?}", offline.server.key(), offline.edge);
    for token in offline.all() {
        let text = token.reveal();
        let secret = text.rsplit('-').next().unwrap();
        assert!(!shown.contains(&secret[..16]), "{shown}");
        assert!(shown.contains(&token.id().to_string()), "{shown}");
    }
}

#[test]
fn offline_tokens_follow_from_the_servers_and_not_the_reverse() {
    let made = Offline::generate().unwrap();
    let server = JoinToken::parse(&made.server.reveal()).unwrap();
    let again = server.kin().unwrap().unwrap();
    for (one, other) in made.all().into_iter().zip(again.all()) {
        assert_eq!(one.reveal(), other.reveal());
        assert_eq!(one.digest(), server.founding_key().unwrap().unwrap().digest());
    }
    let roles: Vec<Role> = made.all().iter().map(|token| token.role()).collect();
    assert_eq!(roles, [Role::Server, Role::Edge, Role::Relay]);
    for below in [&made.edge, &made.relay] {
        assert!(below.founding_key().unwrap().is_none());
        assert!(below.kin().unwrap().is_none());
        assert!(Founding::of(below).unwrap().is_none());
    }
    // The key that signs proofs is not the one that founds.
    assert_ne!(server.key().unwrap().digest(), server.digest());
    // A token that a cluster made founds nothing.
    assert!(Founding::of(&token(Role::Server)).unwrap().is_none());
    assert!(token(Role::Server).kin().unwrap().is_none());
}

/// What a secret gives is part of the protocol: another release must derive the same.
#[test]
fn derivations_are_frozen() {
    let fixture = include_str!("../../../tests/fixtures/join-token-1.txt");
    let mut lines = fixture.lines();
    let server = JoinToken::parse(lines.next().unwrap()).unwrap();
    let kin = server.kin().unwrap().expect("the fixture was made offline");
    assert_eq!(*kin.edge.reveal(), lines.next().unwrap());
    assert_eq!(*kin.relay.reveal(), lines.next().unwrap());
    let digest = server.key().unwrap().digest().to_string();
    assert_eq!(digest, lines.next().unwrap());
}

#[test]
fn a_proof_is_good_for_one_token_one_connection_and_one_key() {
    let token = token(Role::Edge);
    let (key, other) = (token.key().unwrap(), Key::generate().unwrap());
    let (mine, theirs) = (Key::generate().unwrap().spki(), Key::generate().unwrap().spki());
    let proof = prove(&key, &[1; 32], &mine).unwrap();
    assert!(verify_proof(key.public(), &[1; 32], &mine, &proof));
    assert!(!verify_proof(key.public(), &[2; 32], &mine, &proof), "another connection");
    assert!(!verify_proof(key.public(), &[1; 32], &theirs, &proof), "another key");
    assert!(!verify_proof(other.public(), &[1; 32], &mine, &proof), "another token");
    assert!(!verify_proof(&[], &[1; 32], &mine, &proof), "no public key at all");
    for at in 0..proof.len() {
        let mut bent = proof.clone();
        bent[at] ^= 1;
        assert!(!verify_proof(key.public(), &[1; 32], &mine, &bent), "byte {at}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_fall(text in "\\PC*") {
        let _ = JoinToken::parse(&text);
        let _ = JoinToken::parse(&format!("rmr1-{text}"));
    }

    #[test]
    fn a_token_changed_anywhere_is_refused(at in 0usize..160, to in "[0-9a-f-]") {
        let text = token(Role::Edge).reveal();
        let at = at % text.len();
        let mut bent = text.to_string();
        bent.replace_range(at..=at, &to);
        prop_assume!(bent != *text);
        prop_assert!(JoinToken::parse(&bent).is_err());
    }

    #[test]
    fn a_token_cut_anywhere_is_refused(at in 0usize..160) {
        let text = token(Role::Server).reveal();
        let at = at % text.len();
        prop_assert!(JoinToken::parse(&text[..at]).is_err());
        prop_assert!(at == 0 || JoinToken::parse(&text[at..]).is_err());
    }
}
