//! What each kind of client does, in the words of the two families of clients.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::ask::{Answer, Trouble, decode, encode, number};
use super::history::{Deed, End, Seen};
use super::load::{Field, Visitor};

/// All keys of the run lie below it.
pub const PREFIX: &str = "chaos/";
/// Keys that everyone writes.
const SHARED: usize = 6;
/// Keys that are written by comparing.
const COMPARED: usize = 2;
/// How long a blocking query waits, and how long its client does.
const WAIT: Duration = Duration::from_secs(2);
/// What says that a write was not carried out and never will be.
const NEVER: [&str; 6] = [
    "no cluster leader",
    "no leader",
    "not synced",
    "server stopped",
    "context deadline exceeded",
    "too many",
];

/// A refusal that is sure of itself, or one that is not.
fn refused(answer: &Answer) -> End {
    if was_never_done(&answer.text()) { End::Failed } else { End::Unknown }
}

/// Whether a refusal says that nothing was carried out, nor ever will be.
pub fn was_never_done(refusal: &str) -> bool {
    let text = refusal.to_lowercase();
    NEVER.iter().any(|words| text.contains(words)) && !text.contains("unknown")
}

fn untold(trouble: &Trouble) -> End {
    match trouble {
        Trouble::NotSent(_) => End::Failed,
        Trouble::Unknown(_) => End::Unknown,
    }
}

/// Puts and ranges through etcd's gateway.
pub async fn etcd(mut visitor: Visitor) {
    let field = visitor.field.clone();
    while visitor.goes_on().await {
        let (agent, value) = (visitor.agent(), visitor.next());
        let key = format!("{PREFIX}shared/{}", rand::random_range(0..SHARED));
        match rand::random_range(0..10) {
            0..6 => {
                let deed = Deed::Put { key: key.clone(), value: value.clone() };
                visitor.record(deed, put(&field, &agent, &key, &value)).await;
            }
            6..9 => {
                let deed = Deed::Get { key: key.clone() };
                visitor.record(deed, range(&field, &agent, &key, false)).await;
            }
            _ => {
                let deed = Deed::StaleGet { key: key.clone() };
                visitor.record(deed, range(&field, &agent, &key, true)).await;
            }
        }
    }
}

/// A write that is tried once: its revision, if it was acknowledged.
pub async fn put_through(visitor: &mut Visitor, key: String) -> Option<u64> {
    let (field, agent, value) = (visitor.field.clone(), visitor.agent(), visitor.next());
    let deed = Deed::Put { key: key.clone(), value: value.clone() };
    match visitor.record(deed, put(&field, &agent, &key, &value)).await {
        End::Wrote(revision) => revision,
        _ => None,
    }
}

async fn put(field: &Field, agent: &str, key: &str, value: &str) -> End {
    let body = json!({ "key": encode(key), "value": encode(value) });
    match field.asker.post(agent, "/v3/kv/put", &body).await {
        Ok(answer) => match answer.good() {
            Ok(body) => End::Wrote(Some(number(&body["header"]["revision"]))),
            Err(_) => refused(&answer),
        },
        Err(trouble) => untold(&trouble),
    }
}

async fn range(field: &Field, agent: &str, key: &str, stale: bool) -> End {
    let body = json!({ "key": encode(key), "serializable": stale });
    let answer = field.asker.post(agent, "/v3/kv/range", &body).await;
    let Some(body) = answer.ok().and_then(|answer| answer.good().ok()) else {
        return End::Failed;
    };
    let row = &body["kvs"][0];
    let value = decode(&row["value"]).map(|value| (value, number(&row["mod_revision"])));
    End::Read(Seen { revision: number(&body["header"]["revision"]), value })
}

/// Reads a key as Consul does, and writes it if nobody did meanwhile.
pub async fn compare_and_set(mut visitor: Visitor) {
    let field = visitor.field.clone();
    while visitor.goes_on().await {
        let (agent, value) = (visitor.agent(), visitor.next());
        let key = format!("{PREFIX}compared/{}", rand::random_range(0..COMPARED));
        // Its index is the key's, not the store's: no revision to hold others against here.
        let deed = Deed::StaleGet { key: key.clone() };
        let End::Read(seen) = visitor.record(deed, get(&field, &agent, &key)).await else {
            continue;
        };
        let expected = seen.value.map_or(0, |(_, revision)| revision);
        let deed = Deed::Cas { key: key.clone(), expected, value: value.clone() };
        let path = format!("/v1/kv/{key}?cas={expected}");
        visitor.record(deed, set(&field, &agent, &path, value)).await;
    }
}

async fn get(field: &Field, agent: &str, key: &str) -> End {
    let Ok(answer) = field.asker.get(agent, &format!("/v1/kv/{key}?consistent")).await else {
        return End::Failed;
    };
    let Some(revision) = answer.index else { return End::Failed };
    if answer.status == http::StatusCode::NOT_FOUND {
        return End::Read(Seen { revision, value: None });
    }
    let Ok(rows) = answer.good() else { return End::Failed };
    let row = &rows[0];
    let value = decode(&row["Value"]).map(|value| (value, number(&row["ModifyIndex"])));
    End::Read(Seen { revision, value })
}

async fn set(field: &Field, agent: &str, path: &str, value: String) -> End {
    match field.asker.put(agent, path, value).await {
        Ok(answer) => match answer.good() {
            Ok(Value::Bool(true)) => End::Wrote(None),
            Ok(Value::Bool(false)) => End::Failed,
            _ => refused(&answer),
        },
        Err(trouble) => untold(&trouble),
    }
}

/// Writes one key after the other as Consul does, none of them twice.
pub async fn consul(mut visitor: Visitor) {
    let field = visitor.field.clone();
    while visitor.goes_on().await {
        let (agent, value) = (visitor.agent(), visitor.next());
        let key = format!("{PREFIX}once/{value}");
        let deed = Deed::Put { key: key.clone(), value: value.clone() };
        let path = format!("/v1/kv/{key}");
        visitor.record(deed, set(&field, &agent, &path, value)).await;
    }
}

/// Follows the shared keys with blocking queries, through one agent after the other: what it is
/// told never goes back, and no version that it sees is newer than the index it is told.
pub async fn watcher(mut visitor: Visitor) {
    let field = visitor.field.clone();
    let prefix = format!("{PREFIX}shared/");
    let (mut index, mut seen) = (0, BTreeSet::new());
    while visitor.goes_on().await {
        let path = format!("/v1/kv/{prefix}?recurse&index={index}&wait={}s", WAIT.as_secs());
        let agent = visitor.agent();
        let answer = field.asker.wait(Method::GET, &agent, &path, Bytes::new(), WAIT * 2).await;
        let Some((answer, rows)) = answer.ok().and_then(|answer| {
            let rows = answer.good().ok()?;
            Some((answer, rows))
        }) else {
            visitor.move_on();
            continue;
        };
        let now = answer.index.unwrap_or_default();
        if now < index {
            field.complain(format!("a blocking query went back from {index} to {now}"));
        }
        index = now;
        for row in rows.as_array().into_iter().flatten() {
            let version = (row["Key"].as_str().unwrap_or_default().to_owned(), modified(row));
            if version.1 > index {
                field.complain(format!("{version:?} came with index {index}"));
            }
            seen.insert(version);
        }
    }
    if seen.len() < 20 {
        field.complain(format!("the watcher saw only {} versions", seen.len()));
    }
}

pub fn modified(row: &Value) -> u64 {
    number(&row["ModifyIndex"])
}
