//! Whose certificates are accepted, by whom, and for how long.

use rcgen::{CertificateParams, IsCa, Issuer, SanType, date_time_ymd};

use super::{day, member, seconds, short, slices};
use crate::identity::{
    Authority, Founding, Holder, JoinToken, Judged, Key, Lifetimes, Offline, Trust, Unfit, is_due,
    judge, judge_for_renewal,
};
use crate::model::{Digest, NodeId, Role};
use crate::net::validity;

fn root(authority: &Authority) -> Trust {
    Trust::Root { root: authority.root(), cluster: authority.cluster() }
}

fn judged(chain: &[Vec<u8>], trust: &Trust) -> Result<Judged, Unfit> {
    judge(&slices(chain), trust, day(), short().grace)
}

#[test]
fn a_member_is_who_its_certificate_says() {
    let authority = Authority::found(7, None).unwrap();
    for (role, node) in [(Role::Server, 1), (Role::Edge, u64::MAX), (Role::Relay, 3)] {
        let leaf = member(&authority, role, node);
        let verdict = judged(leaf.chain(), &root(&authority)).unwrap();
        let holder = Holder { cluster: 7, role, node: NodeId(node) };
        let expected = Judged { holder, ends: day() + short().leaf, root: Some(authority.root()) };
        assert_eq!(verdict, expected);
        assert_eq!(judged(leaf.chain(), &Trust::Token(authority.root())), Ok(expected));
    }
}

#[test]
fn a_founding_key_leads_to_the_root_while_it_is_shown() {
    let tokens = Offline::generate().unwrap();
    let founding = Founding::of(&tokens.server).unwrap().unwrap();
    let mut authority = Authority::found(7, Some(&founding)).unwrap();
    let offline = Trust::Token(tokens.edge.digest());
    let online = Trust::Token(authority.root());
    let leaf = member(&authority, Role::Server, 1);
    for trust in [offline, online, root(&authority)] {
        let verdict = judged(leaf.chain(), &trust).unwrap();
        assert_eq!(verdict.root, Some(authority.root()), "{trust:?}");
    }
    authority.end_founding();
    let leaf = member(&authority, Role::Server, 1);
    assert_eq!(judged(leaf.chain(), &offline), Err(Unfit::UnknownAuthority));
    for trust in [online, root(&authority)] {
        judged(leaf.chain(), &trust).unwrap();
    }
}

#[test]
fn a_candidate_is_known_by_the_founding_key_and_is_no_member() {
    let tokens = Offline::generate().unwrap();
    let founding = Founding::of(&tokens.server).unwrap().unwrap();
    let key = Key::generate().unwrap();
    let chain = founding.candidate(&key, &short(), day()).unwrap();
    let verdict = judged(&chain, &Trust::Token(tokens.server.digest())).unwrap();
    let holder = Holder { cluster: 0, role: Role::Server, node: NodeId(0) };
    assert_eq!((verdict.holder, verdict.root), (holder, None));

    let authority = Authority::found(7, Some(&founding)).unwrap();
    assert_eq!(judged(&chain, &root(&authority)), Err(Unfit::UnknownAuthority));
    // Nor with the cluster's certificates beside it, through which a path exists to nothing.
    let mut mixed = chain.clone();
    mixed.extend_from_slice(&member(&authority, Role::Server, 1).chain()[1..]);
    assert_eq!(judged(&mixed, &root(&authority)), Err(Unfit::UnknownAuthority));
    let other = Offline::generate().unwrap();
    assert_eq!(judged(&chain, &Trust::Token(other.server.digest())), Err(Unfit::UnknownAuthority));
}

#[test]
fn another_authority_is_unknown_even_with_our_root_beside_it() {
    let (ours, theirs) = (Authority::found(7, None).unwrap(), Authority::found(7, None).unwrap());
    let (good, bad) = (member(&ours, Role::Server, 1), member(&theirs, Role::Server, 1));
    assert_eq!(judged(bad.chain(), &root(&ours)), Err(Unfit::UnknownAuthority));
    assert_eq!(judged(bad.chain(), &Trust::Token(Digest([1; 32]))), Err(Unfit::UnknownAuthority));
    // Same names, so that a path is tried; the signature is what does not fit.
    let mut mixed = vec![bad.chain()[0].clone()];
    mixed.extend_from_slice(&good.chain()[1..]);
    assert_eq!(judged(&mixed, &root(&ours)), Err(Unfit::UnknownAuthority));
}

#[test]
fn another_cluster_under_the_same_root_is_told() {
    let authority = Authority::found(7, None).unwrap();
    let leaf = member(&authority, Role::Edge, 4);
    let trust = Trust::Root { root: authority.root(), cluster: 8 };
    let expected = Unfit::WrongCluster { theirs: 7, ours: 8 };
    assert_eq!(judged(leaf.chain(), &trust), Err(expected));
}

#[test]
fn dates_count_to_the_second_and_grace_is_for_renewal_only() {
    let authority = Authority::found(7, None).unwrap();
    let leaf = member(&authority, Role::Edge, 4);
    let (begins, ends) = (leaf.begins(), leaf.ends());
    assert_eq!((begins, ends), (day() - short().skew, day() + short().leaf));
    let chain = slices(leaf.chain());
    let at = |now| judge(&chain, &root(&authority), now, short().grace);
    let renewal = |now| judge_for_renewal(&chain, &root(&authority), now, short().grace);
    assert_eq!(at(begins - seconds(1)), Err(Unfit::NotYetValid));
    assert_eq!(renewal(begins - seconds(1)), Err(Unfit::NotYetValid));
    let good = at(begins).unwrap();
    assert_eq!(at(ends), Ok(good));
    for late in [seconds(1), seconds(5), short().grace] {
        assert_eq!(at(ends + late), Err(Unfit::InGrace(good)), "{late:?}");
        assert_eq!(renewal(ends + late), Ok(good), "{late:?}");
    }
    let over = ends + short().grace + seconds(1);
    assert_eq!((at(over), renewal(over)), (Err(Unfit::Expired), Err(Unfit::Expired)));
}

/// Grace is about dates; nothing else is forgiven.
#[test]
fn an_expired_stranger_is_a_stranger() {
    let (ours, theirs) = (Authority::found(7, None).unwrap(), Authority::found(7, None).unwrap());
    let bad = member(&theirs, Role::Server, 1);
    let late = bad.ends() + seconds(5);
    let verdict = judge_for_renewal(&slices(bad.chain()), &root(&ours), late, short().grace);
    assert_eq!(verdict, Err(Unfit::UnknownAuthority));
}

#[test]
fn a_server_that_was_off_for_a_month_signs_its_own() {
    let founded = Authority::found(7, None).unwrap();
    let bundle = founded.to_bundle().unwrap();
    let leaf = member(&founded, Role::Server, 1);
    let later = day() + seconds(31 * 24 * 3600);
    let old = judge_for_renewal(&slices(leaf.chain()), &root(&founded), later, short().grace);
    assert_eq!(old, Err(Unfit::Expired));
    let back = Authority::from_bundle(&bundle).unwrap();
    let request = leaf.key().request().unwrap();
    let chain = back.issue(&request, Role::Server, NodeId(1), &short(), later).unwrap();
    let verdict = judge(&slices(&chain), &root(&founded), later, short().grace).unwrap();
    assert_eq!(verdict.ends, later + short().leaf);
}

#[test]
fn who_may_not_issue_issues_nothing() {
    let authority = Authority::found(7, None).unwrap();
    let leaf = member(&authority, Role::Edge, 4);
    // The edge plays authority with its own key.
    let params = |name: &str| {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2030, 1, 1);
        params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
        params
    };
    let forged = Key::generate().unwrap();
    let name = "spiffe://00000000000000000000000000000007/server/1";
    let mut above = params(name);
    // A leaf's subject is empty.
    above.distinguished_name = rcgen::DistinguishedName::new();
    above.is_ca = IsCa::ExplicitNoCa;
    let issuer = Issuer::from_params(&above, leaf.key());
    let cert = params(name).signed_by(&forged, &issuer).unwrap();
    let mut chain = vec![cert.der().to_vec()];
    chain.extend_from_slice(leaf.chain());
    let verdict = judged(&chain, &root(&authority)).unwrap_err();
    assert!(matches!(verdict, Unfit::OddPath(_) | Unfit::UnknownAuthority), "{verdict}");
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    let authority = Authority::found(7, None).unwrap();
    let leaf = member(&authority, Role::Edge, 4);
    let trust = root(&authority);
    assert_eq!(judge(&[], &trust, day(), short().grace), Err(Unfit::Nothing));
    assert!(matches!(judge(&[b"no"], &trust, day(), short().grace), Err(Unfit::Unreadable(_))));
    let many = vec![leaf.chain()[0].clone(); 20];
    assert!(matches!(judged(&many, &trust), Err(Unfit::Unreadable(_))));
    let alone = &leaf.chain()[..1];
    assert_eq!(judged(alone, &trust), Err(Unfit::UnknownAuthority));
    // A certificate of the authority itself is nobody's.
    assert_eq!(judged(&leaf.chain()[1..], &trust), Err(Unfit::NoName));
    // Bent anywhere, it is never somebody else's.
    let good = judged(leaf.chain(), &trust).unwrap();
    for at in 0..leaf.chain()[0].len() {
        let mut chain = leaf.chain().to_vec();
        chain[0][at] ^= 1;
        assert!(judged(&chain, &trust).is_err_and(|error| error != Unfit::InGrace(good)), "{at}");
    }
}

#[test]
fn names_are_read_exactly() {
    let holder = Holder { cluster: 0xabc, role: Role::Relay, node: NodeId(12) };
    let uri = holder.to_string();
    assert_eq!(uri, "spiffe://00000000000000000000000000000abc/relay/12");
    assert_eq!(Holder::parse(&uri), Some(holder));
    for bad in [
        uri.replace("spiffe", "http"),
        uri.replace("relay", "voter"),
        uri.replace("12", "+12"),
        uri.replace("12", "012"),
        uri.replace("12", ""),
        uri.replace("abc", "ABC"),
        uri.replace("00abc", "abc"),
        format!("{uri}/"),
        format!("{uri}/server"),
        format!("{uri} "),
        String::new(),
    ] {
        assert_eq!(Holder::parse(&bad), None, "{bad}");
    }
}

#[test]
fn renewal_falls_into_the_second_half_of_a_life() {
    let (begins, ends) = (day(), day() + seconds(1000));
    let is_due = |after: u64, dice: f64| is_due(begins, ends, begins + seconds(after), dice);
    for (dice, at) in [(0.0, 500), (0.5, 650), (1.0, 800)] {
        assert!(!is_due(at - 1, dice) && is_due(at, dice), "{dice}");
    }
    for odd in [-1.0, 2.0, f64::INFINITY] {
        assert!(!is_due(499, odd) && is_due(800, odd), "{odd}");
    }
    assert_eq!(validity(b"nothing"), None);
}

#[test]
fn a_certificate_that_has_yet_to_begin_is_due() {
    let (begins, ends) = (day(), day() + seconds(1000));
    assert!(is_due(begins, ends, begins - seconds(1), 0.5));
    assert!(!is_due(begins, ends, begins, 0.5));
}

#[test]
fn the_defaults_are_what_the_docs_say() {
    let lifetimes = Lifetimes::default();
    assert_eq!(lifetimes.leaf, seconds(72 * 3600));
    let token = JoinToken::generate(Role::Edge, Digest([0; 32])).unwrap();
    assert_eq!(token.role(), Role::Edge);
}
