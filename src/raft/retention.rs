//! When a snapshot is due.

/// True once the log has grown by more than a floor and by more than the last snapshot has bytes:
/// so writing snapshots at most doubles what is written.
pub(super) fn snapshot_due(grown: u64, last_snapshot: u64, floor: u64) -> bool {
    grown > floor.max(last_snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_state_waits_for_the_floor() {
        assert!(!snapshot_due(64, 10, 64));
        assert!(snapshot_due(65, 10, 64));
    }

    #[test]
    fn a_large_state_waits_for_its_own_size() {
        assert!(!snapshot_due(65, 100, 64));
        assert!(snapshot_due(101, 100, 64));
    }
}
