//! Holds both views of the agent against the model.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::house::{House, decode, encode};
use super::model::{Key, Keys, Model};

/// What must be equal.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, should: &T) -> Result<(), String> {
    if is == should {
        return Ok(());
    }
    Err(format!("{what}:\n  is     {is:?}\n  should {should:?}"))
}

pub async fn compare(house: &House, model: &Model) -> Result<(), String> {
    consul_keys(house, model).await?;
    etcd_keys(house, model.revision, 0, &model.keys).await?;
    sessions(house, model).await?;
    leases(house, model).await
}

/// What Consul's clients see of a key: no version, no lease.
type Seen = (String, i64, i64, u64, Option<String>, u64);

async fn consul_keys(house: &House, model: &Model) -> Result<(), String> {
    let answer = house.ask("GET", "/v1/kv/?recurse", "").await;
    let rows = match answer.status {
        404 => Vec::new(),
        _ => answer.json().as_array().unwrap().clone(),
    };
    let seen = |row: &Value| -> (String, Seen) {
        let number = |name: &str| row[name].as_i64().unwrap();
        let session = row["Session"].as_str().map(str::to_owned);
        let key = row["Key"].as_str().unwrap().to_owned();
        let flags = row["Flags"].as_u64().unwrap();
        let locks = row["LockIndex"].as_u64().unwrap();
        let value = decode(&row["Value"]);
        (key, (value, number("CreateIndex"), number("ModifyIndex"), flags, session, locks))
    };
    let is: BTreeMap<String, Seen> = rows.iter().map(seen).collect();
    let should = |row: &Key| {
        let Key { value, create, modified, flags, holder, locks, .. } = row.clone();
        (value, create, modified, flags, holder, locks)
    };
    let should = model.keys.iter().map(|(key, row)| (key.clone(), should(row))).collect();
    same("keys as Consul's clients see them", &is, &should)
}

/// What etcd's see.
type Row = (String, i64, i64, i64, i64);

fn number(value: &Value) -> i64 {
    value.as_str().map_or(0, |text| text.parse().unwrap())
}

fn row(kv: &Value) -> (String, Row) {
    let of = |name: &str| number(&kv[name]);
    let row = (
        decode(&kv["value"]),
        of("create_revision"),
        of("mod_revision"),
        of("version"),
        of("lease"),
    );
    (decode(&kv["key"]), row)
}

fn rows(keys: &Keys) -> BTreeMap<String, Row> {
    let of = |row: &Key| (row.value.clone(), row.create, row.modified, row.version, row.lease);
    keys.iter().map(|(key, row)| (key.clone(), of(row))).collect()
}

/// The keys as they were at a revision; 0: as they are.
pub async fn etcd_keys(
    house: &House,
    current: i64,
    revision: i64,
    keys: &Keys,
) -> Result<(), String> {
    let all = json!({"key": encode("\0"), "range_end": encode("\0"), "revision": revision});
    let answer = house.etcd("kv/range", &all).await.json();
    same("the revision", &number(&answer["header"]["revision"]), &current)?;
    let is = answer["kvs"].as_array().into_iter().flatten().map(row).collect();
    same(&format!("keys as etcd's clients see them at {revision}"), &is, &rows(keys))
}

async fn sessions(house: &House, model: &Model) -> Result<(), String> {
    let listed = house.ask("GET", "/v1/session/list", "").await.json();
    let id = |row: &Value| row["ID"].as_str().unwrap().to_owned();
    let is: Vec<String> = listed.as_array().unwrap().iter().map(id).collect();
    same("the sessions", &is, &model.sessions.keys().cloned().collect())
}

async fn leases(house: &House, model: &Model) -> Result<(), String> {
    let listed = house.etcd("lease/leases", &json!({})).await.json();
    let mut is: Vec<i64> = listed["leases"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|lease| number(&lease["ID"]))
        .collect();
    is.sort();
    same("the leases", &is, &model.leases.keys().copied().collect())
}

/// What a watch of everything from the beginning tells is what the model went through.
pub async fn watched(house: &House, model: &Model) -> Result<(), String> {
    let mut should: Vec<(i64, String, Option<Row>)> = Vec::new();
    let mut before = Keys::new();
    for (revision, keys) in &model.past {
        let (old, new) = (rows(&before), rows(keys));
        let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names.into_iter().filter(|name| old.get(*name) != new.get(*name)) {
            should.push((*revision, name.clone(), new.get(name).cloned()));
        }
        before = keys.clone();
    }
    let watch = json!({"create_request":
        {"key": encode("\0"), "range_end": encode("\0"), "start_revision": 1}});
    let mut is = Vec::new();
    for event in house.watch(&watch, should.len()).await {
        let (name, row) = row(&event["kv"]);
        let revision = number(&event["kv"]["mod_revision"]);
        is.push((revision, name, (event["type"] != "DELETE").then_some(row)));
    }
    // Within one revision they may come in any order.
    is.sort();
    same("what a watch tells", &is, &should)
}
