//! When a snapshot is due.

/// True once the log has grown by more than a floor and by more than the last snapshot has bytes:
/// so writing snapshots at most doubles what is written. While the last one is being sent, the next
/// waits for twice as much: the log behind the one that is sent must still be there at the end.
pub(super) fn snapshot_due(grown: u64, last_snapshot: u64, floor: u64, sending: bool) -> bool {
    let enough = floor.max(last_snapshot);
    grown > if sending { enough.saturating_mul(2) } else { enough }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_state_waits_for_the_floor() {
        assert!(!snapshot_due(64, 10, 64, false));
        assert!(snapshot_due(65, 10, 64, false));
    }

    #[test]
    fn a_large_state_waits_for_its_own_size() {
        assert!(!snapshot_due(65, 100, 64, false));
        assert!(snapshot_due(101, 100, 64, false));
    }

    #[test]
    fn who_is_being_sent_one_is_waited_for() {
        assert!(!snapshot_due(128, 10, 64, true));
        assert!(snapshot_due(129, 10, 64, true));
    }
}
