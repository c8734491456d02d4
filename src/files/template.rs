//! Keeps the file of one template true: render, stage, check, replace, ask for the reload.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::command;
use super::config::TemplateSpec;
use super::error::WriteError;
use super::job::{Acted, Job, Verdict};
use super::owed::Owed;
use super::place::{self, Staged, Way};
use crate::model::limits;
use crate::render::{Outcome, Read, Template};
use crate::replica::Topic;
use crate::state::State;

pub(super) struct TemplateJob {
    spec: Arc<TemplateSpec>,
    template: Arc<Template>,
    environment: Arc<BTreeMap<String, String>>,
    /// Marked before the file changes.
    owed: Option<Owed>,
    /// What a crash left is swept once.
    swept: bool,
}

/// What the blocking part hands back.
enum Made {
    Unchanged,
    Staged(Staged),
    Committed(Way),
    Waiting(BTreeSet<String>),
    Failed(String),
}

impl TemplateJob {
    pub(super) fn new(
        spec: TemplateSpec,
        template: Template,
        environment: Arc<BTreeMap<String, String>>,
        owed: Option<Owed>,
    ) -> TemplateJob {
        let (spec, template) = (Arc::new(spec), Arc::new(template));
        TemplateJob { spec, template, environment, owed, swept: false }
    }

    /// Renders and stages; where there is no check to ask, replaces as well: one trip to a blocking
    /// thread instead of two.
    async fn make(&mut self, state: &Arc<State>) -> (BTreeSet<Read>, Made) {
        let (spec, template) = (self.spec.clone(), self.template.clone());
        let (state, environment) = (state.clone(), self.environment.clone());
        let (owed, swept) = (self.owed.clone(), std::mem::replace(&mut self.swept, true));
        let work = tokio::task::spawn_blocking(move || {
            if !swept {
                let directory = place::directory_of(&spec.destination);
                place::sweep(directory, Some(&spec.destination));
            }
            let rendering = template.render(&state, &environment);
            let text = match rendering.outcome {
                Outcome::Text(text) => text,
                Outcome::Waiting(keys) => return (rendering.reads, Made::Waiting(keys)),
                Outcome::Failed(error) => return (rendering.reads, failed(&error)),
            };
            let made = match place::stage(&spec.destination, text.as_bytes(), spec.mode) {
                Ok(None) => Made::Unchanged,
                Ok(Some(staged)) if spec.check.is_some() => Made::Staged(staged),
                Ok(Some(staged)) => commit(staged, owed.as_ref()),
                Err(error) => failed(&error),
            };
            (rendering.reads, made)
        });
        work.await.unwrap_or_else(|error| {
            (BTreeSet::new(), failed(&WriteError::Interrupted(error.to_string())))
        })
    }

    async fn check(&self, staged: Staged) -> Made {
        if let Some(check) = &self.spec.check {
            let checked = command::run(check, Some(staged.path()), limits::CHECK_TIMEOUT).await;
            if let Err(error) = checked {
                return Made::Failed(format!("the check refused the new text: {error}"));
            }
        }
        let owed = self.owed.clone();
        tokio::task::spawn_blocking(move || commit(staged, owed.as_ref()))
            .await
            .unwrap_or_else(|error| failed(&WriteError::Interrupted(error.to_string())))
    }
}

impl Job for TemplateJob {
    async fn act(&mut self, state: &Arc<State>) -> Acted {
        let (reads, made) = self.make(state).await;
        let made = match made {
            Made::Staged(staged) => self.check(staged).await,
            other => other,
        };
        let (verdict, written) = match made {
            Made::Committed(way) => {
                tracing::info!(file = %self.spec.destination.display(), "written");
                (arrived(way), 1)
            }
            Made::Unchanged => (Verdict::Done, 0),
            Made::Waiting(keys) => (Verdict::Waiting(missing(&keys)), 0),
            Made::Failed(what) => (Verdict::Failed(what), 0),
            Made::Staged(_) => (Verdict::Failed("the check gave no verdict".to_owned()), 0),
        };
        Acted { topics: reads.into_iter().map(topic).collect(), verdict, written }
    }
}

fn failed(error: &impl ToString) -> Made {
    Made::Failed(error.to_string())
}

fn commit(staged: Staged, owed: Option<&Owed>) -> Made {
    if let Some(owed) = owed {
        owed.mark();
    }
    staged.commit().map_or_else(|error| failed(&error), Made::Committed)
}

fn arrived(way: Way) -> Verdict {
    match way {
        Way::Renamed => Verdict::Done,
        Way::InPlace => Verdict::Warned(
            "written in place, not renamed: the file is a mount, or its directory cannot be \
             written; a crash in that moment leaves a mixture"
                .to_owned(),
        ),
    }
}

/// Names the first few; how many there are in all.
fn missing(keys: &BTreeSet<String>) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = keys.iter().take(SHOWN).map(|key| format!("{key:?}")).collect();
    let more = keys.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let noun = if keys.len() == 1 { "the key" } else { "the keys" };
    format!("waiting for {noun} {}{more}", shown.join(", "))
}

fn topic(read: Read) -> Topic {
    match read {
        Read::Key(key) => Topic::Key(key.into()),
        Read::Prefix(prefix) => Topic::Prefix(prefix.into()),
        Read::Service(name) => Topic::Service(name),
        Read::Services => Topic::Services,
    }
}
