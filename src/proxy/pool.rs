//! Connections to one instance that wait for their next request, the last used first.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Duration;

use crate::model::limits;

use super::lane::Lane;

#[derive(Default)]
pub(super) struct Pool {
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The longest idle first.
    lanes: VecDeque<(Duration, Lane)>,
    /// The instance is gone: nothing is kept any more.
    retired: bool,
}

impl Pool {
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that is alive as far as this side knows; dead ones on the way are dropped.
    pub(super) fn take(&self, cx: &mut Context<'_>) -> Option<Lane> {
        loop {
            let (_, mut lane) = self.idle().lanes.pop_back()?;
            if lane.is_ready(cx) {
                return Some(lane);
            }
        }
    }

    pub(super) fn put(&self, now: Duration, lane: Lane) {
        let mut idle = self.idle();
        if idle.retired {
            return;
        }
        idle.lanes.push_back((now, lane));
        if idle.lanes.len() > limits::POOL_IDLE {
            idle.lanes.pop_front();
        }
    }

    /// Closes all: one of them was found dead, so the others, older ones, may be too.
    pub(super) fn clear(&self) {
        let lanes = std::mem::take(&mut self.idle().lanes);
        drop(lanes);
    }

    /// Closes all and keeps none from here on.
    pub(super) fn retire(&self) {
        self.idle().retired = true;
        self.clear();
    }

    /// Closes those that have waited for longer than `most`.
    pub(super) fn prune(&self, now: Duration, most: Duration) {
        let mut idle = self.idle();
        while idle.lanes.front().is_some_and(|(since, _)| now.saturating_sub(*since) > most) {
            idle.lanes.pop_front();
        }
    }
}
