//! A backup in etcd's envelope, and what is none.

use crate::cluster::{Unwrapping, padding};
use crate::identity::Sum;
use crate::state::{BackupError, BackupReader, Part, State};

fn backup() -> Vec<u8> {
    let mut file = Vec::new();
    State::new(Part::Server).back_up(&mut file).unwrap();
    file
}

fn wrapped(mut file: Vec<u8>) -> Vec<u8> {
    file.resize(file.len() + padding(file.len() as u64), 0);
    let mut sum = Sum::default();
    sum.update(&file);
    file.extend_from_slice(&sum.finish());
    file
}

fn unwrapped(file: &[u8], piece: usize) -> Result<Vec<u8>, BackupError> {
    let (mut unwrapping, mut out) = (Unwrapping::default(), Vec::new());
    for piece in file.chunks(piece) {
        out.extend(unwrapping.push(piece));
    }
    out.extend(unwrapping.finish()?);
    Ok(out)
}

#[test]
fn it_comes_off_in_pieces_of_any_length_and_a_bare_backup_stays_as_it_is() {
    let bare = backup();
    let file = wrapped(bare.clone());
    assert_eq!(file.len() % 512, 32);
    for piece in [1, 7, 32, 511, 4096, file.len()] {
        assert_eq!(unwrapped(&file, piece).as_ref(), Ok(&bare), "in pieces of {piece}");
        assert_eq!(unwrapped(&bare, piece).as_ref(), Ok(&bare), "in pieces of {piece}");
    }
    let mut reader = BackupReader::default();
    reader.push(&unwrapped(&file, 100).unwrap()).unwrap();
    assert!(reader.finish().is_ok());
}

#[test]
fn every_length_is_filled_up_to_whole_sectors() {
    for len in 0..2_000 {
        let padding = padding(len);
        assert!(padding < 512 && (len + padding as u64).is_multiple_of(512), "{len}");
    }
}

#[test]
fn damage_is_found_wherever_it_is() {
    let file = wrapped(backup());
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        let read = unwrapped(&damaged, 100).and_then(|bytes| {
            let mut reader = BackupReader::default();
            reader.push(&bytes)?;
            reader.finish().map(drop)
        });
        assert!(read.is_err(), "byte {at}");
    }
    for len in [0, 1, 100, file.len() - 33, file.len() - 1] {
        let read = unwrapped(&file[..len], 100).and_then(|bytes| {
            let mut reader = BackupReader::default();
            reader.push(&bytes)?;
            reader.finish().map(drop)
        });
        assert!(read.is_err(), "cut off after {len}");
    }
}
