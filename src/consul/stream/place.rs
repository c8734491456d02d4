//! How far a stream has come, and how that is written as the id of an event. Pure.

use std::fmt;

use crate::model::{Index, Revision};
use crate::state::State;

/// Everything up to there was told. Catalog and keys count apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub index: Index,
    pub revision: Revision,
    /// None: the client gave an index alone, and it is taken to be of this one.
    lineage: Option<u64>,
}

impl Place {
    pub const BEGINNING: Place = Place { index: 0, revision: 0, lineage: None };

    pub fn of(state: &State) -> Place {
        let lineage = Some(state.identity().lineage);
        Place { index: state.index(), revision: state.revision(), lineage }
    }

    /// Reads what `Display` prints, or the index of an answer about the catalog.
    pub fn parse(text: &str) -> Option<Place> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u64>().ok().filter(|_| digits)
        };
        let mut parts = text.split('-');
        let index = number(parts.next()?)?;
        let Some(revision) = parts.next() else {
            return Some(Place { index, ..Place::BEGINNING });
        };
        let revision = Revision::try_from(number(revision)?).ok()?;
        let lineage = parts.next()?;
        // `from_str_radix` takes a sign.
        let hex = !lineage.is_empty() && lineage.bytes().all(|byte| byte.is_ascii_hexdigit());
        let lineage = u64::from_str_radix(lineage, 16).ok().filter(|_| hex)?;
        parts.next().is_none().then_some(Place { index, revision, lineage: Some(lineage) })
    }

    /// Whether what was told up to there is still so: a restore leaves nothing of it.
    pub fn counts_in(self, state: &State) -> bool {
        self.lineage.is_none_or(|lineage| lineage == state.identity().lineage)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { index, revision, lineage } = self;
        write!(f, "{index}-{revision}-{:x}", lineage.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let place = Place { index: 12, revision: 7, lineage: Some(0xabc) };
        assert_eq!(place.to_string(), "12-7-abc");
        assert_eq!(Place::parse("12-7-abc"), Some(place));
        assert_eq!(Place::parse("12"), Some(Place { index: 12, revision: 0, lineage: None }));
        for text in ["", "-", "12-", "12-7", "12-7-", "12-7-abc-", "+1", "1-+2-3", "1-2-+3", "x"] {
            assert_eq!(Place::parse(text), None, "{text:?}");
        }
    }
}
