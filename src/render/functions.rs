//! What a template can ask: services, instances, keys, the environment.

use std::sync::Arc;

use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, State as Engine, Value};

use crate::model::{Folded, Health};
use crate::state::{InstanceView, KeyRow};

use super::objects::{Instance, Pair, Service};
use super::reads::{Read, Session};

/// Puts the functions into the table of globals, all looking at one session.
pub(super) fn install(engine: &mut Environment<'static>, session: &Arc<Session>) {
    let s = session.clone();
    engine.add_function("services", move |e: &Engine| services(&s, e));
    let s = session.clone();
    engine.add_function("service", move |e: &Engine, name: &str, options: Kwargs| {
        service(&s, e, name, &options)
    });
    let s = session.clone();
    engine.add_function("key", move |path: &str| key(&s, path));
    let s = session.clone();
    engine.add_function("key_or", move |path: &str, default: Value| key_or(&s, path, default));
    let s = session.clone();
    engine.add_function("ls", move |e: &Engine, prefix: &str| pairs(&s, e, prefix, Depth::One));
    let s = session.clone();
    engine.add_function("tree", move |e: &Engine, prefix: &str| pairs(&s, e, prefix, Depth::All));
    let s = session.clone();
    engine.add_function("env", move |name: &str, default: Option<Value>| env(&s, name, default));
}

fn fail(what: impl ToString) -> Error {
    Error::new(ErrorKind::InvalidOperation, what.to_string())
}

/// All services with the tags of their instances, in order of their names.
fn services(session: &Session, engine: &Engine) -> Result<Value, Error> {
    session.read(Read::Services).map_err(fail)?;
    let services = session.state.services();
    engine.consume_fuel(services.len() as u64)?;
    let rows = services.into_iter().map(|(name, tags)| Value::from_object(Service { name, tags }));
    Ok(Value::from(rows.collect::<Vec<_>>()))
}

/// `service("web", tag="v1", health="passing")`: without `health` those that DNS would give.
fn service(
    session: &Session,
    engine: &Engine,
    name: &str,
    options: &Kwargs,
) -> Result<Value, Error> {
    let tag: Option<&str> = options.get("tag")?;
    let health: Option<&str> = options.get("health")?;
    options.assert_all_used()?;
    session.read(Read::Service(Folded::new(name))).map_err(fail)?;
    let wanted = Wanted::parse(health)?;
    let chosen: Vec<Value> = session
        .state
        .instances(name)
        .filter(|view| tag.is_none_or(|tag| view.instance.def.has_tag(tag)))
        .filter(|view| wanted.takes(view))
        .map(|view| Value::from_object(Instance::new(&view)))
        .collect();
    engine.consume_fuel(chosen.len() as u64)?;
    Ok(Value::from(chosen))
}

/// Which instances a template asked for.
enum Wanted {
    /// Those that may be given traffic: not critical.
    Healthy,
    Any,
    Exactly(Health),
}

impl Wanted {
    fn parse(health: Option<&str>) -> Result<Wanted, Error> {
        match health {
            None | Some("healthy") => Ok(Wanted::Healthy),
            Some("any") => Ok(Wanted::Any),
            Some(word) => word.parse().map(Wanted::Exactly).map_err(|_| {
                fail(format!(
                    "health={word:?}: use \"healthy\", \"any\", \"passing\", \"warning\" or \
                     \"critical\""
                ))
            }),
        }
    }

    fn takes(&self, view: &InstanceView<'_>) -> bool {
        match self {
            Wanted::Healthy => view.health() != Health::Critical,
            Wanted::Any => true,
            Wanted::Exactly(health) => view.health() == *health,
        }
    }
}

/// A key's value; a missing one holds the whole template up.
fn key(session: &Session, path: &str) -> Result<Value, Error> {
    session.read(Read::Key(path.to_owned())).map_err(fail)?;
    match session.state.key(path.as_bytes()) {
        Some(row) => text(path, row).map(Value::from),
        None => {
            session.miss(path);
            Ok(Value::from(""))
        }
    }
}

fn key_or(session: &Session, path: &str, default: Value) -> Result<Value, Error> {
    session.read(Read::Key(path.to_owned())).map_err(fail)?;
    match session.state.key(path.as_bytes()) {
        Some(row) => text(path, row).map(Value::from),
        None => Ok(default),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    One,
    All,
}

/// The keys below `prefix/` with their values, named relative to it. A key that ends in a slash is
/// a folder, as Consul's UI makes them, and is left out.
fn pairs(session: &Session, engine: &Engine, prefix: &str, depth: Depth) -> Result<Value, Error> {
    let folder = match prefix {
        "" => String::new(),
        _ if prefix.ends_with('/') => prefix.to_owned(),
        _ => format!("{prefix}/"),
    };
    session.read(Read::Prefix(folder.clone())).map_err(fail)?;
    let mut pairs = Vec::new();
    let mut looked_at = 0;
    for (key, row) in session.state.keys_with_prefix(folder.as_bytes()) {
        looked_at += 1;
        let Ok(path) = std::str::from_utf8(key) else {
            let key = String::from_utf8_lossy(key);
            return Err(fail(format!("the name of the key {key:?} below {folder:?} is not UTF-8")));
        };
        let name = path.get(folder.len()..).unwrap_or_default();
        if name.is_empty() || name.ends_with('/') || (depth == Depth::One && name.contains('/')) {
            continue;
        }
        pairs.push(Value::from_object(Pair::new(name, path, text(path, row)?)));
    }
    engine.consume_fuel(looked_at)?;
    Ok(Value::from(pairs))
}

fn text<'a>(path: &str, row: &'a KeyRow) -> Result<&'a str, Error> {
    std::str::from_utf8(&row.value).map_err(|_| {
        let len = row.value.len();
        fail(format!("the value of key {path:?} ({len} bytes) is not UTF-8"))
    })
}

/// A variable of the agent's environment; without a default it must be set.
fn env(session: &Session, name: &str, default: Option<Value>) -> Result<Value, Error> {
    match (session.environment.get(name), default) {
        (Some(value), _) => Ok(Value::from(value.as_str())),
        (None, Some(default)) => Ok(default),
        (None, None) => Err(fail(format!(
            "the environment variable {name} is not set: set it, or give a default: \
             env({name:?}, \"…\")"
        ))),
    }
}
