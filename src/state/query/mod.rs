//! Prepared queries: what they are, and the table of them by id, name and session.

mod execute;
mod template;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use crate::model::{Index, QueryId, SessionId, limits};

use super::State;
use super::pattern::Pattern;
use super::topic::{Topic, Touch};

/// A query as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryDef {
    pub id: QueryId,
    /// In the case it was given; names compare without case. Empty: known by its id alone, or a
    /// template for whatever no other has.
    pub name: String,
    /// It goes when that session ends.
    pub session: Option<SessionId>,
    /// Kept and shown; who asks speaks for itself here.
    pub token: String,
    pub template: QueryTemplate,
    pub target: QueryTarget,
    /// How long answers of DNS may be kept. None: as those of its service.
    pub ttl: Option<Duration>,
    /// The same, as it was written.
    pub ttl_text: String,
}

/// What makes a query one for every name that begins with its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QueryTemplate {
    pub is_set: bool,
    pub regexp: String,
    pub remove_empty_tags: bool,
}

/// Which instances of which service are wanted. Lists that were not given are shown as `null`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QueryTarget {
    pub service: String,
    pub nearest: i64,
    pub datacenters: Option<Vec<String>>,
    /// Other places to look in, each a datacenter; instead of the two above.
    pub elsewhere: Option<Vec<String>>,
    pub only_passing: bool,
    /// Checks that do not count.
    pub ignored_checks: Option<Vec<String>>,
    /// The node that comes first: a name, `_agent` or `_ip`.
    pub near: String,
    /// All of them; with `!` before it a tag must not be there.
    pub tags: Option<Vec<String>>,
    pub node_meta: Option<BTreeMap<String, String>>,
    pub service_meta: Option<BTreeMap<String, String>>,
    /// Of the mesh alone, which has none.
    pub connect: bool,
}

/// A query with the indexes that made and last changed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryRow {
    pub def: QueryDef,
    pub create: Index,
    pub modified: Index,
}

/// Why a query is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum QueryRefusal {
    #[error("Cannot modify non-existent prepared query: '{0}'")]
    NotFound(QueryId),
    #[error("there is a query {0} already")]
    Exists(QueryId),
    #[error("name '{0}' aliases an existing query name")]
    NameTaken(String),
    #[error("name '{0}' aliases an existing query ID")]
    NameIsId(String),
    #[error("a query with an empty name already exists")]
    CatchAllTaken,
    #[error("there are {0} prepared queries, and no more are kept: delete some")]
    TooMany(usize),
    #[error("there are {0} prepared queries with a Regexp, and no more are kept: delete some")]
    TooManyPatterns(usize),
    #[error("a prepared query has at most {max} bytes of text, this one has {len}")]
    TooLarge { len: usize, max: usize },
}

impl QueryDef {
    /// Bytes of all its texts.
    pub fn size(&self) -> usize {
        let mut def = self.clone();
        let inside: usize =
            template::texts(&mut def.target).iter().map(|(_, text)| text.len()).sum();
        let of = [&self.target.node_meta, &self.target.service_meta];
        let keys: usize =
            of.into_iter().flatten().flat_map(|map| map.keys()).map(String::len).sum();
        let others = [&self.name, &self.token, &self.template.regexp, &self.ttl_text];
        inside + keys + others.iter().map(|text| text.len()).sum::<usize>()
    }

    /// What is wrong with its template, if it is one.
    pub fn template_flaw(&self) -> Option<String> {
        template::flaw(self)
    }

    fn folded(&self) -> String {
        self.name.to_ascii_lowercase()
    }
}

#[derive(Clone, Default)]
pub(super) struct Queries {
    pub(super) rows: OrdMap<QueryId, Arc<QueryRow>>,
    /// The last time one came, changed or went.
    pub(super) index: Index,
    /// Derived: those that have a name, and the template without one.
    names: OrdMap<String, QueryId>,
    /// Derived: what the templates hold names against.
    patterns: OrdMap<QueryId, Arc<Pattern>>,
    /// Derived: those of each session.
    of_sessions: OrdSet<(SessionId, QueryId)>,
}

impl Queries {
    pub(super) fn absorb(&mut self, id: QueryId, row: Option<&Arc<QueryRow>>, touch: &mut Touch) {
        touch.mark(&mut self.index, Topic::Queries);
        let old = match row {
            Some(row) => self.rows.insert(id, row.clone()),
            None => self.rows.remove(&id),
        };
        if let Some(QueryRow { def, .. }) = old.as_deref() {
            if self.names.get(&def.folded()) == Some(&id) {
                self.names.remove(&def.folded());
            }
            self.patterns.remove(&id);
            if let Some(session) = def.session {
                self.of_sessions.remove(&(session, id));
            }
        }
        let Some(QueryRow { def, .. }) = row.map(|row| &**row) else { return };
        if !def.name.is_empty() || def.template.is_set {
            self.names.insert(def.folded(), id);
        }
        if def.template.is_set
            && !def.template.regexp.is_empty()
            && let Ok(pattern) = Pattern::new(&def.template.regexp)
        {
            self.patterns.insert(id, Arc::new(pattern));
        }
        if let Some(session) = def.session {
            self.of_sessions.insert((session, id));
        }
    }

    /// Why the query cannot stand beside the others.
    pub(super) fn check(&self, def: &QueryDef) -> Result<(), QueryRefusal> {
        let name = || def.name.clone();
        let (len, max) = (def.size(), limits::QUERY);
        if len > max {
            return Err(QueryRefusal::TooLarge { len, max });
        }
        let is_named = !def.name.is_empty() || def.template.is_set;
        if is_named && self.names.get(&def.folded()).is_some_and(|id| *id != def.id) {
            return Err(match def.name.is_empty() {
                true => QueryRefusal::CatchAllTaken,
                false => QueryRefusal::NameTaken(name()),
            });
        }
        if QueryId::parse(&def.name).is_some_and(|id| self.rows.contains_key(&id)) {
            return Err(QueryRefusal::NameIsId(name()));
        }
        if self.rows.len() >= limits::QUERIES && !self.rows.contains_key(&def.id) {
            return Err(QueryRefusal::TooMany(self.rows.len()));
        }
        let has_pattern = !def.template.regexp.is_empty();
        let patterns = self.patterns.len();
        if has_pattern && patterns >= limits::QUERY_PATTERNS && !self.patterns.contains_key(&def.id)
        {
            return Err(QueryRefusal::TooManyPatterns(patterns));
        }
        Ok(())
    }
}

impl State {
    /// The query of that id.
    pub fn query(&self, id: QueryId) -> Option<&Arc<QueryRow>> {
        self.queries.rows.get(&id)
    }

    /// All prepared queries in order of their ids.
    pub fn queries(&self) -> impl Iterator<Item = &Arc<QueryRow>> {
        self.queries.rows.values()
    }

    /// The queries that go with a session, in order of their ids.
    pub fn session_queries(&self, session: SessionId) -> impl Iterator<Item = QueryId> {
        let all = self.queries.of_sessions.range((session, QueryId(0))..);
        all.take_while(move |(of, _)| *of == session).map(|(_, id)| *id)
    }

    /// What `query` answers with as its index.
    pub fn queries_index(&self) -> Index {
        self.queries.index
    }

    /// The query that goes by this: its id, its name in any case, or else the template with the
    /// longest name that this begins with, filled in. With an id a template has nothing to be
    /// filled in with.
    pub fn find_query(&self, asked: &str) -> Option<Arc<QueryRow>> {
        if let Some(row) = QueryId::parse(asked).and_then(|id| self.query(id)) {
            return (!row.def.template.is_set).then(|| row.clone());
        }
        let folded = asked.to_ascii_lowercase();
        if let Some(row) = self.queries.names.get(&folded).and_then(|id| self.query(*id)) {
            return Some(self.filled_in(row, asked));
        }
        let longest = folded.len().min(limits::QUERY);
        let prefixes = (0..=longest).rev().filter_map(|end| folded.get(..end));
        let row = prefixes
            .filter_map(|prefix| self.query(*self.queries.names.get(prefix)?))
            .find(|row| row.def.template.is_set)?;
        Some(self.filled_in(row, asked))
    }

    fn filled_in(&self, row: &Arc<QueryRow>, asked: &str) -> Arc<QueryRow> {
        if !row.def.template.is_set {
            return row.clone();
        }
        let pattern = self.queries.patterns.get(&row.def.id);
        let mut row = QueryRow::clone(row);
        template::fill_in(&mut row.def, pattern.map(|pattern| &**pattern), asked);
        Arc::new(row)
    }
}
