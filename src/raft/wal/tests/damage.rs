//! A torn tail is cut off; damage to what was acknowledged is refused with file and offset.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::super::{frame, segment};
use super::*;

/// A log of one segment with these entries, one frame each; and where each frame ends.
fn written(dir: &TempDir, sizes: &[usize]) -> (PathBuf, Vec<usize>) {
    let (mut journal, _) = open(dir).unwrap();
    let mut ends = Vec::new();
    let mut end = segment::HEADER;
    for (index, size) in (0..).zip(sizes) {
        let record = entry(index, *size);
        journal.commit(std::slice::from_ref(&record)).unwrap();
        end += frame::size(record.size());
        ends.push(end);
    }
    (segment::path(dir.path(), 1), ends)
}

fn damage(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever of the last frames never reached the disk, those before it are all there, and the
    /// log goes on from them.
    #[test]
    fn a_log_cut_at_any_byte_keeps_all_frames_before_the_cut(
        sizes in prop::collection::vec(0..120_usize, 1..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let dir = dir();
        let (path, ends) = written(&dir, &sizes);
        let cut = segment::HEADER + cut.index(ends[ends.len() - 1] - segment::HEADER);
        let mut bytes = fs::read(&path).unwrap();
        bytes[cut..].fill(0);
        let whole = ends.iter().filter(|end| **end <= cut).count();
        fs::write(&path, bytes).unwrap();
        let (mut journal, recovered) = open(&dir).unwrap();
        let kept = recovered.entries.len();
        // One more where the cut took nothing but zeros.
        prop_assert!(kept == whole || kept == whole + 1, "{} of {}", kept, whole);
        for (index, size) in (0..).zip(&sizes[..kept]) {
            let Record::Entry(position, payload) = entry(index, *size) else { unreachable!() };
            let found = &recovered.entries[usize::try_from(index).unwrap()];
            prop_assert_eq!(found, &(position, payload));
        }
        journal.commit(&[entry(kept as u64, 33)]).unwrap();
        let (_, recovered) = open(&dir).unwrap();
        prop_assert_eq!(recovered.entries.len(), kept + 1);
    }

    /// A byte that changed under an acknowledged frame is found, wherever it is.
    #[test]
    fn a_changed_byte_before_the_last_frame_is_refused(
        sizes in prop::collection::vec(1..120_usize, 2..12),
        at in any::<prop::sample::Index>(),
    ) {
        let dir = dir();
        let (path, ends) = written(&dir, &sizes);
        let last = ends[ends.len() - 2];
        let at = segment::HEADER + at.index(last - segment::HEADER);
        let begins = ends.iter().rev().find(|end| **end <= at).copied();
        let begins = begins.unwrap_or(segment::HEADER);
        let content = fs::read(&path).unwrap();
        damage(&path, at);
        match open(&dir) {
            Err(WalError::Corrupt { path: named, offset, .. }) => {
                prop_assert_eq!(named, path);
                prop_assert_eq!(offset, begins as u64);
            }
            // The padding between frames holds nothing.
            Ok((_, recovered)) => {
                prop_assert_eq!(content[at], 0);
                prop_assert_eq!(recovered.entries.len(), sizes.len());
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

#[test]
fn a_damaged_end_of_an_earlier_segment_is_refused() {
    let dir = dir();
    let (mut journal, _) = open(&dir).unwrap();
    for index in 0..30 {
        journal.commit(&[entry(index, 300)]).unwrap();
    }
    let first = segment::path(dir.path(), 1);
    let bytes = fs::read(&first).unwrap();
    let salt = segment::Header::decode(&bytes).unwrap().salt;
    let mut last = segment::HEADER;
    while let Some(frame) = frame::read(&bytes, last, salt)
        && frame::read(&bytes, frame.next, salt).is_some()
    {
        last = frame.next;
    }
    damage(&first, last + frame::HEADER + 40);
    let error = open(&dir).err().unwrap();
    let WalError::Corrupt { path, offset, .. } = error else { panic!("{error}") };
    assert_eq!((path, offset), (first, last as u64));
}

#[test]
fn a_missing_segment_is_refused() {
    let dir = dir();
    let (mut journal, _) = open(&dir).unwrap();
    for index in 0..40 {
        journal.commit(&[entry(index, 300)]).unwrap();
    }
    let second = segment::path(dir.path(), 2);
    fs::remove_file(&second).unwrap();
    let error = open(&dir).err().unwrap();
    let WalError::MissingSegment(named) = error else { panic!("{error}") };
    assert_eq!(named, second);
}

#[test]
fn a_log_whose_beginning_is_gone_is_refused() {
    let dir = dir();
    let (mut journal, _) = open(&dir).unwrap();
    for index in 0..40 {
        journal.commit(&[entry(index, 300)]).unwrap();
    }
    fs::remove_file(segment::path(dir.path(), 1)).unwrap();
    let error = open(&dir).err().unwrap();
    assert!(matches!(error, WalError::Gap { .. }), "{error}");
}
