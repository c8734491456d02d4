//! Equal questions share one evaluation, one encoded body and one place among those who wait.

mod content;
mod key;
mod question;
mod shelf;
mod slot;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::StatusCode;
use tokio::time::{Instant, timeout_at};

use crate::model::Index;

use super::Front;
use super::answer::{self, Freshness};
use super::blocking::{self, Class};
use super::call::{Answer, Call};
use super::error::Failure;
use super::params::Options;

pub use content::{Content, Deck};
pub use key::Key;
pub use question::{Mark, Question};
pub use shelf::Shelf;
pub use slot::{Evaluated, Sight, Slot};

/// What a question came to, and how fresh that is.
pub struct Told {
    pub evaluated: Arc<Evaluated>,
    pub freshness: Freshness,
}

/// Answers a question of the catalog. `about` tells it from others of the same words.
pub async fn of_catalog(
    call: &Call<'_>,
    about: &str,
    make: impl FnOnce() -> Result<Box<dyn Question>, Failure>,
) -> Answer {
    let rowless = || Failure::internal("an answer of the catalog without rows");
    of_catalog_or(call, about, rowless, make).await
}

/// The same of what may not be there: `missing` says so.
pub async fn of_catalog_or(
    call: &Call<'_>,
    about: &str,
    missing: impl FnOnce() -> Failure,
    make: impl FnOnce() -> Result<Box<dyn Question>, Failure>,
) -> Answer {
    let told = async {
        let options = call.options()?;
        let key = call.key(about);
        read(call, Class::Catalog, &options, key, make).await
    };
    let told = told.await.map_err(Failure::with_index)?;
    let mut response = answer::content(&told.evaluated.content).ok_or_else(missing)?;
    answer::add_freshness(response.headers_mut(), &told.freshness);
    Ok(response)
}

/// Answers a question that may have been asked before. `make` is asked for it where it is new.
pub async fn read(
    call: &Call<'_>,
    class: Class,
    options: &Options,
    key: Key,
    make: impl FnOnce() -> Result<Box<dyn Question>, Failure>,
) -> Result<Told, Failure> {
    let front = call.front;
    let slot = front.shelf.slot(key, make)?;
    let (state, mut known_leader) = blocking::fresh(&front.cluster, class, options).await?;
    let mut evaluated = front.shelf.current(&slot, &state)?;
    drop(state);
    if options.index > 0 && evaluated.mark.index <= options.index {
        drop(evaluated);
        wait(front, &slot, options).await?;
        evaluated = front.shelf.newest(&slot)?;
        known_leader = front.cluster.standing().leader.is_some();
    }
    call.hide(evaluated.hidden);
    let freshness = blocking::freshness(front, class, options, evaluated.mark.index, known_leader);
    Ok(Told { evaluated, freshness })
}

/// Waits until the answer is another one with an index above the one asked for, the time runs out,
/// or the agent stops. A wake that left the rows as they were is none.
async fn wait(front: &Front, slot: &Arc<Slot>, options: &Options) -> Result<(), Failure> {
    let Ok(_place) = front.places.waiters.try_acquire() else { return Err(too_many()) };
    // Watched before it is read again, so that no change between the two is missed.
    let mut waiting = front.shelf.join(slot);
    let began = front.shelf.newest(slot)?.sight();
    let mut patience = Patience { asked: options.index, began };
    if patience.ends(began) {
        return Ok(());
    }
    let deadline = Instant::now() + blocking::jittered(options.wait, rand::random_range(0.0..1.0));
    loop {
        let woken = tokio::select! {
            woken = timeout_at(deadline, waiting.sights.changed()) => matches!(woken, Ok(Ok(()))),
            () = front.shutdown.begun() => false,
        };
        let now = *waiting.sights.borrow_and_update();
        if !woken || patience.ends(now) {
            return Ok(());
        }
    }
}

pub fn too_many() -> Failure {
    Failure::new(
        StatusCode::TOO_MANY_REQUESTS,
        "Too many blocking queries are waiting on this agent",
    )
}

/// When a wait is over. Pure.
#[derive(Debug, Clone, Copy)]
struct Patience {
    asked: Index,
    /// What there was when it began.
    began: Sight,
}

impl Patience {
    fn ends(&mut self, now: Sight) -> bool {
        if now.lineage != self.began.lineage || !now.allowed {
            return true;
        }
        let nothing_still = !self.began.mark.found && !now.mark.found;
        self.began.mark.found = now.mark.found;
        if nothing_still {
            // What is not there has no index of its own: unrelated changes move it.
            self.asked = self.asked.max(now.mark.index);
            return false;
        }
        now.mark.index > self.asked && now.digest != self.began.digest
    }
}
