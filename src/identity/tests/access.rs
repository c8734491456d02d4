//! Tokens of users: signed, ended, forged.

use std::time::Duration;

use crate::identity::{Authority, Pass, PassKey};

use super::day;

fn pass() -> Pass {
    Pass { user: "bob".to_owned(), generation: 7, ends: day() + Duration::from_secs(300) }
}

#[test]
fn a_token_says_what_was_signed_until_it_ends() {
    let key = PassKey::derive(&[1; 32]).unwrap();
    let token = key.sign(&pass());
    assert_eq!(key.verify(&token, day()), Some(pass()));
    assert_eq!(key.verify(&token, pass().ends - Duration::from_secs(1)), Some(pass()));
    assert_eq!(key.verify(&token, pass().ends), None);
    let odd = Pass { user: "b.o b/\u{e9}".to_owned(), ..pass() };
    assert_eq!(key.verify(&key.sign(&odd), day()), Some(odd));
}

#[test]
fn every_server_of_a_cluster_knows_it_and_nobody_else() {
    let authority = Authority::found(1, None).unwrap();
    let other = Authority::from_bundle(&authority.to_bundle().unwrap()).unwrap();
    let token = PassKey::of(&authority).unwrap().sign(&pass());
    assert_eq!(PassKey::of(&other).unwrap().verify(&token, day()), Some(pass()));
    let stranger = PassKey::of(&Authority::found(1, None).unwrap()).unwrap();
    assert_eq!(stranger.verify(&token, day()), None);
    // The secret itself is no key: it is for other things, too.
    let raw = PassKey::derive(&[1; 32]).unwrap();
    assert_eq!(raw.verify(&token, day()), None);
}

#[test]
fn no_letter_of_a_token_can_be_changed() {
    let key = PassKey::derive(&[1; 32]).unwrap();
    let token = key.sign(&pass());
    for at in 0..token.len() {
        let mut other = token.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).unwrap();
        // The last letter of each half carries bits that stand for nothing, which must be zero.
        assert_eq!(key.verify(&other, day()), None, "letter {at}");
    }
    let long = "A".repeat(5000);
    for other in ["", ".", "a.b", "A", &token[1..], &format!("{token}."), &long] {
        assert_eq!(key.verify(other, day()), None, "{other}");
    }
}
