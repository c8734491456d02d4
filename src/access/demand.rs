//! What a path of the HTTP APIs takes of who asks.

use super::rule::{Level, Resource};

/// What there is to guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// Keys, and what hangs on them: leases, sessions, locks, watches.
    Keys,
    /// Nodes, services, checks, queries, events: nothing that users and roles know of.
    Catalog,
    /// Members, snapshots, settings, what agents are told to do, users, tokens.
    Operator,
}

impl Area {
    pub fn of(resource: Resource, level: Level) -> Area {
        match resource {
            Resource::Key | Resource::Session => Area::Keys,
            Resource::Agent if level == Level::Write => Area::Operator,
            Resource::Acl
            | Resource::Keyring
            | Resource::Mesh
            | Resource::Operator
            | Resource::Peering => Area::Operator,
            Resource::Agent
            | Resource::Event
            | Resource::Node
            | Resource::Query
            | Resource::Service => Area::Catalog,
        }
    }
}

/// Whose name a right is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// What stands behind the path, or nothing where the resource has no names.
    Path,
    /// This agent's node.
    Agent,
    /// Found in what is sent, or in what the cluster knows of it: judged where that is read.
    Message,
}

/// What a path takes, for one way of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Nothing, whatever token is shown.
    Open,
    /// Nothing, but who shows a token shows one that is good.
    Known,
    /// The same, and that much is shown as who asks may read.
    Rows(Resource),
    Takes(Resource, Level, Of),
    /// What an operator does: the role root, or a token that may make tokens.
    Management,
}
