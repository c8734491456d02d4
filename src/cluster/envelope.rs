//! What `etcdctl snapshot save` makes of a backup: filled up with zeros to whole sectors, which is
//! how it knows that a file is whole, and then the SHA-256 of all that. Put on and taken off. Pure.

use crate::identity::Sum;
use crate::state::{BackupError, backup_end};

const SECTOR: usize = 512;
/// More than can follow a backup, and the backup's own end.
const HELD: usize = 2 * SECTOR;

/// Zeros that follow a backup of that length.
pub fn padding(len: u64) -> usize {
    (SECTOR - (len % SECTOR as u64) as usize) % SECTOR
}

/// Takes an envelope off, if there is one, of a file that comes in pieces of any length.
#[derive(Default)]
pub struct Unwrapping {
    /// The last bytes, of which it is not known yet what they are.
    held: Vec<u8>,
    /// Of all before them.
    sum: Sum,
}

impl Unwrapping {
    /// Takes the next piece of the file and gives the next of the backup.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        let last = self.held.split_off(self.held.len().saturating_sub(HELD));
        let known = std::mem::replace(&mut self.held, last);
        self.sum.update(&known);
        known
    }

    /// The backup's last bytes. A file that ends in no way that is known ends as it does.
    pub fn finish(self) -> Result<Vec<u8>, BackupError> {
        let Unwrapping { mut held, mut sum } = self;
        let Some(end) = backup_end(&held) else { return Ok(held) };
        let after = held.get(end..).unwrap_or_default();
        let Some((zeros, told)) = after.split_last_chunk::<{ Sum::LEN }>() else {
            return Ok(held);
        };
        if zeros.len() >= SECTOR || zeros.iter().any(|byte| *byte != 0) {
            return Ok(held);
        }
        sum.update(held.get(..end + zeros.len()).unwrap_or_default());
        if sum.finish() != *told {
            return Err(BackupError::Checksum);
        }
        held.truncate(end);
        Ok(held)
    }
}
