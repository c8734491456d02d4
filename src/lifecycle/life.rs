//! What every long-lived part is handed: where to report, what to wait for, when to stop.

use super::{Board, Gates, Shutdown, Tasks};

#[derive(Debug, Clone, Default)]
pub struct Life {
    pub board: Board,
    pub gates: Gates,
    pub shutdown: Shutdown,
    pub tasks: Tasks,
}
