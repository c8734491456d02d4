//! An encoded answer that many are sent: whole, or rows in another order for each. Pure: the dice
//! are an argument.

use std::convert::Infallible;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use rand::seq::SliceRandom as _;
use rand::{Rng, RngExt as _};
use serde::Serialize;

use crate::consul::json;
use crate::model::limits;

#[derive(Debug, Clone)]
pub enum Content {
    /// There is nothing to show; so many keys have no name that JSON could hold.
    Nothing { omitted: u64 },
    /// JSON.
    Whole { body: Bytes, omitted: u64 },
    /// A list whose order says nothing.
    Shuffled(Deck),
    /// A key's value as it is.
    Raw(Bytes),
}

impl Content {
    pub fn json<T: Serialize>(value: &T, pretty: bool) -> Content {
        Content::Whole { body: json::to_vec(value, pretty).into(), omitted: 0 }
    }

    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        size_of::<Content>()
            + match self {
                Content::Nothing { .. } => 0,
                Content::Whole { body, .. } | Content::Raw(body) => body.len(),
                Content::Shuffled(deck) => deck.size(),
            }
    }

    /// Equal for equal contents, and for others not but by a chance of one in 2^64, which nobody
    /// can help who does not know the hasher's keys.
    pub fn digest(&self, keyed: &RandomState) -> u64 {
        let mut hasher = keyed.build_hasher();
        match self {
            Content::Nothing { omitted } => (0, omitted).hash(&mut hasher),
            Content::Whole { body, omitted } => (1, body, omitted).hash(&mut hasher),
            Content::Shuffled(deck) => (2, &deck.rows).hash(&mut hasher),
            Content::Raw(body) => (3, body).hash(&mut hasher),
        }
        hasher.finish()
    }
}

/// Rows that are encoded once, and dealt in a new order to everyone.
#[derive(Debug, Clone)]
pub struct Deck {
    /// Each with the comma behind it.
    rows: Bytes,
    /// Where each ends, its comma included.
    ends: Box<[u32]>,
    pretty: bool,
}

impl Deck {
    pub fn new<T: Serialize>(rows: impl Iterator<Item = T>, pretty: bool) -> Deck {
        let (mut all, mut ends) = (Vec::new(), Vec::new());
        let tail = if pretty { "\n]\n".len() } else { "]".len() };
        for row in rows {
            // As the only one of a list it is indented as it has to be.
            let alone = json::to_vec(&[row], pretty);
            all.extend_from_slice(alone.get(1..alone.len() - tail).unwrap_or_default());
            all.push(b',');
            ends.push(u32::try_from(all.len()).unwrap_or(u32::MAX));
        }
        Deck { rows: all.into(), ends: ends.into(), pretty }
    }

    fn size(&self) -> usize {
        self.rows.len() + self.ends.len() * size_of::<u32>()
    }

    fn tail(&self) -> &'static [u8] {
        match (self.pretty, self.ends.is_empty()) {
            (false, _) => b"]",
            (true, true) => b"]\n",
            (true, false) => b"\n]\n",
        }
    }

    fn range(&self, from: usize, to: usize) -> std::ops::Range<usize> {
        let end = |row: usize| match row.checked_sub(1) {
            None => 0,
            Some(before) => self.ends.get(before).map_or(self.rows.len(), |end| *end as usize),
        };
        end(from)..end(to)
    }

    /// The list in an order by chance. Every row is as often the first as any other.
    pub fn deal(&self, dice: &mut impl Rng) -> Pieces {
        if self.rows.len() <= limits::ANSWER_COPIED {
            return Pieces::new([self.shuffled(dice)]);
        }
        let mut pieces = vec![Bytes::from_static(b"[")];
        pieces.extend(self.runs(dice).into_iter().map(|run| self.rows.slice(run)));
        if let Some(last) = pieces.last_mut() {
            last.truncate(last.len() - 1);
        }
        pieces.push(Bytes::from_static(self.tail()));
        Pieces::new(pieces)
    }

    /// Copied row by row.
    fn shuffled(&self, dice: &mut impl Rng) -> Bytes {
        let mut order: Vec<usize> = (0..self.ends.len()).collect();
        order.shuffle(dice);
        let mut body = BytesMut::with_capacity(self.rows.len() + 4);
        body.extend_from_slice(b"[");
        for row in order {
            body.extend_from_slice(self.rows.get(self.range(row, row + 1)).unwrap_or_default());
        }
        if !self.ends.is_empty() {
            body.truncate(body.len() - 1);
        }
        body.extend_from_slice(self.tail());
        body.freeze()
    }

    /// Cut at random places, begun at a random row, and put together in a random order.
    fn runs(&self, dice: &mut impl Rng) -> Vec<std::ops::Range<usize>> {
        let rows = self.ends.len();
        let mut cuts: Vec<usize> =
            (0..limits::ANSWER_RUNS).map(|_| dice.random_range(0..rows)).collect();
        cuts.extend([0, rows]);
        cuts.sort_unstable();
        cuts.dedup();
        let mut runs: Vec<(usize, usize)> =
            cuts.windows(2).filter_map(|cut| Some((*cut.first()?, *cut.get(1)?))).collect();
        // A row that a run begins with would be the first more often than the others.
        let first = dice.random_range(0..rows);
        if let Some(at) = runs.iter().position(|(from, to)| (*from..*to).contains(&first)) {
            let (from, to) = runs.swap_remove(at);
            runs.shuffle(dice);
            runs.insert(0, (first, to));
            runs.push((from, first));
        }
        let kept = runs.into_iter().filter(|(from, to)| from < to);
        kept.map(|(from, to)| self.range(from, to)).collect()
    }
}

/// A body of a known length in pieces that are shared with others.
#[derive(Debug)]
pub struct Pieces {
    ahead: std::vec::IntoIter<Bytes>,
    left: u64,
}

impl Pieces {
    pub fn new(pieces: impl Into<Vec<Bytes>>) -> Pieces {
        let pieces = pieces.into();
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Pieces { ahead: pieces.into_iter(), left }
    }

    pub fn into_pieces(self) -> impl Iterator<Item = Bytes> {
        self.ahead
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.ahead.next();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    fn dealt(deck: &Deck, dice: &mut StdRng) -> Vec<u8> {
        deck.deal(dice).into_pieces().flat_map(|piece| piece.to_vec()).collect()
    }

    fn rows(count: usize, len: usize) -> Vec<(usize, String)> {
        (0..count).map(|row| (row, "x".repeat(len))).collect()
    }

    #[test]
    fn what_is_dealt_is_the_list_in_another_order() {
        let mut dice = StdRng::seed_from_u64(1);
        for (count, len) in [(0, 0), (1, 5), (1, 20_000), (3, 5), (500, 100), (7, 9000)] {
            for pretty in [false, true] {
                let rows = rows(count, len);
                let deck = Deck::new(rows.iter(), pretty);
                for _ in 0..20 {
                    let body = dealt(&deck, &mut dice);
                    let mut read: Vec<(usize, String)> = serde_json::from_slice(&body).unwrap();
                    // In the order dealt, it is what the encoder would have made of it.
                    assert_eq!(body, json::to_vec(&read, pretty));
                    read.sort();
                    assert_eq!(read, rows, "{count} of {len}");
                }
            }
        }
    }

    #[test]
    fn every_row_is_the_first_as_often_as_any_other() {
        let mut dice = StdRng::seed_from_u64(2);
        for (count, len) in [(5, 10), (40, 1000)] {
            let deck = Deck::new(rows(count, len).iter(), false);
            let mut firsts: BTreeMap<usize, u32> = BTreeMap::new();
            let deals = 400 * count;
            for _ in 0..deals {
                let read: Vec<(usize, String)> =
                    serde_json::from_slice(&dealt(&deck, &mut dice)).unwrap();
                *firsts.entry(read[0].0).or_default() += 1;
            }
            assert_eq!(firsts.len(), count);
            // Six standard deviations of 400 around it.
            assert!(firsts.values().all(|times| (280..520).contains(times)), "{firsts:?}");
        }
    }

    #[test]
    fn the_length_is_known_before() {
        let deck = Deck::new(rows(40, 1000).iter(), false);
        let pieces = deck.deal(&mut StdRng::seed_from_u64(3));
        let told = pieces.size_hint().exact().unwrap();
        assert_eq!(told, pieces.into_pieces().map(|piece| piece.len() as u64).sum::<u64>());
    }

    #[test]
    fn digests_tell_contents_apart() {
        let deck = |count| Content::Shuffled(Deck::new(rows(count, 3).iter(), false));
        let whole = |omitted| Content::Whole { body: Bytes::from_static(b"[]"), omitted };
        let keyed = RandomState::new();
        assert_eq!(deck(3).digest(&keyed), deck(3).digest(&keyed));
        let all = [
            deck(3),
            deck(4),
            whole(0),
            whole(1),
            Content::Raw(Bytes::from_static(b"[]")),
            Content::Nothing { omitted: 0 },
            Content::Nothing { omitted: 1 },
        ];
        let digests = all.iter().map(|content| content.digest(&keyed));
        let digests: std::collections::BTreeSet<u64> = digests.collect();
        assert_eq!(digests.len(), all.len());
    }
}
