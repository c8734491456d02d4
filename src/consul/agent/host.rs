//! `/v1/agent/host`: the machine that this agent runs on, as its kernel tells.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::consul::answer;
use crate::consul::call::{Answer, Call};
use crate::consul::error::Failure;
use crate::lifecycle::aside;

pub async fn answer(call: Call<'_>) -> Answer {
    let path = call.front.config.shown.data_dir.clone().unwrap_or_else(|| PathBuf::from("/"));
    let told = aside(move || look(Path::new("/proc"), Path::new("/etc/os-release"), &path)).await;
    let told = told.map_err(|error| Failure::internal(error.to_string()))?;
    Ok(answer::json(&told, call.pretty()))
}

/// What cannot be read is left out, and said among the errors.
fn look(proc: &Path, release: &Path, data: &Path) -> Value {
    let mut errors = Vec::new();
    let mut read = |path: PathBuf| match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            errors.push(format!("{}: {error}", path.display()));
            String::new()
        }
    };
    let memory = memory(&read(proc.join("meminfo")));
    let processors = processors(&read(proc.join("cpuinfo")));
    let (uptime, stat) = (read(proc.join("uptime")), read(proc.join("stat")));
    let release = read(release.to_owned());
    let host = host(&uptime, &stat, &release, count_processes(proc));
    let disk = match rustix::fs::statvfs(data) {
        Ok(disk) => space(data, &disk),
        Err(error) => {
            errors.push(format!("{}: {error}", data.display()));
            Value::Null
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "Memory": memory,
        "CPU": processors,
        "Host": host,
        "Disk": disk,
        "CollectionTime": u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
        "Errors": if errors.is_empty() { Value::Null } else { json!(errors) },
    })
}

/// Bytes, under the names that Consul has for them.
fn memory(meminfo: &str) -> Value {
    let kilobytes: BTreeMap<&str, u64> = meminfo
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            Some((name, rest.split_whitespace().next()?.parse().ok()?))
        })
        .collect();
    let of = |name: &str| kilobytes.get(name).copied().unwrap_or(0).saturating_mul(1024);
    let (total, free, cached) = (of("MemTotal"), of("MemFree"), of("Cached"));
    let cached = cached.saturating_add(of("SReclaimable"));
    let used = total.saturating_sub(free).saturating_sub(of("Buffers")).saturating_sub(cached);
    json!({
        "total": total,
        "available": of("MemAvailable"),
        "used": used,
        "usedPercent": percent(used, total),
        "free": free,
        "active": of("Active"),
        "inactive": of("Inactive"),
        "buffers": of("Buffers"),
        "cached": cached,
        "dirty": of("Dirty"),
        "shared": of("Shmem"),
        "slab": of("Slab"),
        "mapped": of("Mapped"),
        "committedas": of("Committed_AS"),
        "commitlimit": of("CommitLimit"),
        "swaptotal": of("SwapTotal"),
        "swapfree": of("SwapFree"),
        "swapcached": of("SwapCached"),
    })
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

fn processors(cpuinfo: &str) -> Vec<Value> {
    let fields = |text: &str| -> BTreeMap<String, String> {
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
    };
    let all = cpuinfo.split("\n\n").map(fields).filter(|cpu| cpu.contains_key("processor"));
    all.map(|cpu| {
        let text = |name: &str| cpu.get(name).cloned().unwrap_or_default();
        let number = |name: &str| text(name).parse::<u64>().unwrap_or(0);
        let cache = text("cache size");
        json!({
            "cpu": number("processor"),
            "vendorId": text("vendor_id"),
            "family": text("cpu family"),
            "model": text("model"),
            "stepping": number("stepping"),
            "physicalId": text("physical id"),
            "coreId": text("core id"),
            "cores": 1,
            "modelName": text("model name"),
            "mhz": text("cpu MHz").parse::<f64>().unwrap_or(0.0),
            "cacheSize": cache.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0u64),
            "flags": text("flags").split_whitespace().collect::<Vec<_>>(),
            "microcode": text("microcode"),
        })
    })
    .collect()
}

fn count_processes(proc: &Path) -> usize {
    let entries = std::fs::read_dir(proc).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).count()
}

fn host(uptime: &str, stat: &str, release: &str, processes: usize) -> Value {
    let kernel = rustix::system::uname();
    let booted = stat.lines().find_map(|line| line.strip_prefix("btime ")?.parse::<u64>().ok());
    let up = uptime.split('.').next().and_then(|seconds| seconds.parse::<u64>().ok());
    let of = |name: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    let family = of("ID_LIKE").split(' ').next().unwrap_or_default().to_owned();
    json!({
        "hostname": kernel.nodename().to_string_lossy(),
        "uptime": up.unwrap_or(0),
        "bootTime": booted.unwrap_or(0),
        "procs": processes,
        "os": std::env::consts::OS,
        "platform": of("ID"),
        "platformFamily": if family.is_empty() { of("ID") } else { family },
        "platformVersion": of("VERSION_ID"),
        "kernelVersion": kernel.release().to_string_lossy(),
        "kernelArch": kernel.machine().to_string_lossy(),
    })
}

fn space(path: &Path, disk: &rustix::fs::StatVfs) -> Value {
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    let (total, free) = (bytes(disk.f_blocks), bytes(disk.f_bavail));
    let used = total.saturating_sub(bytes(disk.f_bfree));
    let inodes = disk.f_files.saturating_sub(disk.f_ffree);
    json!({
        "path": path.display().to_string(),
        "total": total,
        "free": free,
        "used": used,
        "usedPercent": percent(used, used.saturating_add(free)),
        "inodesTotal": disk.f_files,
        "inodesUsed": inodes,
        "inodesFree": disk.f_ffree,
        "inodesUsedPercent": percent(inodes, disk.f_files),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_become_numbers() {
        let told = memory("MemTotal: 1000 kB\nMemFree: 300 kB\nCached: 100 kB\nHugePages: 0\n");
        assert_eq!(told["total"], 1_024_000);
        assert_eq!(told["used"], 600 * 1024);
        assert_eq!(told["usedPercent"], 60.0);
        let cpus =
            processors("processor\t: 0\ncpu MHz\t\t: 2000.5\nflags\t: a b\n\nprocessor : 1\n");
        assert_eq!(
            (cpus.len(), &cpus[0]["mhz"], &cpus[0]["flags"]),
            (2, &2000.5.into(), &json!(["a", "b"]))
        );
        let told = host("12.5 3.0", "cpu 1\nbtime 77\n", "ID=debian\nVERSION_ID=\"13\"\n", 4);
        assert_eq!((&told["uptime"], &told["bootTime"]), (&12.into(), &77.into()));
        assert_eq!(
            (&told["platformFamily"], &told["platformVersion"]),
            (&"debian".into(), &"13".into())
        );
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let nowhere = Path::new("/does/not/exist");
        let told = look(nowhere, nowhere, nowhere);
        assert_eq!(told["Errors"].as_array().map(Vec::len), Some(6), "{told}");
        assert_eq!((&told["Disk"], &told["CPU"]), (&Value::Null, &json!([])));
        let here = look(Path::new("/proc"), Path::new("/proc/version"), Path::new("/"));
        assert!(here["Memory"]["total"].as_u64() > Some(0), "{here}");
        assert_eq!(here["Errors"], Value::Null);
    }
}
