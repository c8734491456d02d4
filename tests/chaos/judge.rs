//! The end of a run: everyone has the same, nothing acknowledged is missing, one order explains all.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ask::{Answer, decode};
use super::clients::{PREFIX, modified};
use super::crowd::Crowd;
use super::history::{Deed, End, History, Operation};
use super::load::{Field, Load};
use super::wait::eventually;

const AGREE: Duration = Duration::from_secs(30);

/// Key to value and revision.
type Content = BTreeMap<String, (String, u64)>;

/// Checks the run that has ended: the clients are at home and all agents are well.
pub fn judge(crowd: Crowd, load: &Load, agents: &[String]) {
    let content = agree(load, agents);
    let field = &load.field;
    let mut history = field.history.lock().unwrap();
    history.last = Some(listed(&content));
    place(&mut history, &content);
    let mut wrong = history.check();
    wrong.extend(crowd.thin(&history));
    wrong.extend(lost(&history, &content));
    wrong.extend(updated_twice(&history));
    wrong.extend(by_key(&history).iter().flat_map(History::check));
    wrong.extend(field.wrong.lock().unwrap().iter().cloned());
    wrong.sort();
    wrong.dedup();
    let shown = wrong.iter().take(20).map(|why| format!("\n  {why}"));
    assert!(wrong.is_empty(), "{} things are wrong:{}", wrong.len(), shown.collect::<String>());
}

/// Waits until each agent by itself has the same; that content.
fn agree(load: &Load, agents: &[String]) -> Content {
    eventually("all agents have the same", AGREE, || {
        let mut first: Option<(Option<u64>, Content)> = None;
        for agent in agents {
            let answer = load.run(stale(&load.field, agent))?;
            let own = (answer.index, read(&answer)?);
            match &first {
                Some(first) if *first != own => return Err(differ(&first.1, &own.1, agent)),
                _ => first = Some(own),
            }
        }
        Ok(first.ok_or("there are no agents")?.1)
    })
}

async fn stale(field: &Field, agent: &str) -> Result<Answer, String> {
    let path = format!("/v1/kv/{PREFIX}?recurse&stale");
    field.asker.get(agent, &path).await.map_err(|why| why.to_string())
}

fn read(answer: &Answer) -> Result<Content, String> {
    let rows = answer.good()?;
    let rows = rows.as_array().ok_or("no rows")?;
    let row = |row: &serde_json::Value| {
        let key = row["Key"].as_str()?.to_owned();
        Some((key, (decode(&row["Value"])?, modified(row))))
    };
    rows.iter().map(row).collect::<Option<Content>>().ok_or("a row is no row".to_owned())
}

fn differ(one: &Content, other: &Content, agent: &str) -> String {
    let odd = one.iter().find(|(key, row)| other.get(*key) != Some(row));
    format!("{agent} has {} keys instead of {}; {odd:?} is not there", other.len(), one.len())
}

fn listed(content: &Content) -> Vec<(String, String, u64)> {
    content.iter().map(|(key, (value, at))| (key.clone(), value.clone(), *at)).collect()
}

/// Consul does not say at which revision it wrote; whoever saw the value knows.
fn place(history: &mut History, content: &Content) {
    let seen = history.operations.iter().filter_map(|operation| match &operation.end {
        End::Read(seen) => seen.value.clone(),
        _ => None,
    });
    let places: BTreeMap<String, u64> = seen.chain(content.values().cloned()).collect();
    for operation in &mut history.operations {
        if let (Deed::Cas { value, .. } | Deed::Put { value, .. }, End::Wrote(at @ None)) =
            (&operation.deed, &mut operation.end)
        {
            *at = places.get(value).copied();
        }
    }
}

/// Keys that were written once and acknowledged are there.
fn lost(history: &History, content: &Content) -> Vec<String> {
    let once = format!("{PREFIX}once/");
    let missing = |operation: &&Operation| {
        let Deed::Put { key, value } = &operation.deed else { return false };
        let acknowledged = matches!(operation.end, End::Wrote(_));
        let found = content.get(key).map(|(found, _)| found);
        acknowledged && key.starts_with(&once) && found != Some(value)
    };
    history.operations.iter().filter(missing).map(|op| format!("lost: {op:?}")).collect()
}

/// Of those who compared with the same version of a key, one at most was told that it wrote.
fn updated_twice(history: &History) -> Vec<String> {
    let mut winners: BTreeMap<(&str, u64), &Operation> = BTreeMap::new();
    let mut wrong = Vec::new();
    for operation in &history.operations {
        if let (Deed::Cas { key, expected, .. }, End::Wrote(_)) = (&operation.deed, &operation.end)
            && let Some(other) = winners.insert((key, *expected), operation)
        {
            wrong.push(format!("both replaced one version: {other:?} and {operation:?}"));
        }
    }
    wrong
}

/// Consul's reads tell the key's own revision, so each key has an order of its own to be held to.
fn by_key(history: &History) -> Vec<History> {
    let mut keys: BTreeMap<&str, History> = BTreeMap::new();
    for operation in &history.operations {
        let Deed::StaleGet { key } = &operation.deed else { continue };
        if operation.client.starts_with("cas-") {
            let deed = Deed::Get { key: key.clone() };
            let read = Operation { deed, ..operation.clone() };
            keys.entry(key).or_default().record(read);
        }
    }
    for operation in &history.operations {
        let writes = matches!(operation.deed, Deed::Cas { .. });
        if let Some(own) = keys.get_mut(operation.deed.key()).filter(|_| writes) {
            own.record(operation.clone());
        }
    }
    keys.into_values().collect()
}
