//! Decides what firing an event does: it takes the next number, and the oldest makes room.

use std::sync::Arc;

use crate::model::limits;
use crate::state::change::Change;
use crate::state::command::{Outcome, Refusal};
use crate::state::events::EventDef;

use super::draft::Draft;

pub(super) fn fire(draft: &mut Draft<'_>, event: &EventDef) -> Result<Outcome, Refusal> {
    let (len, max) = (event.size(), limits::EVENT);
    if len > max {
        return Err(Refusal::EventTooLarge { len, max });
    }
    let (number, gone) = draft.state().next_event();
    for number in gone {
        draft.push(Change::Event(number, None));
    }
    draft.push(Change::Event(number, Some(Arc::new(event.clone()))));
    Ok(Outcome::Done)
}
