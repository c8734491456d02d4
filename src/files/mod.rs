//! Keeps config files true on disk: templates and key prefixes, staged, checked, renamed, reloaded.

mod command;
mod config;
mod damper;
mod directory;
mod error;
mod job;
mod layout;
mod manifest;
mod meters;
mod owed;
mod place;
mod prefix;
mod reload;
mod template;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::lifecycle::Life;
use crate::render::Template;
use crate::telemetry::Metrics;

pub use config::{Argv, Config, PrefixSpec, TemplateSource, TemplateSpec, Wait};
pub use error::Error;

use job::{Remaining, Runner};
use meters::Meters;
use owed::Owed;
use prefix::PrefixJob;
use reload::Reloads;
use template::TemplateJob;

/// Compiles all templates, then keeps every file true until the shutdown. `Gate::Rendered` opens
/// once each of them has been written, or found to be as it should.
pub fn start(
    config: Config,
    cluster: &Cluster,
    life: &Life,
    metrics: &Metrics,
) -> Result<(), Error> {
    refuse_shared(&config)?;
    let environment: Arc<BTreeMap<String, String>> = Arc::new(environment());
    let compiled: Vec<(TemplateSpec, Template)> = config
        .templates
        .into_iter()
        .map(|spec| compile(&spec).map(|template| (spec, template)))
        .collect::<Result<_, Error>>()?;
    let meters = Meters::new(metrics);
    let remaining = Remaining::new(compiled.len() + config.files.len(), life);
    let mut reloads = Reloads::default();
    let runner = |path: &Path, wait, afterwards| Runner {
        subject: format!("files/{}", path.display()),
        wait,
        cluster: cluster.clone(),
        life: life.clone(),
        meter: meters.of(&path.display().to_string()),
        remaining: remaining.clone(),
        afterwards,
    };
    for (spec, template) in compiled {
        let owed = spec.reload.as_ref().map(|_| Owed::for_file(&spec.destination));
        let afterwards = reloads.afterwards(spec.reload.as_ref(), owed.as_ref());
        let runner = runner(&spec.destination, spec.wait, afterwards);
        let job = TemplateJob::new(spec, template, environment.clone(), owed);
        life.tasks.spawn("files-template", runner.run(job));
    }
    for spec in config.files {
        let owed = spec.reload.as_ref().map(|_| Owed::for_directory(&spec.directory));
        let afterwards = reloads.afterwards(spec.reload.as_ref(), owed.as_ref());
        let runner = runner(&spec.directory, spec.wait, afterwards);
        life.tasks.spawn("files-prefix", runner.run(PrefixJob::new(spec, owed)));
    }
    reloads.spawn(life, &meters);
    Ok(())
}

/// Reads and compiles a template; what `check-config` asks too.
pub fn compile(spec: &TemplateSpec) -> Result<Template, Error> {
    let (name, source) = match &spec.source {
        TemplateSource::Contents(text) => {
            (format!("contents for {}", spec.destination.display()), text.clone())
        }
        TemplateSource::Path(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Error::Source { path: path.clone(), error })?;
            (path.display().to_string(), text)
        }
    };
    Ok(Template::compile(&name, &source)?)
}

/// Two writers of one file would undo each other for ever.
fn refuse_shared(config: &Config) -> Result<(), Error> {
    let templates = config.templates.iter().map(|spec| ("destination", &spec.destination));
    let files = config.files.iter().map(|spec| ("directory", &spec.directory));
    let mut taken: BTreeSet<PathBuf> = BTreeSet::new();
    for (key, path) in templates.chain(files) {
        if path.file_name().is_none() {
            return Err(Error::NoFile { key, path: path.clone() });
        }
        if !taken.insert(path.components().collect()) {
            return Err(Error::SharedDestination { path: path.clone() });
        }
    }
    Ok(())
}

/// The agent's own environment; what is not UTF-8 in it does not exist for a template.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
