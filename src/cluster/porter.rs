//! Stands before the desk: who may ask what is decided here, before anything is looked at.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use crate::model::{NodeId, Role};
use crate::net::peer::{Caller, Purpose, Refused};
use crate::replica::Replica;

use super::asks::{self, Ask, Introduction, Reply};
use super::badge::Badge;
use super::desk::Desk;
use super::registrar::Registrar;
use super::rights::{may_ask, may_register};

pub(super) struct Porter {
    desk: Arc<Desk>,
    registrar: Arc<Registrar>,
    replica: Replica,
}

type Answer = BoxFuture<'static, Result<Bytes, Refused>>;

impl Porter {
    pub fn new(desk: Arc<Desk>, badge: Arc<Badge>, replica: Replica) -> Porter {
        Porter { desk, registrar: Arc::new(Registrar::new(badge)), replica }
    }

    /// Answers what was asked on a connection for `purpose`.
    pub fn answer(&self, caller: Caller, purpose: Purpose, body: &[u8]) -> Answer {
        let allowed = asks::decode(body).and_then(|ask: Ask| {
            may_ask(caller.peer, purpose, &ask).map_err(Refused)?;
            self.may_register(caller, &ask).map(|()| ask)
        });
        let ask = match allowed {
            Ok(ask) => ask,
            Err(refused) => return ready(Err(refused)).boxed(),
        };
        match ask {
            Ask::Who(other) => self.introduce(caller, other),
            Ask::Join(petition) => {
                let server = match self.desk.server() {
                    Ok(server) => server.clone(),
                    Err(refused) => return ready(Err(refused)).boxed(),
                };
                let registrar = self.registrar.clone();
                let admit = async move {
                    let reply = registrar.admit(&server, caller, *petition).await;
                    Ok(asks::encode(&reply))
                };
                admit.boxed()
            }
            Ask::Renew { request } => {
                ready(Ok(asks::encode(&self.registrar.renew(caller, &request)))).boxed()
            }
            ask => self.desk.answer(ask),
        }
    }

    fn may_register(&self, caller: Caller, ask: &Ask) -> Result<(), Refused> {
        let Ask::Propose { command, .. } = ask else { return Ok(()) };
        let state = self.replica.snapshot();
        let member = caller.peer.and_then(|peer| state.member(peer.id));
        let own = member.map(|member| member.name.folded());
        may_register(caller.peer, own.as_ref(), command).map_err(Refused)
    }

    /// What others say of themselves is believed of servers that have shown who they are. Who is
    /// nobody yet is told no more than what it needs to find its place.
    fn introduce(&self, caller: Caller, mut other: Introduction) -> Answer {
        let is_server = caller.peer.is_some_and(|peer| {
            peer.role == Role::Server && peer.id != NodeId(0) && peer.id == other.id
        });
        if !is_server {
            other.cluster = 0;
            other.id = NodeId(0);
        }
        let answer = self.desk.answer(Ask::Who(other));
        if caller.peer.is_some() || self.desk.points_on() {
            return answer;
        }
        let discreet = async move {
            let answer = answer.await?;
            match asks::decode(&answer)? {
                Reply::Who(mut me) => {
                    me.others.clear();
                    Ok(asks::encode(&Reply::Who(me)))
                }
                _ => Ok(answer),
            }
        };
        discreet.boxed()
    }

    /// A message of Raft: only from the server that it says it comes from.
    pub fn take(&self, caller: Caller, body: Bytes) -> Answer {
        match caller.peer {
            Some(peer) if peer.role == Role::Server => self.desk.take(peer.id, body),
            _ => ready(Err(Refused("only servers talk Raft".to_owned()))).boxed(),
        }
    }
}
