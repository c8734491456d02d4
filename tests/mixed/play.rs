//! Plays a script: what each step is answered, and what both views show afterwards, is the model's.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::house::{Answer, House, encode};
use super::model::{Lease, Lock, Model, Session};
use super::script::{At, Back, EtcdOp, How, Keeps, Put, Step, make};
use super::views;

mod txn;

/// How much later than it may something ends at most.
const LATE: Duration = Duration::from_millis(700);
/// Ends that come nearer to each other may come in any order.
const APART: Duration = Duration::from_millis(1500);
const NOBODY: &str = "11111111-2222-3333-4444-555555555555";
const NO_LEASE: i64 = 987_654_321;

pub struct Player<'a> {
    house: &'a House,
    model: Model,
    began: Instant,
    /// All that there ever were, in their order.
    sessions: Vec<String>,
    leases: Vec<i64>,
}

/// How a put is to be done, with what it names.
#[derive(Debug, Clone)]
pub enum Named {
    Plain,
    Cas(i64),
    Acquire(String),
    Release(String),
}

/// What became of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    Yes,
    No,
    NoSession,
}

type Played = Result<(), String>;

pub async fn play(house: &House, seed: u64) -> Played {
    let (began, sessions, leases) = (Instant::now(), Vec::new(), Vec::new());
    let mut player = Player { house, model: Model::new(), began, sessions, leases };
    for (number, step) in make(seed).iter().enumerate() {
        let at = |why: String| format!("step {number}, {step:?}: {why}");
        player.settle().await;
        player.step(step).await.map_err(at)?;
        player.model.commit();
        views::compare(house, &player.model).await.map_err(at)?;
        // One revision of the past, another each time.
        let model = &player.model;
        let past = 1 + (number as i64 * 7) % model.revision;
        views::etcd_keys(house, model.revision, past, &model.past[&past]).await.map_err(at)?;
    }
    views::watched(house, &player.model).await
}

fn said(answer: &Answer, status: u16, body: &str) -> Played {
    if (answer.status, answer.body.as_str()) == (status, body) {
        return Ok(());
    }
    Err(format!("{answer:?} instead of {status} {body:?}"))
}

fn has_status(answer: &Answer, is_good: bool) -> Played {
    if (answer.status == 200) == is_good {
        return Ok(());
    }
    Err(format!("{answer:?}, which was to be {}", if is_good { "good" } else { "refused" }))
}

/// What Consul's put does, alone or as a step.
pub fn put(model: &mut Model, put: &Put, how: &Named) -> Done {
    let Put { key, value, flags } = *put;
    let holder = model.keys.get(key).and_then(|row| row.holder.clone());
    let lock = match how {
        Named::Plain => Lock::Keep,
        Named::Cas(at) if model.modified(key) != *at => return Done::No,
        Named::Cas(_) => Lock::Keep,
        Named::Acquire(_) if model.is_delayed(key) => return Done::No,
        Named::Acquire(session) if !model.sessions.contains_key(session) => {
            return Done::NoSession;
        }
        Named::Acquire(session) if holder.as_ref().is_some_and(|holder| holder != session) => {
            return Done::No;
        }
        Named::Acquire(session) => Lock::Take(session.clone()),
        Named::Release(session) if holder.as_ref() != Some(session) => return Done::No,
        Named::Release(_) => Lock::Free,
    };
    model.write(key, value, flags, lock);
    Done::Yes
}

impl Player<'_> {
    fn session(&self, back: Back) -> String {
        self.sessions.iter().rev().nth(back).cloned().unwrap_or_else(|| NOBODY.to_owned())
    }

    fn lease(&self, back: Back) -> i64 {
        self.leases.iter().rev().nth(back).copied().unwrap_or(NO_LEASE)
    }

    fn at(&self, key: &str, at: At) -> i64 {
        match at {
            At::Zero => 0,
            At::Its => self.model.modified(key),
            At::Another => self.model.revision / 2 + 1,
        }
    }

    fn named(&self, key: &str, how: How) -> Named {
        match how {
            How::Plain => Named::Plain,
            How::Cas(at) => Named::Cas(self.at(key, at)),
            How::Acquire(back) => Named::Acquire(self.session(back)),
            How::Release(back) => Named::Release(self.session(back)),
        }
    }

    /// Lets the clock go on until nothing is just ending, and the model with it.
    async fn settle(&mut self) {
        while self.model.is_crowded(self.began.elapsed(), LATE) {
            sleep(Duration::from_millis(100)).await;
        }
        self.model.pass(self.began.elapsed());
    }

    /// When something that lives for so long will end, at a moment that it has for itself.
    async fn end_in(&mut self, seconds: u64) -> Duration {
        let lives = Duration::from_secs(seconds);
        while self.model.is_crowded(self.began.elapsed() + lives, APART) {
            sleep(Duration::from_millis(500)).await;
            self.settle().await;
        }
        self.began.elapsed() + lives
    }

    async fn step(&mut self, step: &Step) -> Played {
        match step {
            Step::Kv(put, how) => self.kv(put, *how).await,
            Step::KvDelete(key, at) => self.kv_delete(key, *at).await,
            Step::KvDeleteTree(prefix) => {
                let path = format!("/v1/kv/{prefix}?recurse");
                self.model.remove_tree(prefix);
                said(&self.house.ask("DELETE", &path, "").await, 200, "true")
            }
            Step::Txn(ops) => self.txn(ops).await,
            Step::SessionCreate { ttl, delay, deletes, external } => {
                self.create(*ttl, *delay, *deletes, *external).await
            }
            Step::SessionRenew(back) => self.renew(&self.session(*back)).await,
            Step::SessionDestroy(back) => {
                let id = self.session(*back);
                self.model.end_session(&id);
                let path = format!("/v1/session/destroy/{id}");
                said(&self.house.ask("PUT", &path, "").await, 200, "true")
            }
            Step::Etcd(op) => self.etcd(op).await,
            Step::EtcdTxn { key, at, yes, no } => self.etcd_txn(key, *at, yes, no).await,
            Step::Grant { ttl } => self.grant(*ttl).await,
            Step::KeepAlive(back) => self.keep_alive(self.lease(*back)).await,
            Step::Revoke(back) => {
                let id = self.lease(*back);
                let there = self.model.end_lease(id);
                let answer = self.house.etcd("lease/revoke", &json!({"ID": id.to_string()})).await;
                has_status(&answer, there)
            }
            Step::Mark(passes) => {
                self.model.set_mark(Some(*passes));
                let status = if *passes { "passing" } else { "critical" };
                let check = json!({"CheckID": "mark", "Name": "mark", "Status": status});
                let entry = json!({"Node": "ext", "Address": "10.0.0.9", "Check": check});
                let answer = self.house.ask("PUT", "/v1/catalog/register", entry.to_string()).await;
                said(&answer, 200, "true")
            }
            Step::RemoveNode => {
                self.model.set_mark(None);
                let entry = json!({"Node": "ext"}).to_string();
                let answer = self.house.ask("PUT", "/v1/catalog/deregister", entry).await;
                said(&answer, 200, "true")
            }
            Step::Wait(tenths) => {
                sleep(Duration::from_millis(tenths * 100)).await;
                self.settle().await;
                Ok(())
            }
        }
    }

    async fn kv(&mut self, wish: &Put, how: How) -> Played {
        let Put { key, value, flags } = *wish;
        let named = self.named(key, how);
        let more = match &named {
            Named::Plain => String::new(),
            Named::Cas(at) => format!("&cas={at}"),
            Named::Acquire(session) => format!("&acquire={session}"),
            Named::Release(session) => format!("&release={session}"),
        };
        let done = put(&mut self.model, wish, &named);
        let path = format!("/v1/kv/{key}?flags={flags}{more}");
        let answer = self.house.ask("PUT", &path, value).await;
        match (done, named) {
            (Done::NoSession, Named::Acquire(id)) => {
                said(&answer, 500, &format!("invalid session \"{id}\""))
            }
            (done, _) => said(&answer, 200, if done == Done::Yes { "true" } else { "false" }),
        }
    }

    async fn kv_delete(&mut self, key: &str, at: Option<At>) -> Played {
        let at = at.map(|at| self.at(key, at));
        let is = self.model.modified(key);
        let held = at.is_none_or(|at| is == 0 || is == at);
        if held {
            self.model.remove(key);
        }
        let path = match at {
            Some(at) => format!("/v1/kv/{key}?cas={at}"),
            None => format!("/v1/kv/{key}"),
        };
        let answer = self.house.ask("DELETE", &path, "").await;
        said(&answer, 200, if held { "true" } else { "false" })
    }

    async fn create(
        &mut self,
        ttl: Option<u64>,
        delay: u64,
        deletes: bool,
        external: bool,
    ) -> Played {
        let ends = match ttl {
            Some(ttl) => Some(self.end_in(2 * ttl).await),
            None => None,
        };
        let behavior = if deletes { "delete" } else { "release" };
        let mut body = json!({"LockDelay": format!("{delay}s"), "Behavior": behavior});
        if let Some(ttl) = ttl {
            body["TTL"] = json!(format!("{ttl}s"));
        }
        if external {
            (body["Node"], body["NodeChecks"]) = (json!("ext"), json!(["mark"]));
        }
        let answer = self.house.ask("PUT", "/v1/session/create", body.to_string()).await;
        let borne = !external || self.model.mark == Some(true);
        has_status(&answer, borne)?;
        if borne {
            let id = answer.json()["ID"].as_str().unwrap().to_owned();
            let session = Session { external, deletes, delay, ttl, ends };
            self.model.sessions.insert(id.clone(), session);
            self.sessions.push(id);
        }
        Ok(())
    }

    async fn renew(&mut self, id: &str) -> Played {
        let lives = self.model.sessions.get(id).and_then(|session| session.ttl);
        let ends = match lives {
            Some(ttl) => Some(self.end_in(2 * ttl).await),
            None => None,
        };
        let answer = self.house.ask("PUT", &format!("/v1/session/renew/{id}"), "").await;
        // It may have ended while its next end was looked for.
        let session = self.model.sessions.get_mut(id);
        has_status(&answer, session.is_some())?;
        if let Some(session) = session {
            session.ends = ends;
        }
        Ok(())
    }

    async fn grant(&mut self, ttl: u64) -> Played {
        let ends = self.end_in(ttl).await;
        let answer = self.house.etcd("lease/grant", &json!({"TTL": ttl.to_string()})).await;
        has_status(&answer, true)?;
        let id = answer.json()["ID"].as_str().unwrap().parse().unwrap();
        self.model.leases.insert(id, Lease { ttl, ends });
        self.leases.push(id);
        Ok(())
    }

    async fn keep_alive(&mut self, id: i64) -> Played {
        let lives = self.model.leases.get(&id).map(|lease| lease.ttl);
        let ends = match lives {
            Some(ttl) => self.end_in(ttl).await,
            None => Duration::ZERO,
        };
        let answer = self.house.etcd("lease/keepalive", &json!({"ID": id.to_string()})).await;
        let told: Value = serde_json::from_str(answer.body.lines().next().unwrap()).unwrap();
        let lease = self.model.leases.get_mut(&id);
        if told["result"]["TTL"].is_string() != lease.is_some() {
            return Err(format!("{answer:?}"));
        }
        if let Some(lease) = lease {
            lease.ends = ends;
        }
        Ok(())
    }

    /// The request, what it is to do, and whether it can.
    fn etcd_op(&self, op: &EtcdOp) -> (&'static str, Value, bool) {
        match op {
            EtcdOp::Put { key, value, lease, keeps } => {
                let mut body = json!({"key": encode(key)});
                if *keeps == Keeps::Value {
                    body["ignore_value"] = json!(true);
                } else {
                    body["value"] = json!(encode(value));
                }
                let lease = lease.map_or(0, |back| self.lease(back));
                if *keeps == Keeps::Lease {
                    body["ignore_lease"] = json!(true);
                } else {
                    body["lease"] = json!(lease.to_string());
                }
                let known =
                    lease == 0 || *keeps == Keeps::Lease || self.model.leases.contains_key(&lease);
                let there = *keeps == Keeps::Nothing || self.model.keys.contains_key(*key);
                ("put", body, known && there)
            }
            EtcdOp::Delete { key, tree } => {
                let mut body = json!({"key": encode(key)});
                if *tree {
                    let mut end = (*key).to_owned().into_bytes();
                    *end.last_mut().unwrap() += 1;
                    body["range_end"] = json!(encode(std::str::from_utf8(&end).unwrap()));
                }
                ("deleterange", body, true)
            }
        }
    }

    fn do_etcd_op(&mut self, op: &EtcdOp) {
        match op {
            EtcdOp::Put { key, value, lease, keeps } => {
                let lease = lease.map_or(0, |back| self.lease(back));
                let value = (*keeps != Keeps::Value).then_some(*value);
                let lease = (*keeps != Keeps::Lease).then_some(lease);
                self.model.etcd_put(key, value, lease);
            }
            EtcdOp::Delete { key, tree: false } => self.model.remove(key),
            EtcdOp::Delete { key, tree: true } => _ = self.model.remove_tree(key),
        }
    }

    async fn etcd(&mut self, op: &EtcdOp) -> Played {
        let (call, body, can) = self.etcd_op(op);
        if can {
            self.do_etcd_op(op);
        }
        has_status(&self.house.etcd(&format!("kv/{call}"), &body).await, can)
    }

    async fn etcd_txn(&mut self, key: &str, at: At, yes: &[EtcdOp], no: &[EtcdOp]) -> Played {
        let at = self.at(key, at);
        let holds = self.model.modified(key) == at;
        let requests = |ops: &[EtcdOp]| -> Vec<Value> {
            let request = |op: &EtcdOp| match self.etcd_op(op) {
                ("put", body, _) => json!({"request_put": body}),
                (_, body, _) => json!({"request_delete_range": body}),
            };
            ops.iter().map(request).collect()
        };
        let body = json!({
            "compare": [{"key": encode(key), "target": "MOD", "result": "EQUAL",
                "mod_revision": at.to_string()}],
            "success": requests(yes),
            "failure": requests(no),
        });
        let taken = if holds { yes } else { no };
        let can = taken.iter().all(|op| self.etcd_op(op).2);
        if can {
            taken.iter().for_each(|op| self.do_etcd_op(op));
        }
        let answer = self.house.etcd("kv/txn", &body).await;
        has_status(&answer, can)?;
        match answer.json()["succeeded"].as_bool().unwrap_or_default() == holds || !can {
            true => Ok(()),
            false => Err(format!("{answer:?}")),
        }
    }
}
