//! Whether permissions, taken together, cover a range of keys.

use std::borrow::Cow;

use crate::model::KeyRange;

/// Whether every key of the range lies in one of those that are granted. A range in which no key
/// can lie counts as its first one: who may not see that is told nothing.
pub(super) fn covers<'a>(
    granted: impl Iterator<Item = &'a KeyRange> + Clone,
    wanted: &KeyRange,
) -> bool {
    if wanted.end.is_empty() || wanted.is_empty() {
        return granted.into_iter().any(|range| range.contains(&wanted.key));
    }
    let end = end(wanted);
    let mut ranges: Vec<&KeyRange> = granted.filter(|range| !range.is_empty()).collect();
    ranges.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    // Every key of the range that is less than this is covered.
    let mut reach = Cow::Borrowed(wanted.key.as_ref());
    for range in ranges {
        if range.key.as_ref() > reach.as_ref() {
            return false;
        }
        match self::end(range) {
            None => return true,
            Some(further) if further > reach => reach = further,
            Some(_) => {}
        }
        if end.as_ref().is_some_and(|end| reach >= *end) {
            return true;
        }
    }
    false
}

/// The first key behind the range; none where it goes on for ever.
fn end(range: &KeyRange) -> Option<Cow<'_, [u8]>> {
    match range.end.as_ref() {
        b"" => Some(Cow::Owned([range.key.as_ref(), b"\0"].concat())),
        b"\0" => None,
        end => Some(Cow::Borrowed(end)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::access::tests::all_keys;

    fn range(key: &'static str, end: &'static str) -> KeyRange {
        KeyRange { key: key.into(), end: end.into() }
    }

    #[test]
    fn ranges_that_touch_cover_together_and_a_gap_of_one_key_does_not() {
        let app = [range("app/", "app0")];
        let table: [(&[KeyRange], KeyRange, bool); 12] = [
            (&app, range("app/", "app0"), true),
            (&app, range("app/1", ""), true),
            (&app, range("app/1", "app/2"), true),
            (&app, range("app/", "app1"), false),
            (&app, range("app/", "\0"), false),
            (&app, range("app0", ""), false),
            (&[range("a", "b"), range("b", "c")], range("a", "c"), true),
            (&[range("b", "c"), range("a", "b")], range("a", "c"), true),
            (&[range("a", ""), range("a\0", "c")], range("a", "c"), true),
            (&[range("a", "b"), range("b\0", "c")], range("a", "c"), false),
            (&[range("a", "m"), range("c", "\0")], range("b", "\0"), true),
            (&[range("\0", "\0")], range("\0", "\0"), true),
        ];
        for (granted, wanted, expected) in table {
            assert_eq!(covers(granted.iter(), &wanted), expected, "{granted:?} {wanted:?}");
        }
    }

    /// Three letters, one of them zero: where ranges meet shows in so few.
    fn text(most: usize) -> impl Strategy<Value = Bytes> {
        vec(prop_oneof![Just(0_u8), Just(b'a'), Just(0xff)], 1..=most).prop_map(Bytes::from)
    }

    fn any_range() -> impl Strategy<Value = KeyRange> {
        let end = prop_oneof![Just(Bytes::new()), Just(Bytes::from_static(b"\0")), text(2)];
        (text(2), end).prop_map(|(key, end)| KeyRange { key, end })
    }

    proptest! {
        #[test]
        fn what_is_covered_is_what_each_key_says(
            granted in vec(any_range(), 0..6),
            wanted in any_range(),
        ) {
            let allowed = |key: &[u8]| granted.iter().any(|range| range.contains(key));
            let expected = if wanted.is_empty() {
                allowed(&wanted.key)
            } else {
                let keys = all_keys(&[0, b'a', 0xff]);
                keys.iter().filter(|key| wanted.contains(key)).all(|key| allowed(key))
            };
            prop_assert_eq!(covers(granted.iter(), &wanted), expected);
        }
    }
}
