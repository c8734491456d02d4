//! Where the servers are reached: the member table, and what they said of themselves since.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use crate::model::{NodeId, Role, limits};
use crate::replica::Replica;

/// An address heard from its owner is newer than the table's, until the table changes.
#[derive(Debug, Clone, Copy)]
struct Heard {
    addr: SocketAddr,
    /// Said by the server itself, not by another about it.
    first_hand: bool,
    /// What the table said then.
    instead_of: Option<SocketAddr>,
}

pub(super) struct Roster {
    replica: Replica,
    heard: Mutex<BTreeMap<NodeId, Heard>>,
}

impl Roster {
    pub fn new(replica: Replica) -> Roster {
        Roster { replica, heard: Mutex::default() }
    }

    fn row(&self, id: NodeId) -> Option<SocketAddr> {
        self.replica.snapshot().member(id).map(|member| member.peer_addr)
    }

    pub fn addr(&self, id: NodeId) -> Option<SocketAddr> {
        let row = self.row(id);
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        match heard.get(&id) {
            Some(heard) if heard.instead_of == row => Some(heard.addr),
            _ => row,
        }
    }

    /// A server says where it is, or another says where it has it from.
    pub fn hear(&self, id: NodeId, addr: SocketAddr, first_hand: bool) {
        let instead_of = self.row(id);
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let known = heard.get(&id).filter(|known| known.instead_of == instead_of);
        if known.is_some_and(|known| known.first_hand && !first_hand) {
            return;
        }
        if instead_of == Some(addr) {
            heard.remove(&id);
        } else if heard.len() < limits::SERVERS || heard.contains_key(&id) {
            heard.insert(id, Heard { addr, first_hand, instead_of });
        }
    }

    /// Where all servers are, as far as is known, but `me`.
    pub fn others(&self, me: NodeId) -> Vec<(NodeId, SocketAddr)> {
        let state = self.replica.snapshot();
        let servers = state.members().filter(|m| m.role == Role::Server && m.id != me);
        servers.filter_map(|m| Some((m.id, self.addr(m.id)?))).collect()
    }
}
