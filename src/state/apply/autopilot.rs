//! Decides whether an operator's settings of the autopilot are taken.

use crate::model::Index;
use crate::state::autopilot::{Autopilot, AutopilotRow};
use crate::state::change::Change;
use crate::state::command::Outcome;

use super::draft::Draft;

/// They are, unless somebody has changed them since. The same again changes nothing.
pub(super) fn set(draft: &mut Draft<'_>, settings: &Autopilot, cas: Option<Index>) -> Outcome {
    let modified = draft.index();
    let known = draft.state().autopilot();
    if cas.is_some_and(|cas| cas != known.modified) {
        return Outcome::Kv(false);
    }
    if known.settings != *settings || known.modified == 0 {
        draft.push(Change::Autopilot(AutopilotRow { settings: settings.clone(), modified }));
    }
    Outcome::Kv(true)
}
