//! Any history of appends, votes, truncations and purges is recovered as it was.

use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::*;

/// What may be done next; made fit for the log as it stands by `record`.
#[derive(Debug, Clone)]
enum Step {
    Append { size: usize },
    Vote(u8),
    Commit,
    Truncate { back: u64 },
    Purge { ahead: u64 },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..700_usize).prop_map(|size| Step::Append { size }),
        1 => (3000..6000_usize).prop_map(|size| Step::Append { size }),
        1 => any::<u8>().prop_map(Step::Vote),
        1 => Just(Step::Commit),
        1 => (0..5_u64).prop_map(|back| Step::Truncate { back }),
        2 => (0..9_u64).prop_map(|ahead| Step::Purge { ahead }),
        1 => Just(Step::Reopen),
    ]
}

fn record(step: &Step, log: &Recovered) -> Option<Record> {
    let last = log.last();
    match step {
        Step::Append { size } => Some(entry(last.map_or(0, |last| last.index + 1), *size)),
        Step::Vote(vote) => Some(Record::Vote(Bytes::from(vec![*vote]))),
        Step::Commit => last.map(|last| Record::Committed(Some(last))),
        Step::Truncate { back } => {
            let keep = usize::try_from(*back).unwrap();
            let (position, _) = log.entries.iter().rev().nth(keep)?;
            Some(Record::Truncate(Some(*position)))
        }
        Step::Purge { ahead } => {
            let (position, _) = log.entries.get(usize::try_from(*ahead).unwrap())?;
            Some(Record::Purge(*position))
        }
        Step::Reopen => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_history_is_recovered(steps in prop::collection::vec(step(), 1..80)) {
        let dir = dir();
        let (mut journal, mut model) = open(&dir).unwrap();
        for step in steps {
            if let Some(record) = record(&step, &model) {
                journal.commit(std::slice::from_ref(&record)).unwrap();
                model.apply(record).unwrap();
            } else if matches!(step, Step::Reopen) {
                let (reopened, recovered) = open(&dir).unwrap();
                prop_assert_eq!(&recovered, &model);
                journal = reopened;
            }
        }
        let (_, recovered) = open(&dir).unwrap();
        prop_assert_eq!(recovered, model);
    }
}

#[test]
fn purged_segments_live_again_and_their_old_frames_do_not_count() {
    let dir = dir();
    let (mut journal, mut model) = open(&dir).unwrap();
    for index in 0..400 {
        let mut records = vec![entry(index, 300)];
        if index % 10 == 9 {
            records.push(Record::Purge(Position { index: index - 5, term: 1 }));
        }
        journal.commit(&records).unwrap();
        records.into_iter().for_each(|record| model.apply(record).unwrap());
        if index % 37 == 0 {
            assert_eq!(open(&dir).unwrap().1, model);
        }
    }
    // 400 entries of 300 bytes fill some 35 segments; few are kept.
    let files = std::fs::read_dir(dir.path()).unwrap().count();
    assert!(files < 10, "{files} files");
}

#[test]
fn a_vote_outlives_the_segment_that_it_was_written_to() {
    let dir = dir();
    let (mut journal, _) = open(&dir).unwrap();
    journal.commit(&[Record::Vote(Bytes::from_static(b"for two"))]).unwrap();
    for index in 0..50 {
        let purge = Record::Purge(Position { index, term: 1 });
        journal.commit(&[entry(index, 300), purge]).unwrap();
    }
    assert!(!super::super::segment::path(dir.path(), 1).exists());
    let (_, recovered) = open(&dir).unwrap();
    assert_eq!(recovered.vote.as_deref(), Some(b"for two".as_slice()));
}

#[test]
fn nobody_else_can_read_the_log() {
    let dir = dir();
    let (mut journal, _) = open(&dir).unwrap();
    journal.commit(&[entry(0, 10)]).unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
