//! Who waits for which range of keys: a search tree over the ranges' beginnings, each node of
//! which knows how far anything below it reaches. Balanced by priorities that are a hash of the
//! watch's number, so that no order of arrivals makes it deep. Pure.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::state::KeyRange;

#[derive(Debug)]
pub(super) struct Intervals<V> {
    root: Link<V>,
}

type Link<V> = Option<Box<Node<V>>>;

#[derive(Debug)]
struct Node<V> {
    start: Bytes,
    end: End,
    id: u64,
    value: V,
    priority: u64,
    /// The furthest end of this node and all below it.
    reach: End,
    left: Link<V>,
    right: Link<V>,
}

/// The first key that is not in a range any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Before(Bytes),
    Never,
}

impl End {
    fn of(range: &KeyRange) -> End {
        match range.end.as_ref() {
            b"" => End::Before([range.key.as_ref(), b"\0"].concat().into()),
            b"\0" => End::Never,
            _ => End::Before(range.end.clone()),
        }
    }

    fn is_after(&self, key: &[u8]) -> bool {
        match self {
            End::Before(end) => end.as_ref() > key,
            End::Never => true,
        }
    }
}

impl<V> Default for Intervals<V> {
    fn default() -> Intervals<V> {
        Intervals { root: None }
    }
}

impl<V> Intervals<V> {
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// `id` tells it from others of the same range.
    pub fn insert(&mut self, range: &KeyRange, id: u64, value: V) {
        let end = End::of(range);
        let node = Box::new(Node {
            start: range.key.clone(),
            reach: end.clone(),
            end,
            id,
            value,
            priority: scattered(id),
            left: None,
            right: None,
        });
        self.root = Some(add(self.root.take(), node));
    }

    pub fn remove(&mut self, range: &KeyRange, id: u64) {
        self.root = take(self.root.take(), &range.key, id);
    }

    /// Calls `found` with all whose range has the key, in order of their beginnings.
    pub fn at(&self, key: &[u8], found: &mut impl FnMut(&V)) {
        stab(&self.root, key, found);
    }

    pub fn values(&self) -> Vec<(u64, &V)> {
        let mut values = Vec::new();
        let mut ahead: Vec<&Node<V>> = self.root.as_deref().into_iter().collect();
        while let Some(node) = ahead.pop() {
            values.push((node.id, &node.value));
            ahead.extend(node.left.as_deref());
            ahead.extend(node.right.as_deref());
        }
        values
    }
}

impl<V> Node<V> {
    fn order(&self, start: &Bytes, id: u64) -> Ordering {
        (&self.start, self.id).cmp(&(start, id))
    }

    /// To be called whenever what lies below has changed.
    fn measured(mut self: Box<Self>) -> Box<Self> {
        let below = [&self.left, &self.right].into_iter().flatten().map(|node| &node.reach);
        self.reach = below.chain([&self.end]).max().unwrap_or(&self.end).clone();
        self
    }
}

/// Numbers that follow each other become numbers that look like chance (splitmix64).
fn scattered(id: u64) -> u64 {
    let mut mixed = id.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn add<V>(tree: Link<V>, mut new: Box<Node<V>>) -> Box<Node<V>> {
    let Some(mut node) = tree else { return new };
    if new.priority > node.priority {
        let (left, right) = split(Some(node), &new.start, new.id);
        (new.left, new.right) = (left, right);
        return new.measured();
    }
    if node.order(&new.start, new.id).is_lt() {
        node.right = Some(add(node.right.take(), new));
    } else {
        node.left = Some(add(node.left.take(), new));
    }
    node.measured()
}

/// What comes before that place, and what after.
fn split<V>(tree: Link<V>, start: &Bytes, id: u64) -> (Link<V>, Link<V>) {
    let Some(mut node) = tree else { return (None, None) };
    if node.order(start, id).is_lt() {
        let (between, after) = split(node.right.take(), start, id);
        node.right = between;
        (Some(node.measured()), after)
    } else {
        let (before, between) = split(node.left.take(), start, id);
        node.left = between;
        (before, Some(node.measured()))
    }
}

/// Everything in `left` comes before everything in `right`.
fn join<V>(left: Link<V>, right: Link<V>) -> Link<V> {
    match (left, right) {
        (None, tree) | (tree, None) => tree,
        (Some(mut left), Some(mut right)) => Some(if left.priority > right.priority {
            left.right = join(left.right.take(), Some(right));
            left.measured()
        } else {
            right.left = join(Some(left), right.left.take());
            right.measured()
        }),
    }
}

fn take<V>(tree: Link<V>, start: &Bytes, id: u64) -> Link<V> {
    let mut node = tree?;
    match node.order(start, id) {
        Ordering::Less => node.right = take(node.right.take(), start, id),
        Ordering::Greater => node.left = take(node.left.take(), start, id),
        Ordering::Equal => return join(node.left, node.right),
    }
    Some(node.measured())
}

fn stab<V>(tree: &Link<V>, key: &[u8], found: &mut impl FnMut(&V)) {
    let Some(node) = tree.as_ref().filter(|node| node.reach.is_after(key)) else { return };
    stab(&node.left, key, found);
    if node.start.as_ref() <= key {
        if node.end.is_after(key) {
            found(&node.value);
        }
        stab(&node.right, key, found);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range() -> impl Strategy<Value = KeyRange> {
        let key = || prop::collection::vec(prop::sample::select(vec![0u8, b'a', b'b', 0xff]), 0..3);
        (key(), key()).prop_map(|(key, end)| KeyRange { key: key.into(), end: end.into() })
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(KeyRange),
        Remove(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => range().prop_map(Step::Add),
            1 => any::<prop::sample::Index>().prop_map(Step::Remove),
        ]
    }

    proptest! {
        #[test]
        fn a_key_finds_the_ranges_that_have_it(
            steps in prop::collection::vec(step(), 0..60),
            keys in prop::collection::vec(range(), 10),
        ) {
            let (mut tree, mut model, mut next) = (Intervals::default(), Vec::new(), 0);
            for step in steps {
                match step {
                    Step::Add(range) => {
                        tree.insert(&range, next, next);
                        model.push((next, range));
                        next += 1;
                    }
                    Step::Remove(at) if !model.is_empty() => {
                        let (id, range) = model.swap_remove(at.index(model.len()));
                        tree.remove(&range, id);
                    }
                    Step::Remove(_) => {}
                }
            }
            for KeyRange { key, .. } in keys {
                let mut found = Vec::new();
                tree.at(&key, &mut |id| found.push(*id));
                found.sort();
                let mut expected: Vec<u64> = model
                    .iter()
                    .filter(|(_, range)| !range.is_empty() && range.contains(&key))
                    .map(|(id, _)| *id)
                    .collect();
                expected.sort();
                prop_assert_eq!(found, expected, "{:?} of {:?}", key, model);
            }
            prop_assert_eq!(tree.values().len(), model.len());
            prop_assert_eq!(tree.is_empty(), model.is_empty());
        }
    }

    /// Whatever the order in which they come, no path is long, and a key looks at few nodes.
    #[test]
    fn many_ranges_make_no_deep_tree() {
        fn depth<V>(tree: &Link<V>) -> usize {
            tree.as_ref().map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
        }
        let mut tree = Intervals::default();
        let name = |n: u64| Bytes::from(format!("{n:08}"));
        for n in 0..10_000 {
            tree.insert(&KeyRange { key: name(n), end: name(n + 2) }, n, n);
        }
        assert!(depth(&tree.root) < 48, "{}", depth(&tree.root));
        let mut found = Vec::new();
        tree.at(&name(5000), &mut |id| found.push(*id));
        assert_eq!(found, [4999, 5000]);
    }
}
