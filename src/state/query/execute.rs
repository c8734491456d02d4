//! Which instances a prepared query stands for, as this state knows them.

use crate::model::Health;
use crate::state::State;
use crate::state::view::InstanceView;

use super::QueryTarget;

impl State {
    /// The instances that the query wants, ordered by node and id: who answers shuffles them, puts
    /// those near to somebody first, and then takes as many as are asked for.
    pub fn execute<'a>(&'a self, target: &QueryTarget) -> Vec<InstanceView<'a>> {
        if target.connect {
            return Vec::new();
        }
        let all = self.instances(&target.service);
        all.filter(|view| target.wants_health(view) && target.wants(view)).collect()
    }
}

impl QueryTarget {
    fn wants_health(&self, view: &InstanceView<'_>) -> bool {
        let ignored = |id: &str| self.ignored_checks.iter().flatten().any(|other| other == id);
        let counted = view.all_checks().filter(|check| !ignored(&check.def.id));
        match Health::worst(counted.map(|check| check.status)) {
            Health::Passing => true,
            Health::Warning => !self.only_passing,
            Health::Critical => false,
        }
    }

    fn wants(&self, view: &InstanceView<'_>) -> bool {
        let def = &view.instance.def;
        let tags = self.tags.iter().flatten().all(|tag| match tag.strip_prefix('!') {
            Some(unwanted) => !def.has_tag(unwanted),
            None => def.has_tag(tag),
        });
        let node = &view.node.def.meta;
        tags && self.node_meta.iter().flatten().all(|(key, value)| node.get(key) == Some(value))
            && self.service_meta.iter().flatten().all(|(k, value)| def.meta.get(k) == Some(value))
    }
}
