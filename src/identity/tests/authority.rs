//! The authority: what it issues to whom, and what it is after it was kept on a disk.

use rcgen::{CertificateParams, IsCa, KeyPair, SanType};

use super::{day, member, short, slices};
use crate::identity::{
    Authority, Founding, IdentityError, Key, Leaf, Offline, Trust, judge, requested_spki,
};
use crate::model::{NodeId, Role};

fn founded() -> Authority {
    let tokens = Offline::generate().unwrap();
    let founding = Founding::of(&tokens.server).unwrap().unwrap();
    Authority::found(u128::MAX - 3, Some(&founding)).unwrap()
}

#[test]
fn a_bundle_comes_back_whole() {
    for shows in [true, false] {
        let mut authority = founded();
        if !shows {
            authority.end_founding();
        }
        let bundle = authority.to_bundle().unwrap();
        let back = Authority::from_bundle(&bundle).unwrap();
        assert_eq!(back.to_bundle().unwrap(), bundle);
        assert_eq!(back.cluster(), authority.cluster());
        assert_eq!(back.root(), authority.root());
        assert_eq!(back.cluster_key(), authority.cluster_key());
        assert_eq!(back.shows_founding_key(), shows);
        assert_ne!(**back.cluster_key(), [0; 32]);
        let leaf = member(&back, Role::Server, 9);
        let trust = Trust::Root { root: authority.root(), cluster: authority.cluster() };
        judge(&slices(leaf.chain()), &trust, day(), short().grace).unwrap();
    }
}

#[test]
fn a_bundle_that_was_tampered_with_is_refused() {
    let authority = founded();
    let bundle = authority.to_bundle().unwrap();
    for at in (0..bundle.len()).step_by(7) {
        let mut bent = bundle.to_vec();
        bent[at] ^= 0x10;
        Authority::from_bundle(&bent).unwrap_err();
    }
    for len in (0..bundle.len()).step_by(41) {
        Authority::from_bundle(&bundle[..len]).unwrap_err();
    }
    let text = Authority::from_bundle(&[9; 100]).unwrap_err().to_string();
    assert!(text.contains("version 9"), "{text}");
}

/// A right checksum is no excuse: parts of two authorities do not hold together.
#[test]
fn a_bundle_of_two_authorities_is_refused() {
    let (one, other) = (Authority::found(1, None).unwrap(), Authority::found(1, None).unwrap());
    let (one, other) = (one.to_bundle().unwrap(), other.to_bundle().unwrap());
    // The root's private key stands behind version, cluster and its own length.
    let key = 4..4 + Key::generate().unwrap().pkcs8().unwrap().len();
    let mut mixed = one[..one.len() - 32].to_vec();
    mixed[key.clone()].copy_from_slice(&other[key]);
    let checksum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &mixed);
    mixed.extend_from_slice(checksum.as_ref());
    let text = Authority::from_bundle(&mixed).unwrap_err().to_string();
    assert!(!text.contains("is damaged"), "the checksum was right: {text}");
}

#[test]
fn a_request_gets_a_certificate_for_its_key_and_nothing_else_it_wishes() {
    let authority = founded();
    let greedy = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    let wish = "spiffe://00000000000000000000000000000001/server/1";
    params.subject_alt_names.push(SanType::URI(wish.try_into().unwrap()));
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let request = params.serialize_request(&greedy).unwrap();
    let chain = authority.issue(request.der(), Role::Edge, NodeId(5), &short(), day()).unwrap();
    let trust = Trust::Root { root: authority.root(), cluster: authority.cluster() };
    let holder = judge(&slices(&chain), &trust, day(), short().grace).unwrap().holder;
    assert_eq!((holder.role, holder.node), (Role::Edge, NodeId(5)));
    let text = String::from_utf8_lossy(&chain[0]).into_owned();
    assert!(!text.contains("evil.example") && !text.contains(wish), "{text}");
    Leaf::new(Key::from_pkcs8(&greedy.serialize_der()).unwrap(), chain).unwrap();
}

#[test]
fn a_request_that_its_key_did_not_sign_is_refused() {
    let authority = founded();
    let key = Key::generate().unwrap();
    let request = key.request().unwrap();
    assert_eq!(requested_spki(&request).unwrap(), key.spki());
    let issue = |request: &[u8]| authority.issue(request, Role::Edge, NodeId(5), &short(), day());
    issue(&request).unwrap();
    for at in 0..request.len() {
        let mut bent = request.clone();
        bent[at] ^= 1;
        // What is not signed (how the signature is written) may bend, but never the key.
        let is_same = || requested_spki(&bent).unwrap() == key.spki();
        assert!(issue(&bent).is_err() || is_same(), "byte {at}");
    }
    for bad in [&b""[..], b"nonsense", &[0x30; 5000]] {
        assert!(matches!(issue(bad), Err(IdentityError::Request(_))));
    }
    let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let request = CertificateParams::default().serialize_request(&other).unwrap();
    let error = issue(request.der()).unwrap_err().to_string();
    assert!(error.contains("P-256"), "{error}");
}

#[test]
fn a_chain_belongs_to_its_key() {
    let leaf = member(&founded(), Role::Edge, 5);
    let other = Key::generate().unwrap();
    Leaf::new(other, leaf.chain().to_vec()).unwrap_err();
    Leaf::new(Key::generate().unwrap(), Vec::new()).unwrap_err();
    let key = Key::from_pkcs8(&leaf.key().pkcs8().unwrap()).unwrap();
    let back = Leaf::new(key, leaf.chain().to_vec()).unwrap();
    assert_eq!((back.begins(), back.ends()), (leaf.begins(), leaf.ends()));
}
