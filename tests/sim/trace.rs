//! What happened, in words and virtual time: equal for equal seeds.

use super::clock::now;

#[derive(Debug, Default)]
pub struct Trace {
    pub lines: Vec<String>,
    aloud: bool,
}

impl Trace {
    /// Printed as it goes, where `REMORA_SIM_TRACE` is set.
    pub fn new() -> Trace {
        Trace { lines: Vec::new(), aloud: std::env::var_os("REMORA_SIM_TRACE").is_some() }
    }

    pub fn note(&mut self, what: impl Into<String>) {
        let line = format!("{:>9.4} {}", now().as_secs_f64(), what.into());
        if self.aloud {
            println!("{line}");
        }
        self.lines.push(line);
    }
}
