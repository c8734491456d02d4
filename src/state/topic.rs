//! What can be waited for, and the one way in which an index moves.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::model::{Folded, Index};

use super::keys::KeyRange;

/// A thing that can change. Whoever waits for it is woken when, and only when, the index that
/// answers for it moves. (Two indexes also move in silence, as `/v1/kv` and `/v1/catalog` of
/// Consul have it: that of a thing which is absent and stays so, and that of a prefix when the
/// deletion floor rises. Neither hides a change from who waits already.)
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// `State::key_index`.
    Key(Bytes),
    /// Any key that starts with it; empty: any key. `State::prefix_index`.
    Prefix(Bytes),
    /// Any key of that range, as etcd has it; it has no index, for its watchers go by revisions.
    Range(KeyRange),
    /// A service's instances, their nodes and all checks that count for them.
    /// `State::service_health_index`.
    Service(Folded),
    /// A service's instances and their nodes. `State::service_catalog_index`.
    ServiceCatalog(Folded),
    /// The checks of a service's instances, without those of their nodes.
    /// `State::service_checks_index`.
    ServiceChecks(Folded),
    /// The list of services with their tags. `State::services_index`.
    Services,
    /// Any instance, or the row of a node under one. `State::instances_index`.
    Instances,
    /// A node with all that is on it. `State::node_index`.
    Node(Folded),
    /// A node's own row and its instances. `State::node_catalog_index`.
    NodeCatalog(Folded),
    /// Any node's own row. `State::nodes_index`.
    Nodes,
    /// Any check. `State::checks_index`.
    Checks,
    /// Whose silence counts, and who is held to be silent: `State::presences`, but for edges
    /// without a node, which `Topic::Members` tells of.
    Presences,
    /// The members of the cluster and its settings.
    Members,
    /// The leases that are granted, not the keys on them.
    Leases,
    /// The sessions. `State::sessions_index`.
    Sessions,
    /// The prepared queries. `State::queries_index`.
    Queries,
    /// The events that were fired; they have no index of ours.
    Events,
    /// Tokens, policies and roles. `Acl::index`.
    Acl,
    /// Whatever changes.
    All,
}

/// Moves indexes and notes whose they are: the one cannot happen without the other.
#[derive(Debug, Default)]
pub(super) struct Touch {
    /// The index that the entry in hand gives to what it changes.
    pub(super) index: Index,
    pub(super) topics: BTreeSet<Topic>,
}

impl Touch {
    pub(super) fn at(index: Index) -> Touch {
        Touch { index, topics: BTreeSet::new() }
    }

    pub(super) fn mark(&mut self, index: &mut Index, topic: Topic) {
        *index = self.index;
        self.topics.insert(topic);
    }
}
