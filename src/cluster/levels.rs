//! Decides to which level of `apply` the cluster is raised. Pure.

use crate::model::Role;
use crate::state::State;

/// What every server speaks, if that is more than what is in force. Edges follow rows, not
/// commands: they do not hold it back.
pub(super) fn raise(state: &State) -> Option<u32> {
    let servers = state.members().filter(|member| member.role == Role::Server);
    let least = servers.map(|member| member.level).min()?;
    (least > state.identity().level).then_some(least)
}
