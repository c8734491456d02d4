//! Who this agent is to others, and whom it takes for what: its credentials, as they change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::watch;

use crate::identity::{
    self, Authority, DataDir, Founding, Holder, Identity, IdentityError, JoinToken, Key, Leaf,
    Lifetimes, Trust, Unfit, is_due, judge, judge_for_renewal,
};
use crate::lifecycle::chance;
use crate::model::{Digest, NodeId, NodeName, Role};
use crate::net::peer::{Credentials, Judged, Peer, Purpose, Shown};
use crate::replica::Replica;
use crate::state::{self, State, TokenDef};

use super::ClusterError;
use super::config::{Clock, Config};
use super::rights::{self, Kind};

pub(super) struct Badge {
    name: NodeName,
    token: Option<JoinToken>,
    /// Where keys are kept, if this agent keeps anything.
    dir: Option<DataDir>,
    /// It may become a server, which then keeps its identity by itself.
    may_serve: bool,
    replica: Replica,
    lifetimes: Lifetimes,
    clock: Clock,
    held: Mutex<Held>,
    /// Another agent has refused this one's certificate.
    unwelcome: watch::Sender<bool>,
}

/// What changes as the agent finds its place.
#[derive(Default)]
struct Held {
    /// None: a founder on its way.
    trust: Option<Trust>,
    me: Option<Peer>,
    key: Option<Key>,
    /// A member's certificate, or a candidate's.
    own: Option<Own>,
    /// Servers alone.
    authority: Option<Arc<Authority>>,
}

struct Own {
    shown: Arc<Shown>,
    begins: SystemTime,
    ends: SystemTime,
    /// By the founding key: it belongs to no cluster yet.
    candidate: bool,
}

impl Own {
    fn new(key: &Key, chain: Vec<Vec<u8>>, candidate: bool) -> Result<Own, IdentityError> {
        let copy = Key::from_pkcs8(&key.pkcs8()?)?;
        let leaf = Leaf::new(copy, chain)?;
        let (begins, ends) = (leaf.begins(), leaf.ends());
        let shown = Shown { chain: leaf.chain().to_vec(), key: leaf.key().pkcs8()?.to_vec() };
        Ok(Own { shown: Arc::new(shown), begins, ends, candidate })
    }
}

/// What a cluster answers to one who may come in.
pub(super) struct Place {
    pub cluster: u128,
    pub id: NodeId,
    pub role: Role,
    pub chain: Vec<Vec<u8>>,
    /// Servers alone: what makes them able to let others in.
    pub authority: Option<Authority>,
}

impl Badge {
    /// With what the agent has on disk, if anything.
    pub fn load(config: &Config, replica: Replica) -> Result<Arc<Badge>, ClusterError> {
        let disk = config.seams.disk.clone();
        let dir = config.data_dir.clone().map(|dir| DataDir::new(disk, dir));
        let badge = Badge {
            name: config.name.clone(),
            token: config.token.clone(),
            dir,
            may_serve: config.may_serve(),
            replica,
            lifetimes: config.lifetimes,
            clock: config.seams.clock.clone(),
            held: Mutex::default(),
            unwelcome: watch::Sender::new(false),
        };
        let known = badge.recall()?;
        if !known && !config.join.is_empty() && badge.token.is_none() {
            let why = "an agent that joins others needs a join token: `remora join-token` on a \
                       member prints one, and cluster.token_file names the file it is in";
            return Err(ClusterError::Config { key: "cluster.token_file", why: why.to_owned() });
        }
        if !known && config.expect > 1 && !badge.may_found()? {
            let why = "servers that found a cluster together need the server token made by \
                       `remora join-token --offline`, in cluster.token_file";
            return Err(ClusterError::Config { key: "cluster.expect", why: why.to_owned() });
        }
        Ok(Arc::new(badge))
    }

    /// Whether it could found a cluster that others know by their token.
    fn may_found(&self) -> Result<bool, IdentityError> {
        match &self.token {
            Some(token) => Ok(token.founding_key()?.is_some()),
            None => Ok(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// Takes up what is on disk; true if this agent belongs to a cluster already.
    fn recall(&self) -> Result<bool, ClusterError> {
        let mut held = Held {
            trust: self.token.as_ref().map(|token| Trust::Token(token.digest())),
            ..Held::default()
        };
        let identity = match &self.dir {
            Some(dir) => dir.load_identity(&self.name)?,
            None => None,
        };
        let admitted = identity.as_ref().and_then(|identity| identity.admitted);
        let known = match (&self.dir, admitted) {
            (Some(dir), Some(admitted)) if self.may_serve => {
                let Some(authority) = dir.load_authority()? else {
                    let path = dir.path().join("authority");
                    let why = "a server's authority is missing: empty the data directory, and it \
                               joins as a new server";
                    return Err(IdentityError::Content { path, why: why.to_owned() }.into());
                };
                held.trust =
                    Some(Trust::Root { root: authority.root(), cluster: authority.cluster() });
                held.me = Some(Peer { id: admitted.node, role: Role::Server });
                held.authority = Some(Arc::new(authority));
                held.key = dir.load_key()?;
                true
            }
            (Some(dir), Some(_)) => self.recall_follower(dir, identity.as_ref(), &mut held)?,
            _ => false,
        };
        *self.lock() = held;
        self.sign_own()?;
        Ok(known)
    }

    fn recall_follower(
        &self,
        dir: &DataDir,
        identity: Option<&Identity>,
        held: &mut Held,
    ) -> Result<bool, ClusterError> {
        let admitted = identity.and_then(|identity| identity.admitted);
        let root = identity.and_then(|identity| identity.root);
        let (Some(admitted), Some(root)) = (admitted, root) else {
            let path = dir.path().to_owned();
            let why = "it belongs to a server; an edge needs a data directory of its own";
            return Err(IdentityError::Content { path, why: why.to_owned() }.into());
        };
        let trust = Trust::Root { root, cluster: admitted.cluster };
        held.trust = Some(trust);
        let Some(leaf) = dir.load_leaf()? else { return Ok(false) };
        let chain: Vec<&[u8]> = leaf.chain().iter().map(Vec::as_slice).collect();
        // One that is good for nothing any more is no reason not to start.
        let judged = judge_for_renewal(&chain, &trust, self.now(), self.lifetimes.grace);
        if let Ok(identity::Judged { holder, .. }) = judged {
            held.me = Some(Peer { id: holder.node, role: holder.role });
            held.own = Some(Own::new(leaf.key(), leaf.chain().to_vec(), false)?);
        }
        held.key = dir.load_key()?;
        Ok(held.me.is_some())
    }

    pub fn dir(&self) -> Option<&DataDir> {
        self.dir.as_ref()
    }

    pub fn token(&self) -> Option<&JoinToken> {
        self.token.as_ref()
    }

    /// Who this agent is, as a member.
    pub fn me(&self) -> Option<Peer> {
        self.lock().me
    }

    /// Whether the token, or what is on disk, lets it become a server.
    pub fn lets_serve(&self) -> bool {
        match &self.token {
            Some(token) => token.role() == Role::Server,
            None => self.lock().authority.is_some(),
        }
    }

    /// Whether others can be called on to let this agent in.
    pub fn authority(&self) -> Option<Arc<Authority>> {
        self.lock().authority.clone()
    }

    pub fn lifetimes(&self) -> &Lifetimes {
        &self.lifetimes
    }

    /// The nonce of an agent that follows: the same over restarts where there is a disk.
    pub fn follower_nonce(&self, drawn: u128) -> Result<u128, ClusterError> {
        match &self.dir {
            Some(dir) if !self.may_serve => {
                let known = dir.load_identity(&self.name)?;
                let fresh = known.is_none();
                let identity = known.unwrap_or_else(|| Identity::new(self.name.clone(), drawn));
                if fresh {
                    dir.store_identity(&identity)?;
                }
                Ok(identity.nonce)
            }
            _ => Ok(drawn),
        }
    }

    /// A new cluster: its authority, durable, and this server's certificate. Gives its id.
    pub fn found(&self) -> Result<u128, ClusterError> {
        let cluster = chance::random();
        let founding = match &self.token {
            Some(token) => Founding::of(token)?,
            None => None,
        };
        let authority = Authority::found(cluster, founding.as_ref())?;
        if let Some(dir) = &self.dir {
            dir.store_authority(&authority)?;
        }
        let mut held = self.lock();
        held.trust = Some(Trust::Root { root: authority.root(), cluster });
        held.me = Some(Peer { id: NodeId(1), role: Role::Server });
        held.authority = Some(Arc::new(authority));
        drop(held);
        self.sign_own()?;
        Ok(cluster)
    }

    /// The agent's log is lost, and its keys with it: it belongs to no cluster any more, but knows
    /// which one to trust.
    pub fn forget(&self) {
        let mut held = self.lock();
        let trust = held.trust;
        *held = Held { trust, ..Held::default() };
    }

    /// What a cluster that this agent founds is to know of trust.
    pub fn founding_trust(&self) -> Result<state::Trust, IdentityError> {
        let kin = match &self.token {
            Some(token) => token.kin().map_err(|error| IdentityError::Crypto(error.to_string()))?,
            None => None,
        };
        let mut offline = Vec::new();
        for token in kin.iter().flat_map(|kin| kin.all()) {
            let public = Bytes::copy_from_slice(token.key()?.public());
            offline.push(TokenDef { id: token.id(), role: token.role(), public });
        }
        let root = self.lock().authority.as_ref().map(|authority| authority.root());
        Ok(state::Trust { root, offline })
    }

    /// The request for a certificate of this agent's key, and the key in the form of X.509. The
    /// key is durable.
    pub fn request(&self) -> Result<(Vec<u8>, Vec<u8>), IdentityError> {
        let mut held = self.lock();
        let key = self.key(&mut held)?;
        Ok((key.request()?, key.spki()))
    }

    fn key<'a>(&self, held: &'a mut Held) -> Result<&'a Key, IdentityError> {
        if held.key.is_none() {
            let known = match &self.dir {
                Some(dir) => dir.load_key()?,
                None => None,
            };
            let key = match known {
                Some(key) => key,
                None => {
                    let key = Key::generate()?;
                    if let Some(dir) = &self.dir {
                        dir.store_key(&key)?;
                    }
                    key
                }
            };
            return Ok(held.key.insert(key));
        }
        held.key.as_ref().ok_or_else(|| IdentityError::Crypto("no key".to_owned()))
    }

    /// Takes the place that a cluster gave, if all its parts belong together; durable.
    pub fn take_place(&self, place: Place) -> Result<(), IdentityError> {
        let wrong = |why: &str| IdentityError::Crypto(format!("the answer makes no sense: {why}"));
        let mut held = self.lock();
        let trust = held.trust.ok_or_else(|| wrong("nobody is trusted here"))?;
        let chain: Vec<&[u8]> = place.chain.iter().map(Vec::as_slice).collect();
        let judged = judge(&chain, &trust, self.now(), Duration::ZERO)
            .map_err(|unfit| wrong(&unfit.to_string()))?;
        let asked = Holder { cluster: place.cluster, role: place.role, node: place.id };
        let root = judged.root.ok_or_else(|| wrong("no root"))?;
        if judged.holder != asked {
            return Err(wrong("the certificate is another's"));
        }
        match &place.authority {
            Some(authority) if authority.root() != root => {
                return Err(wrong("another's authority"));
            }
            None if place.role == Role::Server => return Err(wrong("no authority for a server")),
            _ => {}
        }
        let own = Own::new(self.key(&mut held)?, place.chain.clone(), false)?;
        self.store(&place, root)?;
        held.trust = Some(Trust::Root { root, cluster: place.cluster });
        held.me = Some(Peer { id: place.id, role: place.role });
        held.authority = place.authority.map(Arc::new);
        held.own = Some(own);
        drop(held);
        self.unwelcome.send_replace(false);
        Ok(())
    }

    fn store(&self, place: &Place, root: Digest) -> Result<(), IdentityError> {
        let Some(dir) = &self.dir else { return Ok(()) };
        match &place.authority {
            Some(authority) => dir.store_authority(authority),
            // An agent that may serve joins anew at every start until it does.
            None if self.may_serve => Ok(()),
            None => {
                dir.store_chain(&place.chain)?;
                let known = dir.load_identity(&self.name)?;
                let mut identity =
                    known.unwrap_or_else(|| Identity::new(self.name.clone(), chance::random()));
                identity.admitted = Some(identity::Admitted {
                    cluster: place.cluster,
                    node: place.id,
                    founder: false,
                });
                identity.root = Some(root);
                dir.store_identity(&identity)
            }
        }
    }

    /// Takes a renewed certificate; connections made with the old one go on.
    pub fn renew(&self, chain: Vec<Vec<u8>>) -> Result<(), IdentityError> {
        let mut held = self.lock();
        let own = Own::new(self.key(&mut held)?, chain, false)?;
        let Held { trust: Some(trust), me: Some(me), .. } = &*held else {
            return Err(IdentityError::Crypto("this agent is no member yet".to_owned()));
        };
        let shown: Vec<&[u8]> = own.shown.chain.iter().map(Vec::as_slice).collect();
        let judged = judge(&shown, trust, self.now(), Duration::ZERO)
            .map_err(|unfit| IdentityError::Crypto(format!("the renewed certificate: {unfit}")))?;
        if (judged.holder.node, judged.holder.role) != (me.id, me.role) {
            return Err(IdentityError::Crypto("the renewed certificate is another's".to_owned()));
        }
        if let (Some(dir), false) = (&self.dir, self.may_serve) {
            dir.store_chain(&own.shown.chain)?;
        }
        held.own = Some(own);
        Ok(())
    }

    /// Signs what this agent can sign for itself: a server its own certificate, a candidate for
    /// founding a candidate's. False: it has to ask others.
    pub fn sign_own(&self) -> Result<bool, IdentityError> {
        let mut held = self.lock();
        let now = self.now();
        let server = held.authority.clone().zip(held.me);
        let (chain, candidate) = if let Some((authority, me)) = server {
            let request = self.key(&mut held)?.request()?;
            (authority.issue(&request, me.role, me.id, &self.lifetimes, now)?, false)
        } else if let (true, None, Some(token)) = (self.may_serve, held.me, &self.token) {
            let Some(founding) = Founding::of(token)? else { return Ok(false) };
            let key = self.key(&mut held)?;
            (founding.candidate(key, &self.lifetimes, now)?, true)
        } else {
            return Ok(false);
        };
        let own = Own::new(self.key(&mut held)?, chain, candidate)?;
        held.own = Some(own);
        Ok(true)
    }

    /// The founding key ends here, too, once its token has been retired.
    pub fn heed(&self, state: &State) -> Result<(), IdentityError> {
        if state.is_founded() && state.identity().founding.is_none() {
            return self.end_founding();
        }
        Ok(())
    }

    fn end_founding(&self) -> Result<(), IdentityError> {
        let mut held = self.lock();
        let Some(authority) = held.authority.clone().filter(|a| a.shows_founding_key()) else {
            return Ok(());
        };
        let mut without = Authority::from_bundle(&authority.to_bundle()?)?;
        without.end_founding();
        if let Some(dir) = &self.dir {
            dir.store_authority(&without)?;
        }
        held.authority = Some(Arc::new(without));
        drop(held);
        self.sign_own().map(|_| ())
    }

    /// When the own certificate ends; none if there is none.
    pub fn ends(&self) -> Option<SystemTime> {
        self.lock().own.as_ref().map(|own| own.ends)
    }

    /// Whether it is to be renewed now, by a throw of dice in [0, 1).
    pub fn is_due(&self, dice: f64) -> bool {
        let now = self.now();
        self.lock().own.as_ref().is_some_and(|own| is_due(own.begins, own.ends, now, dice))
    }

    /// Returns once others do not take this agent's certificate any more.
    pub async fn unwelcome(&self) {
        let mut unwelcome = self.unwelcome.subscribe();
        // The sender lives as long as this.
        let _ = unwelcome.wait_for(|unwelcome| *unwelcome).await;
    }

    /// The certificate is good for nothing any more, or others do not take it.
    fn is_spent(&self, held: &Held) -> bool {
        let over = held.own.as_ref().is_none_or(|own| {
            self.now().duration_since(own.ends).unwrap_or_default() > self.lifetimes.grace
        });
        over || *self.unwelcome.borrow() || held.me.is_some_and(|me| self.in_table(me).is_err())
    }

    /// What the member table says. An agent behind the times does not refuse newer members.
    fn in_table(&self, peer: Peer) -> Result<(), String> {
        let state = self.replica.snapshot();
        if !state.is_founded() {
            return Ok(());
        }
        match state.member(peer.id) {
            Some(member) if member.role == peer.role => Ok(()),
            Some(member) => {
                let (was, is) = (member.role.as_str(), peer.role.as_str());
                Err(format!("{} was admitted as {was}, and comes as {is}", peer.id))
            }
            None if peer.id.0 >= state.identity().next_node => Ok(()),
            None => Err(format!("member {} was retired", peer.id)),
        }
    }
}

impl Credentials for Badge {
    fn shown(&self, calling: Option<Purpose>) -> Option<Arc<Shown>> {
        let held = self.lock();
        let own = held.own.as_ref()?;
        // Who wants to be let in comes as a stranger: a candidate's certificate means nothing to
        // a cluster, and one that is not taken any more would only be refused.
        if calling == Some(Purpose::Entrance) && (own.candidate || self.is_spent(&held)) {
            return None;
        }
        Some(own.shown.clone())
    }

    fn judge(&self, chain: &[&[u8]]) -> Result<Judged, String> {
        let trust = self.lock().trust.ok_or("this agent trusts nobody yet")?;
        let (judged, late) = match judge(chain, &trust, self.now(), self.lifetimes.grace) {
            Ok(judged) => (judged, false),
            Err(Unfit::InGrace(judged)) => (judged, true),
            Err(unfit) => return Err(unfit.to_string()),
        };
        let peer = Peer { id: judged.holder.node, role: judged.holder.role };
        self.knows(peer)?;
        Ok(Judged { peer, late })
    }

    fn knows(&self, peer: Peer) -> Result<(), String> {
        match Kind::of(Some(peer)) {
            // Judged by the founding key, or not at all.
            Kind::Candidate => Ok(()),
            _ => self.in_table(peer),
        }
    }

    fn admits(&self, caller: Peer, purpose: Purpose) -> bool {
        rights::may_open(Kind::of(Some(caller)), purpose)
    }

    fn calls_on(&self, callee: Peer, purpose: Purpose) -> bool {
        rights::may_serve(Kind::of(Some(callee)), purpose)
    }

    fn not_taken(&self) {
        // A server that was retired does not come back by itself.
        if self.lock().me.is_some_and(|me| me.role.follows()) {
            self.unwelcome.send_replace(true);
        }
    }
}
