//! `/v1/txn` as the model has it: one operation after the other, all of them or none.

use serde_json::{Value, json};

use super::{Done, Named, Played, Player, put, said};
use crate::house::encode;
use crate::model::{Key, Model};
use crate::script::Op;

/// What the operations show, or the places of those that fail.
type Foretold = Result<Vec<Value>, Vec<usize>>;

/// An operation with what it names.
struct Wish<'a> {
    op: &'a Op,
    named: Named,
    at: i64,
    session: String,
}

fn shown(key: &str, row: &Key, with_value: bool) -> Value {
    let value = match row.value.as_str() {
        value if with_value && !value.is_empty() => json!(encode(value)),
        _ => Value::Null,
    };
    let mut json = json!({"LockIndex": row.locks, "Key": key, "Flags": row.flags, "Value": value,
        "CreateIndex": row.create, "ModifyIndex": row.modified});
    if let Some(holder) = &row.holder {
        json["Session"] = json!(holder);
    }
    json!({"KV": json})
}

/// Of a key as it is now.
fn now(model: &Model, key: &str, with_value: bool) -> Vec<Value> {
    model.keys.get(key).map(|row| shown(key, row, with_value)).into_iter().collect()
}

fn perform(model: &mut Model, wish: &Wish<'_>) -> Result<Vec<Value>, ()> {
    let when = |holds: bool| if holds { Ok(()) } else { Err(()) };
    match wish.op {
        Op::Put(what, _) => {
            when(put(model, what, &wish.named) == Done::Yes)?;
            Ok(now(model, what.key, false))
        }
        Op::Get(key) => {
            when(model.keys.contains_key(*key))?;
            Ok(now(model, key, true))
        }
        Op::GetOrEmpty(key) if !model.keys.contains_key(*key) => {
            Ok(vec![json!({"KV": {"LockIndex": 0, "Key": key, "Flags": 0, "Value": null,
                "CreateIndex": 0, "ModifyIndex": 0}})])
        }
        Op::GetOrEmpty(key) => Ok(now(model, key, true)),
        Op::GetTree(prefix) => {
            let tree = model.keys.iter().filter(|(key, _)| key.starts_with(prefix));
            Ok(tree.map(|(key, row)| shown(key, row, true)).collect())
        }
        Op::Delete(key) => {
            model.remove(key);
            Ok(Vec::new())
        }
        Op::DeleteCas(key, _) => {
            let is = model.modified(key);
            when(is == 0 || is == wish.at)?;
            model.remove(key);
            Ok(Vec::new())
        }
        Op::DeleteTree(prefix) => {
            model.remove_tree(prefix);
            Ok(Vec::new())
        }
        Op::CheckIndex(key, _) => {
            let is = model.modified(key);
            when(is != 0 && is == wish.at)?;
            Ok(now(model, key, false))
        }
        Op::CheckSession(key, _) => {
            let row = model.keys.get(*key).ok_or(())?;
            when(row.holder.as_ref() == Some(&wish.session))?;
            Ok(now(model, key, false))
        }
        Op::CheckAbsent(key) => when(!model.keys.contains_key(*key)).map(|()| Vec::new()),
        Op::Mark(passes) => {
            when(model.mark.is_some())?;
            model.set_mark(Some(*passes));
            Ok(vec![json!("a check")])
        }
        Op::RemoveNode => {
            model.set_mark(None);
            Ok(Vec::new())
        }
    }
}

/// Nothing is tried where a key is to be taken that nobody may take.
fn foretell(model: &mut Model, wishes: &[Wish<'_>]) -> Foretold {
    let delayed = |wish: &Wish<'_>| match (wish.op, &wish.named) {
        (Op::Put(put, _), Named::Acquire(_)) => model.is_delayed(put.key),
        _ => false,
    };
    let early: Vec<usize> = (0..wishes.len()).filter(|at| delayed(&wishes[*at])).collect();
    if !early.is_empty() {
        return Err(early);
    }
    let before = model.clone();
    let (mut all, mut failed) = (Vec::new(), Vec::new());
    for (at, wish) in wishes.iter().enumerate() {
        match perform(model, wish) {
            Ok(rows) => all.extend(rows),
            Err(()) => failed.push(at),
        }
    }
    if failed.is_empty() {
        return Ok(all);
    }
    *model = before;
    Err(failed)
}

fn request(wish: &Wish<'_>) -> Value {
    let key = |verb: &str, key: &str| json!({"KV": {"Verb": verb, "Key": key}});
    let mut json = match wish.op {
        Op::Put(put, _) => {
            let verb = match wish.named {
                Named::Plain => "set",
                Named::Cas(_) => "cas",
                Named::Acquire(_) => "lock",
                Named::Release(_) => "unlock",
            };
            let mut json = key(verb, put.key);
            json["KV"]["Value"] = json!(encode(put.value));
            json["KV"]["Flags"] = json!(put.flags);
            json
        }
        Op::Get(of) => key("get", of),
        Op::GetOrEmpty(of) => key("get-or-empty", of),
        Op::GetTree(of) => key("get-tree", of),
        Op::Delete(of) => key("delete", of),
        Op::DeleteCas(of, _) => key("delete-cas", of),
        Op::DeleteTree(of) => key("delete-tree", of),
        Op::CheckIndex(of, _) => key("check-index", of),
        Op::CheckSession(of, _) => key("check-session", of),
        Op::CheckAbsent(of) => key("check-not-exists", of),
        Op::Mark(passes) => {
            let status = if *passes { "passing" } else { "critical" };
            return json!({"Check": {"Verb": "set", "Check": {"Node": "ext", "CheckID": "mark",
                "Name": "mark", "Status": status}}});
        }
        Op::RemoveNode => return json!({"Node": {"Verb": "delete", "Node": {"Node": "ext"}}}),
    };
    json["KV"]["Index"] = json!(wish.at);
    json["KV"]["Session"] = json!(wish.session);
    json
}

impl Player<'_> {
    fn wish<'b>(&self, op: &'b Op) -> Wish<'b> {
        let (mut named, mut at, mut session) = (Named::Plain, 0, String::new());
        match op {
            Op::Put(put, how) => {
                named = self.named(put.key, *how);
                match &named {
                    Named::Plain => {}
                    Named::Cas(index) => at = *index,
                    Named::Acquire(id) | Named::Release(id) => session.clone_from(id),
                }
            }
            Op::DeleteCas(key, index) | Op::CheckIndex(key, index) => at = self.at(key, *index),
            Op::CheckSession(_, back) => session = self.session(*back),
            _ => {}
        }
        Wish { op, named, at, session }
    }

    pub(super) async fn txn(&mut self, ops: &[Op]) -> Played {
        let wishes: Vec<Wish<'_>> = ops.iter().map(|op| self.wish(op)).collect();
        let body: Value = wishes.iter().map(request).collect();
        let foretold = foretell(&mut self.model, &wishes);
        let answer = self.house.ask("PUT", "/v1/txn", body.to_string()).await;
        let json = answer.json();
        let told: Foretold = match answer.status {
            200 => Ok(json["Results"].as_array().unwrap().iter().map(known).collect()),
            409 => {
                let places = json["Errors"].as_array().unwrap().iter();
                Err(places.map(|error| error["OpIndex"].as_u64().unwrap() as usize).collect())
            }
            _ => return said(&answer, 200, "an answer"),
        };
        match told == foretold {
            true => Ok(()),
            false => Err(format!("told {told:?}\n  foretold {foretold:?}\n  of {body}")),
        }
    }
}

/// Of the catalog it is enough that a check is shown.
fn known(shown: &Value) -> Value {
    if shown["Check"].is_object() { json!("a check") } else { shown.clone() }
}
