//! The cluster's authority: founded once, kept by each server, issues the certificates of members.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SanType, SerialNumber, date_time_ymd,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::model::{Digest, NodeId, Role, limits};
use crate::net::pki_types::CertificateSigningRequestDer;

use super::key::{Key, random, sha256};
use super::spiffe::Holder;
use super::token::JoinToken;
use super::{IdentityError, Lifetimes, Trust, judge};

/// The first byte of a bundle.
const VERSION: u8 = 1;
const CHECKSUM: usize = 32;

/// The founding key and its certificate: before there is a cluster, it vouches for candidates.
pub struct Founding {
    key: Key,
    cert: Vec<u8>,
}

impl Founding {
    /// None: the token was not made offline, or is no server's.
    pub fn of(token: &JoinToken) -> Result<Option<Founding>, IdentityError> {
        let Some(key) = token.founding_key()? else { return Ok(None) };
        let cert = certify(&founding_params(), &key, &founding_params(), &key)?;
        Ok(Some(Founding { key, cert }))
    }

    /// What a candidate shows: a certificate of `key` for a server of no cluster, with id 0.
    pub fn candidate(
        &self,
        key: &Key,
        lifetimes: &Lifetimes,
        now: SystemTime,
    ) -> Result<Vec<Vec<u8>>, IdentityError> {
        let holder = Holder { cluster: 0, role: Role::Server, node: NodeId(0) };
        let params = leaf_params(&holder, lifetimes, now)?;
        let leaf = certify(&params, key, &founding_params(), &self.key)?;
        Ok(vec![leaf, self.cert.clone()])
    }
}

/// What makes a server able to let others in. It never enters log, snapshot or backup.
pub struct Authority {
    cluster: u128,
    root: Key,
    root_cert: Vec<u8>,
    signing: Key,
    signing_cert: Vec<u8>,
    founding: Option<Founded>,
    cluster_key: Zeroizing<[u8; 32]>,
}

/// What is shown besides, while the founding key counts.
struct Founded {
    /// The root's certificate by the founding key.
    cross: Vec<u8>,
    cert: Vec<u8>,
}

impl Authority {
    /// A new cluster's. `founding` vouches for it to agents that know an offline token alone.
    pub fn found(cluster: u128, founding: Option<&Founding>) -> Result<Authority, IdentityError> {
        let (root, signing) = (Key::generate()?, Key::generate()?);
        let (above, below) = (root_params(cluster), signing_params(cluster));
        let founded = match founding {
            Some(Founding { key, cert }) => {
                let cross = certify(&above, &root, &founding_params(), key)?;
                Some(Founded { cross, cert: cert.clone() })
            }
            None => None,
        };
        let mut cluster_key = Zeroizing::new([0; 32]);
        random(cluster_key.as_mut_slice())?;
        Ok(Authority {
            cluster,
            root_cert: certify(&above, &root, &above, &root)?,
            signing_cert: certify(&below, &signing, &above, &root)?,
            root,
            signing,
            founding: founded,
            cluster_key,
        })
    }

    pub fn cluster(&self) -> u128 {
        self.cluster
    }

    /// What members pin, and what tokens made by this cluster name.
    pub fn root(&self) -> Digest {
        self.root.digest()
    }

    /// For sealing secrets that the state holds.
    pub fn cluster_key(&self) -> &Zeroizing<[u8; 32]> {
        &self.cluster_key
    }

    /// Whether agents that know an offline token alone are shown a way up to its digest.
    pub fn shows_founding_key(&self) -> bool {
        self.founding.is_some()
    }

    /// From now on the founding key is shown no more: its token has been retired.
    pub fn end_founding(&mut self) {
        self.founding = None;
    }

    /// What stands above every leaf: signing, root, and while it counts the founding key.
    fn above(&self) -> Vec<Vec<u8>> {
        let mut chain = vec![self.signing_cert.clone(), self.root_cert.clone()];
        if let Some(Founded { cross, cert }) = &self.founding {
            chain.extend([cross.clone(), cert.clone()]);
        }
        chain
    }

    /// Issues a certificate for the key in `request` (PKCS#10, DER); whatever else it asks for is
    /// ignored. Gives the whole chain, leaf first.
    pub fn issue(
        &self,
        request: &[u8],
        role: Role,
        node: NodeId,
        lifetimes: &Lifetimes,
        now: SystemTime,
    ) -> Result<Vec<Vec<u8>>, IdentityError> {
        let key = requested_key(request)?;
        let holder = Holder { cluster: self.cluster, role, node };
        let params = leaf_params(&holder, lifetimes, now)?;
        let mut chain = vec![certify(&params, &key, &signing_params(self.cluster), &self.signing)?];
        chain.extend(self.above());
        Ok(chain)
    }

    /// For the server's own disk, and for a new server's, inside TLS.
    pub fn to_bundle(&self) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
        let failed = |error| IdentityError::crypto("the authority cannot be written", error);
        let (root_key, signing_key) = (self.root.pkcs8()?, self.signing.pkcs8()?);
        let bundle = Bundle {
            cluster: self.cluster,
            root_key: &root_key,
            root_cert: &self.root_cert,
            signing_key: &signing_key,
            signing_cert: &self.signing_cert,
            founding: self.founding.as_ref().map(|f| (f.cross.as_slice(), f.cert.as_slice())),
            cluster_key: *self.cluster_key,
        };
        // Never grows, so no copy is left behind.
        let mut bytes = Zeroizing::new(vec![0; limits::AUTHORITY]);
        bytes.splice(..1, [VERSION]);
        let body = bytes.get_mut(1..).unwrap_or_default();
        let len = 1 + postcard::to_slice(&bundle, body).map_err(failed)?.len();
        bytes.truncate(len);
        let checksum = sha256(&bytes);
        bytes.extend_from_slice(&checksum);
        Ok(bytes)
    }

    /// Reads a bundle, and sees to it that its parts belong together.
    pub fn from_bundle(bytes: &[u8]) -> Result<Authority, IdentityError> {
        let damaged = |why: &str| IdentityError::Crypto(format!("the authority bundle {why}"));
        let at = bytes.len().saturating_sub(CHECKSUM);
        let (content, checksum) = bytes.split_at(at);
        let (version, body) = content.split_first().ok_or_else(|| damaged("is cut short"))?;
        if *version != VERSION {
            return Err(damaged(&format!("has version {version}, unknown to this release")));
        }
        if sha256(content) != checksum {
            return Err(damaged("is damaged"));
        }
        let bundle: Bundle<'_> =
            postcard::from_bytes(body).map_err(|error| damaged(&error.to_string()))?;
        let authority = Authority {
            cluster: bundle.cluster,
            root: Key::from_pkcs8(bundle.root_key)?,
            root_cert: bundle.root_cert.to_vec(),
            signing: Key::from_pkcs8(bundle.signing_key)?,
            signing_cert: bundle.signing_cert.to_vec(),
            founding: bundle
                .founding
                .map(|(cross, cert)| Founded { cross: cross.to_vec(), cert: cert.to_vec() }),
            cluster_key: Zeroizing::new(bundle.cluster_key),
        };
        authority.try_out().map_err(|why| damaged(&format!("does not hold together: {why}")))?;
        Ok(authority)
    }

    /// Whether what it issues leads up to its root.
    fn try_out(&self) -> Result<(), String> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let lifetimes = Lifetimes::default();
        let request = self.signing.request().map_err(|error| error.to_string())?;
        let chain = self
            .issue(&request, Role::Server, NodeId(1), &lifetimes, now)
            .map_err(|error| error.to_string())?;
        let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        let trust = Trust::Root { root: self.root(), cluster: self.cluster };
        judge(&chain, &trust, now, Duration::ZERO).map_err(|error| error.to_string())?;
        Ok(())
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({:032x}, root {})", self.cluster, self.root())
    }
}

#[derive(Serialize, Deserialize)]
struct Bundle<'a> {
    cluster: u128,
    root_key: &'a [u8],
    root_cert: &'a [u8],
    signing_key: &'a [u8],
    signing_cert: &'a [u8],
    #[serde(borrow)]
    founding: Option<(&'a [u8], &'a [u8])>,
    cluster_key: [u8; 32],
}

/// The public key that a request asks a certificate for, in the form of X.509. The request must
/// be signed by it.
pub fn requested_spki(request: &[u8]) -> Result<Vec<u8>, IdentityError> {
    requested_key(request).map(|key| key.subject_public_key_info())
}

fn requested_key(request: &[u8]) -> Result<rcgen::PublicKey, IdentityError> {
    let refused = |why: String| IdentityError::Request(why);
    if request.len() > limits::CERTIFICATE {
        return Err(refused(format!("it has {} bytes", request.len())));
    }
    let der = CertificateSigningRequestDer::from(request);
    let params = CertificateSigningRequestParams::from_der(&der)
        .map_err(|error| refused(error.to_string()))?;
    let key = params.public_key;
    // An uncompressed point.
    let is_p256 = PublicKeyData::algorithm(&key) == &PKCS_ECDSA_P256_SHA256
        && key.der_bytes().len() == 65
        && key.der_bytes().first() == Some(&4);
    if is_p256 { Ok(key) } else { Err(refused("its key is not on P-256".to_owned())) }
}

fn certify(
    params: &CertificateParams,
    key: &impl PublicKeyData,
    issuer: &CertificateParams,
    issuer_key: &Key,
) -> Result<Vec<u8>, IdentityError> {
    let issued = params
        .signed_by(key, &Issuer::from_params(issuer, issuer_key))
        .map_err(|error| IdentityError::crypto("no certificate can be issued", error))?;
    Ok(issued.der().to_vec())
}

/// The keys above the leaves have no life of their own to be told by dates: what is trusted is
/// pinned. So they begin long ago and end where X.509 ends (RFC 5280, 4.1.2.5), and a cluster
/// that was founded by a wrong clock lives.
fn key_params(name: String, below: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn founding_params() -> CertificateParams {
    key_params("remora founding key".to_owned(), 2)
}

fn root_params(cluster: u128) -> CertificateParams {
    key_params(format!("remora root {cluster:032x}"), 1)
}

fn signing_params(cluster: u128) -> CertificateParams {
    key_params(format!("remora signing {cluster:032x}"), 0)
}

fn leaf_params(
    holder: &Holder,
    lifetimes: &Lifetimes,
    now: SystemTime,
) -> Result<CertificateParams, IdentityError> {
    let failed = |why: &str| IdentityError::Crypto(format!("no certificate can be issued: {why}"));
    let begins = now.checked_sub(lifetimes.skew).ok_or_else(|| failed("the clock is at 0"))?;
    let ends = now.checked_add(lifetimes.leaf).ok_or_else(|| failed("the clock is at its end"))?;
    let mut serial = [0; 16];
    random(&mut serial)?;
    // Positive, and of a fixed length.
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    let name = holder.to_string().try_into();
    let name = name.map_err(|error: rcgen::Error| failed(&error.to_string()))?;
    let mut params = CertificateParams::default();
    params.not_before = begins.into();
    params.not_after = ends.into();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(name)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}
