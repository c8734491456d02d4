//! Compaction at every revision: what can still be read is unchanged, what cannot is gone.

use proptest::prelude::*;

use crate::model::Stamp;
use crate::state::{Command, KeyRange, RangeError, RangeQuery, State};

use super::commands::{KEYS, key_command};
use super::model::Model;
use super::{Told, founder, key_row};

fn compacted(state: &State, revision: i64) -> State {
    let mut told = Told { state: state.clone(), entries: Vec::new() };
    told.tell(Stamp(0), Command::Compact(revision));
    told.state
}

fn everything_at(revision: i64) -> RangeQuery {
    let range = KeyRange::prefix(&bytes::Bytes::new());
    RangeQuery { revision, ..RangeQuery::new(range) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn at_every_revision(commands in proptest::collection::vec(key_command(), 1..30)) {
        let (mut told, mut model) = (Told::founded(), Model::founded(&founder()));
        for command in commands {
            model.apply(Stamp(0), &command);
            told.tell(Stamp(0), command);
        }
        let current = told.state.revision();
        let mut stepwise = told.state.clone();
        for floor in 1..=current {
            let state = compacted(&told.state, floor);
            stepwise = compacted(&stepwise, floor);
            if let (Some(once), Some(stepwise)) = (&state.history, &mut stepwise.history) {
                let before = if floor > 1 { floor - 1 } else { 0 };
                prop_assert_eq!((once.compacted_before, stepwise.compacted_before), (0, before));
                stepwise.compacted_before = 0;
                prop_assert_eq!(once, &*stepwise, "at once or step by step");
                stepwise.compacted_before = before;
            }
            for revision in 1..=current {
                let answer = state.range(&everything_at(revision));
                if revision < floor {
                    let asked = revision;
                    prop_assert_eq!(answer, Err(RangeError::Compacted { asked, compacted: floor }));
                    continue;
                }
                let rows: Vec<_> = answer.unwrap().rows.into_iter()
                    .map(|(key, row)| (key, (*row).clone())).collect();
                let expected: Vec<_> = model.keys.all_at(revision as u64).into_iter()
                    .map(|(key, found)| (key, key_row(found))).collect();
                prop_assert_eq!(rows, expected);
                for key in KEYS.map(bytes::Bytes::from_static) {
                    let row = state.history().unwrap().at(&key, revision).map(|r| (**r).clone());
                    let expected = model.keys.get_at(&key, revision as u64).map(key_row);
                    prop_assert_eq!(row, expected);
                }
            }
            let history = state.history().unwrap();
            let events: Vec<_> = history.from(floor + 1).flat_map(|(at, log)| {
                log.events.iter().map(move |e| (at as u64, e.key.clone(), e.row.is_some()))
            }).collect();
            prop_assert_eq!(&events, &model.keys.since(floor as u64), "watches see every event");
            let needed = model.keys.all_at(floor as u64).len() + events.len();
            prop_assert_eq!(history.versions.len(), needed, "nothing is kept in vain");
        }
    }
}
