//! The newest of the events that somebody fired, for whoever lists them.

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::model::limits;

use super::State;
use super::topic::{Topic, Touch};

/// An event as it was fired. The filters are patterns: of the nodes, and of a service with its
/// tags on them, that it is for; empty is any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventDef {
    /// A UUID.
    pub id: u128,
    pub name: String,
    pub payload: Bytes,
    pub node: String,
    pub service: String,
    pub tag: String,
}

impl EventDef {
    /// About the bytes that Consul would send of it.
    pub fn size(&self) -> usize {
        const FRAME: usize = 88;
        let texts = [&self.name, &self.node, &self.service, &self.tag];
        FRAME + self.payload.len() + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}

/// By their numbers, which count events and never come twice.
pub(super) type Events = OrdMap<u64, Arc<EventDef>>;

impl State {
    /// The newest events with their numbers, oldest first.
    pub fn fired(&self) -> impl Iterator<Item = (u64, &Arc<EventDef>)> {
        self.events.iter().map(|(number, event)| (*number, event))
    }

    pub(super) fn absorb_event(
        &mut self,
        number: u64,
        event: Option<&Arc<EventDef>>,
        touch: &mut Touch,
    ) {
        match event {
            Some(event) => self.events.insert(number, event.clone()),
            None => self.events.remove(&number),
        };
        touch.topics.insert(Topic::Events);
    }

    /// The number of the next one, and those that make room for it.
    pub(super) fn next_event(&self) -> (u64, Vec<u64>) {
        let next = self.events.get_max().map_or(1, |(newest, _)| newest + 1);
        let surplus = (self.events.len() + 1).saturating_sub(limits::EVENTS);
        (next, self.events.keys().take(surplus).copied().collect())
    }
}
