//! A lone change at once, a burst damped, never longer than the longest wait.

use std::time::Duration;

use tokio::time::Instant;

use crate::files::Wait;
use crate::files::damper::Damper;

const MIN: Duration = Duration::from_millis(100);
const MAX: Duration = Duration::from_millis(250);

/// Milliseconds after an arbitrary beginning.
struct Clock(Instant);

impl Clock {
    fn at(&self, ms: u64) -> Instant {
        self.0 + Duration::from_millis(ms)
    }
}

fn start() -> (Damper, Clock) {
    (Damper::new(Wait { min: MIN, max: MAX }), Clock(Instant::now()))
}

#[test]
fn nothing_is_due_without_a_change() {
    let (mut damper, clock) = start();
    assert_eq!(damper.due(), None);
    damper.acted(clock.at(0));
    assert_eq!(damper.due(), None);
}

#[test]
fn a_lone_change_is_due_at_once() {
    let (mut damper, clock) = start();
    damper.acted(clock.at(0));
    damper.changed(clock.at(100));
    assert_eq!(damper.due(), Some(clock.at(100)));
}

#[test]
fn a_change_right_after_the_last_waits_for_quiet() {
    let (mut damper, clock) = start();
    damper.acted(clock.at(0));
    damper.changed(clock.at(10));
    assert_eq!(damper.due(), Some(clock.at(110)));
    damper.changed(clock.at(90));
    assert_eq!(damper.due(), Some(clock.at(190)));
    damper.acted(clock.at(190));
    assert_eq!(damper.due(), None);
    damper.changed(clock.at(290));
    assert_eq!(damper.due(), Some(clock.at(290)), "quiet again");
}

#[test]
fn a_burst_without_end_is_cut_at_the_longest_wait() {
    let (mut damper, clock) = start();
    damper.acted(clock.at(0));
    for ms in (10..=400).step_by(10) {
        damper.changed(clock.at(ms));
    }
    assert_eq!(damper.due(), Some(clock.at(260)));
}

#[test]
fn a_longest_wait_below_the_shortest_wins() {
    let wait = Wait { min: MIN, max: Duration::from_millis(20) };
    let (mut damper, clock) = (Damper::new(wait), Clock(Instant::now()));
    damper.acted(clock.at(0));
    damper.changed(clock.at(5));
    assert_eq!(damper.due(), Some(clock.at(25)));
}
