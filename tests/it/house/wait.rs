//! Waiting for a condition, with a deadline and a reason, instead of sleeping and hoping.

use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(20);

/// Tries until the check gives a value; panics with the last complaint after `deadline`.
pub fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut check: impl FnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match check() {
            Ok(value) => return value,
            Err(complaint) if start.elapsed() > deadline => {
                panic!("{what}: not within {deadline:?}: {complaint}")
            }
            Err(_) => std::thread::sleep(STEP),
        }
    }
}
