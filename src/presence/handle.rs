//! What the rest of the agent asks of its presence.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::cluster::ProposeError;
use crate::health::cut_note;
use crate::lifecycle::Backoff;
use crate::model::{CheckDef, Health, ServiceDef};

use super::PresenceError;
use super::plan::Wish;
use super::resting::Resting;

/// How long a clean stop waits for the cluster to know.
const WITHDRAW_DEADLINE: Duration = Duration::from_secs(5);

pub(super) type Answer = oneshot::Sender<Result<(), PresenceError>>;

#[derive(Debug)]
pub(super) enum Request {
    Wish(Wish, Answer),
    Report { check: Arc<str>, status: Health, output: String, answer: Answer },
}

/// What this agent promised to run. Every call returns once the catalog shows its effect, on this
/// agent at least. An error means that nothing was kept, here or there, except for
/// `ProposeError::Unknown`: what then turns out to be in the catalog is taken on.
#[derive(Debug, Clone)]
pub struct Presence {
    requests: mpsc::Sender<Request>,
    resting: Resting,
}

impl Presence {
    pub(super) fn new(requests: mpsc::Sender<Request>, resting: Resting) -> Presence {
        Presence { requests, resting }
    }

    /// What a check of this agent said last, where the catalog does not show it yet.
    pub fn newest_output(&self, check: &str) -> Option<String> {
        self.resting.newest(check)
    }

    /// Runs an instance on this node, as a whole: fields left out are reset, and checks of the
    /// same id keep their status. Checks that are not listed stay unless `replace_checks`.
    /// Checks with an empty id or name are given Consul's.
    ///
    /// Without a leader this fails and keeps nothing, so that an app never believes that it can
    /// be found when it cannot.
    pub async fn register(
        &self,
        def: ServiceDef,
        checks: Vec<CheckDef>,
        replace_checks: bool,
    ) -> Result<(), PresenceError> {
        self.wish(Wish::Register { def, checks, replace_checks }).await
    }

    /// Takes an instance out, with its checks. One of the config file is back at the next start.
    pub async fn deregister(&self, id: &str) -> Result<(), PresenceError> {
        self.wish(Wish::Deregister(id.into())).await
    }

    /// Adds a check to this node, or to an instance that this agent runs. An empty id is the name.
    pub async fn register_check(&self, def: CheckDef) -> Result<(), PresenceError> {
        self.wish(Wish::RegisterCheck(def)).await
    }

    pub async fn deregister_check(&self, id: &str) -> Result<(), PresenceError> {
        self.wish(Wish::DeregisterCheck(id.into())).await
    }

    /// The app's own word on a TTL check. A changed status is acknowledged once the catalog has
    /// it; a repeated one at once, as nothing is logged for it. The TTL starts anew either way,
    /// even when the cluster cannot be told and this returns an error.
    pub async fn report(
        &self,
        check: &str,
        status: Health,
        output: String,
    ) -> Result<(), PresenceError> {
        let (answer, answered) = oneshot::channel();
        let output = cut_note(output);
        self.ask(Request::Report { check: check.into(), status, output, answer }, answered).await
    }

    /// A clean stop: the node leaves all answers at once, what only this agent's config promised
    /// leaves the catalog, and API instances wait there for the next start. Nothing can be
    /// promised afterwards. Tries for 5 seconds.
    pub async fn withdraw(&self) -> Result<(), PresenceError> {
        self.end(Wish::Withdraw).await
    }

    /// The node goes out of the catalog with all that is on it, whoever put it there. Nothing can
    /// be promised afterwards. Tries for 5 seconds.
    pub async fn leave(&self) -> Result<(), PresenceError> {
        self.end(Wish::Leave).await
    }

    /// Runs the services of a config file that was read again, and no others of a config file.
    pub async fn configure(
        &self,
        services: Vec<(ServiceDef, Vec<CheckDef>)>,
    ) -> Result<(), PresenceError> {
        self.wish(Wish::Configure(services)).await
    }

    async fn end(&self, wish: Wish) -> Result<(), PresenceError> {
        let tries = async {
            let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
            loop {
                match self.wish(wish.clone()).await {
                    Err(PresenceError::Cluster(
                        ProposeError::NoLeader
                        | ProposeError::NoQuorum
                        | ProposeError::Busy(_)
                        | ProposeError::NoSpace,
                    )) => {
                        tokio::time::sleep(backoff.next_delay()).await;
                    }
                    other => return other,
                }
            }
        };
        match tokio::time::timeout(WITHDRAW_DEADLINE, tries).await {
            Ok(done) => done,
            Err(_) => {
                let late = format!("no answer within {WITHDRAW_DEADLINE:?}");
                Err(ProposeError::Unknown(late).into())
            }
        }
    }

    async fn wish(&self, wish: Wish) -> Result<(), PresenceError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Wish(wish, answer), answered).await
    }

    async fn ask(
        &self,
        request: Request,
        answered: oneshot::Receiver<Result<(), PresenceError>>,
    ) -> Result<(), PresenceError> {
        self.requests.send(request).await.map_err(|_| PresenceError::Stopped)?;
        answered.await.unwrap_or(Err(PresenceError::Stopped))
    }
}
