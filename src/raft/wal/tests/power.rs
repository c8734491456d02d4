//! The power goes at any moment: all that was acknowledged is there, and at most one batch more.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::super::tests::forgetful::Forgetful;
use super::*;

/// A batch that may follow the log as it stands.
fn batch(random: &mut StdRng, log: &Recovered) -> Vec<Record> {
    let mut after = log.clone();
    let mut records = Vec::new();
    for _ in 0..random.random_range(1..4) {
        let last = after.last();
        let record = match random.random_range(0..12) {
            0 => Record::Vote(Bytes::from(vec![random.random()])),
            1 => Record::Committed(last),
            2 if !after.entries.is_empty() => {
                let keep = random.random_range(0..after.entries.len());
                Record::Truncate(Some(after.entries[keep].0))
            }
            3..=5 if after.entries.len() > 4 => {
                let purged = random.random_range(0..after.entries.len() - 3);
                Record::Purge(after.entries[purged].0)
            }
            _ => {
                let next = last.map_or(0, |last| last.index + 1);
                entry(next, random.random_range(0..900))
            }
        };
        after.apply(record.clone()).unwrap();
        records.push(record);
    }
    records
}

fn open_on(disk: &Forgetful) -> Result<(Journal, Recovered), WalError> {
    Journal::open(Arc::new(disk.clone()), Path::new("/log"), SEGMENT)
}

#[test]
fn what_was_acknowledged_outlives_the_power() {
    let mut lost_in_the_middle = 0;
    for seed in 0..400 {
        let random = &mut StdRng::seed_from_u64(seed);
        let mut disk = Forgetful::default();
        let mut model = Recovered::default();
        for round in 0..4 {
            disk.light(random.random_range(1..300));
            let mut doubtful = None;
            if let Ok((mut journal, recovered)) = open_on(&disk) {
                assert_eq!(recovered, model, "seed {seed}, round {round}");
                doubtful = Some(write_until_the_power_goes(random, &mut journal, &mut model));
            }
            disk = disk.after_power_loss(random.random());
            disk.light(u64::MAX);
            let found = open_on(&disk);
            let (_, recovered) = found.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            // The batch under way may have made it, whole.
            if recovered != model
                && let Some(records) = doubtful
            {
                lost_in_the_middle += 1;
                records.into_iter().for_each(|record| model.apply(record).unwrap());
            }
            assert_eq!(recovered, model, "seed {seed}, round {round}");
        }
    }
    assert!(lost_in_the_middle > 0, "no power loss ever met a batch under way");
}

fn write_until_the_power_goes(
    random: &mut StdRng,
    journal: &mut Journal,
    model: &mut Recovered,
) -> Vec<Record> {
    loop {
        let records = batch(random, model);
        if journal.commit(&records).is_err() {
            return records;
        }
        records.into_iter().for_each(|record| model.apply(record).unwrap());
    }
}
