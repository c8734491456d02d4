//! SHA-256 of what comes in pieces.

use aws_lc_rs::digest::{Context, SHA256};

/// Sums up what it is given.
#[derive(Clone)]
pub struct Sum(Context);

impl Default for Sum {
    fn default() -> Sum {
        Sum(Context::new(&SHA256))
    }
}

impl Sum {
    pub const LEN: usize = 32;

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum, big-endian as it is written everywhere.
    pub fn finish(self) -> [u8; Sum::LEN] {
        let mut out = [0; Sum::LEN];
        out.iter_mut().zip(self.0.finish().as_ref()).for_each(|(to, from)| *to = *from);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::Sum;

    /// Of "abc", FIPS 180-2.
    #[test]
    fn pieces_come_to_the_sum_of_the_whole() {
        let mut sum = Sum::default();
        sum.update(b"a");
        sum.update(b"bc");
        let hex: String = sum.finish().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
