//! What the recorder worked out from answers that it did not write down, worked out again.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::dns;
use super::http::Raw;
use super::player::Player;
use super::transcript::Block;

const PATIENCE: Duration = Duration::from_secs(10);
/// More than the recorder allowed, for this machine has other things to do.
const ALLOWED: Duration = Duration::from_millis(700);

/// How the last `until` of the set-up ended, and how long it took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Waited {
    pub came: bool,
    pub took: Duration,
}

pub fn work_out(player: &mut Player, block: &Block, raw: Option<&Raw>, name: &str) -> String {
    let seconds = player.waited.took.as_secs_f64();
    if let Some(rest) = name.strip_prefix("wait=") {
        return ended_in_time(player, rest.split(' ').next().unwrap()).to_string();
    }
    if let Some(agent) = name.strip_prefix("status of ") {
        return status_of(player, agent.split(' ').next().unwrap());
    }
    match name {
        "index afterwards compared with the one asked" => {
            let asked: i128 = player.asked_index(block).parse().unwrap_or(0);
            let came = raw.and_then(|raw| raw.header("x-consul-index")?.parse::<i128>().ok());
            compared(block, came.unwrap_or(0) - asked)
        }
        "it answered" => match raw.map_or(99.0, |raw| raw.took.as_secs_f64()) {
            ..1.0 => "at once".to_owned(),
            6.0..9.0 => "after 6 to 9 s".to_owned(),
            other => format!("after {other:.0} s"),
        },
        "a session of 10 s without renewal was gone after" => match seconds {
            18.5..=22.5 => "19 to 22 s".to_owned(),
            other => format!("{other:.0} s"),
        },
        "a session of 2 s was gone after about" => format!("{seconds:.0} s"),
        "a service critical for 1 s is deregistered after" => match seconds {
            ..30.0 => "less than 30 s".to_owned(),
            ..60.0 => "30 to 60 s".to_owned(),
            _ => "60 to 120 s".to_owned(),
        },
        "its serfHealth became critical"
        | "after force-leave the node left the catalog"
        | "it left the catalog" => player.waited.came.to_string(),
        "the full sync came within 3 minutes" => {
            let path = "/v1/catalog/service/ae";
            player.until(path, "\"ServicePort\":1", true).came.to_string()
        }
        "c2 is still among the members after prune" => {
            let members = player.get("/v1/agent/members");
            let is_c2 = |member: &Value| member["Name"] == "c2";
            members.as_array().is_some_and(|all| all.iter().any(is_c2)).to_string()
        }
        "index of an empty session list is at least 1" => {
            (player.index_of("/v1/session/list") >= 1).to_string()
        }
        "its index compared with that of catalog/services" => {
            let service = player.index_of(&next_path(block));
            let all = player.index_of("/v1/catalog/services");
            if service == all { "same".to_owned() } else { "different".to_owned() }
        }
        "the index is the XOR of the two halves of the newest id" => newest_event(player),
        "how many events are listed after 300 more" => {
            let events = player.get("/v1/event/list");
            events.as_array().map_or(0, Vec::len).to_string()
        }
        "the last of them is the newest" => {
            let events = player.get("/v1/event/list");
            let last = events.as_array().and_then(|all| all.last()).cloned().unwrap_or_default();
            // 299
            (last["Payload"] == "Mjk5").to_string()
        }
        "more than one order in 30 answers with 5 records" => {
            (bodies(player, 30, " +bufsize=1232").len() > 1).to_string()
        }
        "different records in 40 answers without EDNS" => {
            let bodies = bodies(player, 40, " +noedns");
            let records = bodies.iter().flat_map(|body| body.lines());
            let records: BTreeSet<&str> = records.filter(|line| line.contains(" IN A ")).collect();
            records.len().to_string()
        }
        "it is a gzip tar with" | "SHA256SUMS names" | "meta.json keys" => {
            let gzip = raw.is_some_and(|raw| raw.body.starts_with(&[0x1f, 0x8b]));
            if gzip { "a gzip archive" } else { "another format" }.to_owned()
        }
        "a blocking query during the restore came back" => match &player.restored {
            Some(raw) if raw.took < Duration::from_secs(5) => {
                format!("at once, status {}", raw.status)
            }
            Some(raw) => format!("when the wait ran out, status {}", raw.status),
            None => "never".to_owned(),
        },
        "its index was" => {
            let after = player.restored.as_ref().and_then(|r| r.header("x-consul-index"));
            let after: i64 = after.and_then(|index| index.parse().ok()).unwrap_or(0);
            match after - player.before_restore {
                0 => "same",
                1.. => "higher",
                _ => "lower",
            }
            .to_owned()
        }
        other => format!("(nobody knows how to find out: {other})"),
    }
}

fn compared(block: &Block, higher_by: i128) -> String {
    match higher_by {
        0 => "same",
        _ if block.asked.contains("/event/") => "different",
        1.. => "higher",
        _ => "lower",
    }
    .to_owned()
}

fn next_path(block: &Block) -> String {
    let front = if block.number() < 30 { "health" } else { "catalog" };
    format!("/v1/{front}/service/never")
}

fn ended_in_time(player: &mut Player, wait: &str) -> bool {
    let path = "/v1/kv/b/a";
    let index = player.index_of(path);
    let asked = format!("{path}?index={index}&wait={wait}");
    let limit = match wait {
        "500ms" => 0.5,
        "1s" => 1.0,
        "1.5s" => 1.5,
        "0.001s" => 0.001,
        // No time at all is the default, minutes: who hangs up before sees nothing.
        "0s" => return player.raw("GET", &asked, None, Duration::from_millis(300)).is_err(),
        other => panic!("{other}"),
    };
    let limit = Duration::from_secs_f64(limit * 17.0 / 16.0) + ALLOWED;
    player.raw("GET", &asked, None, PATIENCE).is_ok_and(|raw| raw.took <= limit)
}

fn status_of(player: &mut Player, agent: &str) -> String {
    let members = player.get("/v1/agent/members");
    let of = members.as_array().into_iter().flatten().filter(|member| member["Name"] == agent);
    let statuses: Vec<String> = of.map(|member| member["Status"].to_string()).collect();
    format!("[{}]", statuses.join(", "))
}

fn newest_event(player: &mut Player) -> String {
    let Ok(raw) = player.raw("GET", "/v1/event/list?name=deploy", None, PATIENCE) else {
        return "no answer".to_owned();
    };
    let events = raw.json();
    let last = events.as_array().and_then(|all| all.last()).cloned().unwrap_or_default();
    let id = last["ID"].as_str().unwrap_or_default().replace('-', "");
    let halves = id.split_at_checked(16).map(|(high, low)| {
        let half = |hex| u64::from_str_radix(hex, 16).unwrap_or_default();
        half(high) ^ half(low)
    });
    (halves.map(|index| index.to_string()).as_deref() == raw.header("x-consul-index")).to_string()
}

/// Different answers about the five instances.
fn bodies(player: &Player, times: usize, options: &str) -> BTreeSet<String> {
    let asked = format!("DIG five.service.consul. A{options}");
    (0..times).map(|_| dns::ask(player.stage.dns(None), &asked, PATIENCE).body).collect()
}
