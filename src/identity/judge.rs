//! Judges the certificates that another agent shows. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use webpki::{EndEntityCert, Error, KeyUsage, VerifiedPath, anchor_from_trusted_cert};

use crate::model::{Digest, limits};
use crate::net::pki_types::{CertificateDer, UnixTime};
use crate::net::validity;

use super::key::digest_of;
use super::spiffe::Holder;

/// What a chain must lead up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// A joiner's: the key that its token names, a root or a founding key, of any cluster.
    Token(Digest),
    /// A member's: its cluster's root.
    Root { root: Digest, cluster: u128 },
}

/// What a chain that is in order says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    pub holder: Holder,
    /// The last second in which the leaf is good.
    pub ends: SystemTime,
    /// The cluster's root, for a joiner to pin. None: the holder is a candidate for founding one.
    pub root: Option<Digest>,
}

/// Why a chain is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("no certificate was shown")]
    Nothing,
    #[error("the certificates shown cannot be read: {0}")]
    Unreadable(String),
    #[error("the certificates do not lead up to the authority that is trusted here")]
    UnknownAuthority,
    #[error("the certificate is not valid yet: are the clocks right?")]
    NotYetValid,
    #[error("the certificate has expired: it is good for nothing but being renewed")]
    InGrace(Judged),
    #[error("the certificate has expired, and too long ago to be renewed")]
    Expired,
    #[error("the certificate names no member of a cluster")]
    NoName,
    #[error("the certificate is of another cluster ({theirs:032x}, not {ours:032x})")]
    WrongCluster { theirs: u128, ours: u128 },
    #[error("the certificate was not issued the way this cluster does: {0}")]
    OddPath(&'static str),
}

/// Judges a chain (DER, leaf first) at the time `now`. `grace`: how long a leaf that has ended is
/// told apart (`Unfit::InGrace`) from one that is good for nothing.
pub fn judge(
    chain: &[&[u8]],
    trust: &Trust,
    now: SystemTime,
    grace: Duration,
) -> Result<Judged, Unfit> {
    let (&leaf, above) = chain.split_first().ok_or(Unfit::Nothing)?;
    if chain.len() > limits::CHAIN || chain.iter().any(|der| der.len() > limits::CERTIFICATE) {
        return Err(Unfit::Unreadable("too many or too large".to_owned()));
    }
    let (begins, ends) =
        validity(leaf).ok_or_else(|| Unfit::Unreadable("the leaf has no dates".to_owned()))?;
    if now < begins {
        return Err(Unfit::NotYetValid);
    }
    let late = now.duration_since(ends).unwrap_or(Duration::ZERO);
    // Dates count in whole seconds, the last one included.
    let expired = late >= Duration::from_secs(1);
    if expired && late > grace {
        return Err(Unfit::Expired);
    }
    let (holder, root) = verify(leaf, above, trust, if expired { ends } else { now })?;
    let judged = Judged { holder, ends, root };
    if expired { Err(Unfit::InGrace(judged)) } else { Ok(judged) }
}

/// The same, where the holder wants nothing but a new certificate: one in grace will do.
pub fn judge_for_renewal(
    chain: &[&[u8]],
    trust: &Trust,
    now: SystemTime,
    grace: Duration,
) -> Result<Judged, Unfit> {
    match judge(chain, trust, now, grace) {
        Err(Unfit::InGrace(judged)) => Ok(judged),
        verdict => verdict,
    }
}

/// Everything but the dates.
fn verify(
    leaf: &[u8],
    above: &[&[u8]],
    trust: &Trust,
    at: SystemTime,
) -> Result<(Holder, Option<Digest>), Unfit> {
    let trusted = match trust {
        Trust::Token(digest) => digest,
        Trust::Root { root, .. } => root,
    };
    let above: Vec<CertificateDer<'_>> =
        above.iter().map(|der| CertificateDer::from(*der)).collect();
    let mut anchors = Vec::new();
    for der in &above {
        let cert = EndEntityCert::try_from(der).map_err(unreadable)?;
        if digest_of(&cert.subject_public_key_info()) == *trusted {
            anchors.push(anchor_from_trusted_cert(der).map_err(unreadable)?);
        }
    }
    let der = CertificateDer::from(leaf);
    let cert = EndEntityCert::try_from(&der).map_err(unreadable)?;
    let at = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap_or_default());
    let usage = KeyUsage::client_auth();
    let algs = &[webpki::aws_lc_rs::ECDSA_P256_SHA256];
    let path = cert
        .verify_for_usage(algs, &anchors, &above, at, usage, None, None)
        .map_err(of_the_library)?;
    let mut names = path.end_entity().valid_uri_names();
    let holder = match (names.next(), names.next()) {
        (Some(name), None) => Holder::parse(name).ok_or(Unfit::NoName)?,
        _ => return Err(Unfit::NoName),
    };
    let root = root_of(&path, &holder, trust)?;
    Ok((holder, root))
}

/// The root on a path. There are three shapes: leaf, signing, root; the same and the founding key
/// above it; a candidate's leaf right below the founding key.
fn root_of(
    path: &VerifiedPath<'_>,
    holder: &Holder,
    trust: &Trust,
) -> Result<Option<Digest>, Unfit> {
    let mut issuers: Vec<Digest> = path
        .intermediate_certificates()
        .map(|cert| digest_of(&cert.subject_public_key_info()))
        .collect();
    issuers.push(digest_of(&webpki::spki_for_anchor(path.anchor())));
    if let Trust::Root { cluster, .. } = trust {
        if issuers.len() != 2 {
            return Err(Unfit::OddPath("not by a signing key below the root"));
        }
        if holder.cluster != *cluster {
            return Err(Unfit::WrongCluster { theirs: holder.cluster, ours: *cluster });
        }
    }
    let is_candidate = holder.cluster == 0;
    match (issuers.as_slice(), is_candidate) {
        ([_founding], true) => Ok(None),
        ([_, root] | [_, root, _], false) => Ok(Some(*root)),
        ([_founding], false) => Err(Unfit::OddPath("a member's, but by no signing key")),
        _ => Err(Unfit::OddPath("a candidate's, but not by the founding key")),
    }
}

fn unreadable(error: Error) -> Unfit {
    Unfit::Unreadable(error.to_string())
}

fn of_the_library(error: Error) -> Unfit {
    match error {
        Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => Unfit::UnknownAuthority,
        Error::CertNotValidYet { .. } => Unfit::NotYetValid,
        Error::CertExpired { .. } => Unfit::Expired,
        Error::CaUsedAsEndEntity => Unfit::NoName,
        Error::EndEntityUsedAsCa | Error::PathLenConstraintViolated => {
            Unfit::OddPath("by a key that may not issue")
        }
        error => Unfit::Unreadable(error.to_string()),
    }
}
