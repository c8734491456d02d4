//! What counts and clocks make of results, without a socket.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use crate::health::{Deadlines, Judge, Ruling, cut_note, expired};
use crate::lifecycle::process::Tail;
use crate::model::Health::{self, Critical, Passing, Warning};
use crate::model::{Flaps, limits};

fn flaps(rise: u32, fall: u32) -> Flaps {
    Flaps { rise, warn: None, fall }
}

fn rulings(judge: &mut Judge, results: &[Health]) -> Vec<Ruling> {
    results.iter().map(|result| judge.observe(*result)).collect()
}

#[test]
fn the_first_result_is_the_verdict_and_then_the_counts_decide() {
    use Ruling::{Confirmed, Doubted, Turned};
    let mut judge = Judge::new(flaps(2, 3));
    let results = [Passing, Critical, Critical, Passing, Critical, Critical, Critical];
    let ruled = rulings(&mut judge, &results);
    let doubted_then_turned =
        [Turned(Passing), Doubted, Doubted, Confirmed, Doubted, Doubted, Turned(Critical)];
    assert_eq!(ruled, doubted_then_turned);
    let ruled = rulings(&mut judge, &[Passing, Critical, Warning, Passing]);
    assert_eq!(ruled, [Doubted, Confirmed, Doubted, Turned(Passing)]);
}

#[test]
fn between_passing_and_warning_nothing_is_counted() {
    let mut judge = Judge::new(flaps(3, 3));
    judge.observe(Passing);
    assert_eq!(judge.observe(Warning), Ruling::Turned(Warning));
    assert_eq!(judge.observe(Critical), Ruling::Doubted);
    assert_eq!(judge.observe(Passing), Ruling::Turned(Passing));
}

#[test]
fn a_count_of_none_is_a_count_of_one() {
    let mut judge = Judge::new(flaps(0, 0));
    judge.observe(Passing);
    assert_eq!(judge.observe(Critical), Ruling::Turned(Critical));
    assert_eq!(judge.observe(Passing), Ruling::Turned(Passing));
}

fn health() -> impl Strategy<Value = Health> {
    prop_oneof![Just(Passing), Just(Warning), Just(Critical)]
}

#[test]
fn a_check_may_warn_before_it_turns_critical() {
    use Ruling::{Confirmed, Doubted, Turned};
    let mut judge = Judge::new(Flaps { rise: 2, warn: Some(2), fall: 4 });
    let results = [Passing, Critical, Critical, Critical, Critical, Critical];
    let ruled = rulings(&mut judge, &results);
    let in_steps =
        [Turned(Passing), Doubted, Turned(Warning), Confirmed, Turned(Critical), Confirmed];
    assert_eq!(ruled, in_steps);
    // Once critical it does not get better by failing less often.
    let ruled = rulings(&mut judge, &[Passing, Critical, Critical, Passing, Passing]);
    assert_eq!(ruled, [Doubted, Confirmed, Confirmed, Doubted, Turned(Passing)]);
    // A warning that failures made takes as many good results to end as anything bad.
    let ruled = rulings(&mut judge, &[Critical, Critical, Passing, Passing]);
    assert_eq!(ruled, [Doubted, Turned(Warning), Doubted, Turned(Passing)]);
}

proptest! {
    /// The stupid model looks back over all results: a verdict falls when the last `fall` were
    /// bad, warns when the last `warn` were, and rises when the last `rise` were good.
    #[test]
    fn verdicts_are_those_of_looking_back(
        rise in 1..4_usize,
        warn in prop::option::of(1..4_usize),
        fall in 1..5_usize,
        results in prop::collection::vec(health(), 1..40),
    ) {
        let warned = warn.map(|warn| warn as u32);
        let flaps = Flaps { rise: rise as u32, warn: warned, fall: fall as u32 };
        let mut judge = Judge::new(flaps);
        let mut verdict: Option<Health> = None;
        let mut ill = false;
        for at in 0..results.len() {
            let result = results[at];
            let last = |n: usize, bad: bool| {
                at + 1 >= n && results[at + 1 - n..=at].iter().all(|r| (*r == Critical) == bad)
            };
            let wanted = match verdict {
                None => result,
                Some(Critical) if result == Critical => Critical,
                Some(was) if result == Critical => {
                    let warns = warn.is_some_and(|warn| last(warn, true));
                    if last(fall, true) { Critical } else if warns { Warning } else { was }
                }
                Some(was) if ill && !last(rise, false) => was,
                Some(_) => result,
            };
            // Bad results made it what it is, until good ones made it something else.
            ill = match result {
                Critical => {
                    let first = verdict.is_none();
                    let warns = warn.is_some_and(|warn| last(warn, true));
                    ill || first || last(fall, true) || warns
                }
                _ => ill && !last(rise, false) && verdict.is_some(),
            };
            let turned = (verdict != Some(wanted)).then_some(Ruling::Turned(wanted));
            let ruling = judge.observe(result);
            prop_assert_eq!(turned, Some(ruling).filter(|r| matches!(r, Ruling::Turned(_))));
            verdict = Some(wanted);
        }
    }
}

#[test]
fn deadlines_move_and_come_in_order() {
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let [a, b, c]: [Arc<str>; 3] = ["a".into(), "b".into(), "c".into()];
    let mut deadlines = Deadlines::default();
    deadlines.set(&a, at(3));
    deadlines.set(&b, at(1));
    deadlines.set(&c, at(2));
    deadlines.set(&b, at(4));
    deadlines.set_if_none(&a, at(9));
    deadlines.clear(&c);
    assert_eq!(deadlines.next(), Some(at(3)));
    assert!(deadlines.take_due(at(2)).is_empty());
    assert_eq!(deadlines.take_due(at(4)), [a.clone(), b]);
    assert_eq!(deadlines.next(), None);
    assert!(!deadlines.contains(&a));
}

#[test]
fn a_long_note_keeps_its_beginning_and_says_how_long_it_was() {
    let short = "x".repeat(limits::CHECK_OUTPUT);
    assert_eq!(cut_note(short.clone()), short);
    let cut = cut_note("x".repeat(5000));
    assert_eq!(cut, format!("{short} ... (captured 4096 of 5000 bytes)"));
    // A character that the limit would cut in two goes as a whole.
    let cut = cut_note(format!("{}é", "x".repeat(limits::CHECK_OUTPUT - 1)));
    assert!(cut.starts_with(&"x".repeat(limits::CHECK_OUTPUT - 1)));
    assert!(cut.contains(" ... (captured"));
}

#[test]
fn a_long_body_keeps_its_end() {
    let mut tail = Tail::new(limits::CHECK_OUTPUT);
    tail.push(&vec![b'a'; limits::CHECK_OUTPUT * 3]);
    tail.push(b"the cause\xff");
    let text = tail.into_text();
    assert!(text.ends_with("aathe cause\u{fffd}"));
    assert_eq!(text.chars().count(), limits::CHECK_OUTPUT);
}

#[test]
fn silence_is_told_in_the_words_of_consul() {
    assert_eq!(expired(""), "TTL expired");
    assert_eq!(expired("up"), "TTL expired (last output before timeout follows): up");
}
