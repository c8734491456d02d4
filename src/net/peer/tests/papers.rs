//! Authorities, certificates and credentials to test with.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::model::{NodeId, Role};
use crate::net::peer::{Credentials, Judged, Peer, Purpose, Shown};

/// Who signs the certificates of one cluster.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Arc<Authority> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(2200, 1, 1);
        let key = KeyPair::generate().unwrap();
        Arc::new(Authority(CertifiedIssuer::self_signed(params, key).unwrap()))
    }

    fn der(&self) -> &[u8] {
        self.0.der()
    }

    pub fn issue(&self, id: u64, role: Role, until: SystemTime) -> Arc<Shown> {
        let mut params = CertificateParams::default();
        let uri = format!("spiffe://test/{}/{id}", role.as_str()).try_into().unwrap();
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = until.into();
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        Arc::new(Shown { chain: vec![cert.der().to_vec()], key: key.serialize_der() })
    }
}

/// Credentials whose every part a test can change.
pub struct Papers {
    pub shown: Mutex<Option<Arc<Shown>>>,
    pub gone: Mutex<BTreeSet<u64>>,
    authority: Arc<Authority>,
}

pub fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

impl Papers {
    pub fn of(authority: &Arc<Authority>, id: u64, role: Role) -> Arc<Papers> {
        Papers::showing(authority, Some(authority.issue(id, role, later())))
    }

    pub fn showing(authority: &Arc<Authority>, shown: Option<Arc<Shown>>) -> Arc<Papers> {
        let (shown, gone) = (Mutex::new(shown), Mutex::default());
        Arc::new(Papers { shown, gone, authority: authority.clone() })
    }

    pub fn throw_out(&self, id: u64) {
        self.gone.lock().unwrap().insert(id);
    }
}

impl Credentials for Papers {
    fn shown(&self, _: Option<Purpose>) -> Option<Arc<Shown>> {
        self.shown.lock().unwrap().clone()
    }

    fn judge(&self, chain: &[&[u8]]) -> Result<Judged, String> {
        let root = CertificateDer::from(self.authority.der());
        let anchor = anchor_from_trusted_cert(&root).unwrap();
        let own = CertificateDer::from(chain[0]);
        let cert = EndEntityCert::try_from(&own).map_err(|error| error.to_string())?;
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        let (now, usage) = (UnixTime::now(), KeyUsage::client_auth());
        let verify = |now| {
            cert.verify_for_usage(
                algorithms,
                std::slice::from_ref(&anchor),
                &[],
                now,
                usage,
                None,
                None,
            )
            .map(|_| ())
        };
        let late = match verify(now) {
            Ok(()) => false,
            Err(webpki::Error::CertExpired { not_after, .. })
                if now.as_secs() - not_after.as_secs() < 60 =>
            {
                verify(not_after).map_err(|error| error.to_string())?;
                true
            }
            Err(error) => return Err(error.to_string()),
        };
        let uri = cert.valid_uri_names().next().ok_or("no name")?;
        let mut parts = uri.rsplit('/');
        let id = parts.next().and_then(|id| id.parse().ok()).ok_or("no id")?;
        let role = match parts.next() {
            Some("server") => Role::Server,
            Some("relay") => Role::Relay,
            _ => Role::Edge,
        };
        let peer = Peer { id: NodeId(id), role };
        self.knows(peer).map(|()| Judged { peer, late })
    }

    fn knows(&self, peer: Peer) -> Result<(), String> {
        match self.gone.lock().unwrap().contains(&peer.id.0) {
            true => Err(format!("{} was retired", peer.id)),
            false => Ok(()),
        }
    }

    fn admits(&self, caller: Peer, purpose: Purpose) -> bool {
        purpose == Purpose::Door || caller.role == Role::Server
    }

    fn calls_on(&self, callee: Peer, purpose: Purpose) -> bool {
        callee.role == Role::Server || purpose == Purpose::Entrance
    }
}
