//! Which instances of a service a question wants, and in which order.

use crate::model::Folded;
use crate::state::{InstanceView, NodeRow};

use super::call::Call;
use super::error::Failure;
use super::guard::Seer;
use super::params;
use super::shared::{Content, Deck};

/// What health and catalog ask for alike.
pub struct Wanted {
    pub name: String,
    pub folded: Folded,
    pub datacenter: String,
    tags: Vec<String>,
    meta: Vec<(String, String)>,
    near: Option<Folded>,
    pretty: bool,
}

impl Wanted {
    pub fn of(call: &Call<'_>) -> Result<Wanted, Failure> {
        let name = call.required("Missing service name")?.into_owned();
        Ok(Wanted {
            folded: Folded::new(&name),
            name,
            datacenter: call.front.config.datacenter.clone(),
            tags: call.params.all("tag").map(str::to_owned).collect(),
            meta: params::node_meta(&call.params),
            near: near(call),
            pretty: call.pretty(),
        })
    }

    /// Every instance of a service.
    pub fn all(name: String, datacenter: String) -> Wanted {
        let folded = Folded::new(&name);
        let (tags, meta) = (Vec::new(), Vec::new());
        Wanted { name, folded, datacenter, tags, meta, near: None, pretty: false }
    }

    /// The instances that `tag` and `node-meta` leave, of those that may be seen.
    pub fn chosen<'a>(&'a self, seer: &'a Seer<'a>) -> impl Iterator<Item = InstanceView<'a>> {
        let has_tags =
            |view: &InstanceView<'_>| self.tags.iter().all(|tag| view.instance.def.has_tag(tag));
        let instances = seer.state.instances(&self.name).filter(has_tags);
        let instances = instances.filter(|view| matches_meta(view.node, &self.meta));
        instances.filter(|view| seer.instance(view.instance))
    }

    /// In random order, so that clients that take the first spread; with `near` that node's come
    /// first.
    pub fn content<'a, R: serde::Serialize>(
        &self,
        mut instances: Vec<InstanceView<'a>>,
        row: impl Fn(InstanceView<'a>) -> R,
    ) -> Content {
        let Some(near) = &self.near else {
            return Content::Shuffled(Deck::new(instances.into_iter().map(row), self.pretty));
        };
        instances.sort_by_key(|view| view.instance.node != *near);
        let rows: Vec<R> = instances.into_iter().map(row).collect();
        Content::json(&rows, self.pretty)
    }
}

/// The node that answers shall be near to.
pub fn near(call: &Call<'_>) -> Option<Folded> {
    match call.params.get("near") {
        None | Some("") => None,
        Some("_agent" | "_ip") => Some(call.front.cluster.name().folded()),
        Some(node) => Some(Folded::new(node)),
    }
}

pub fn matches_meta(node: &NodeRow, meta: &[(String, String)]) -> bool {
    meta.iter().all(|(key, value)| node.def.meta.get(key).is_some_and(|known| known == value))
}
