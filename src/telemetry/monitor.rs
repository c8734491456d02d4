//! Log lines for who watches them from afar: nothing is formatted while nobody does.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use serde_json::{Map, Value};
use tokio::sync::broadcast;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::model::limits;

use super::logging::QUIET;

/// How much is wanted; more verbose is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Verbosity {
    fn of(level: Level) -> Verbosity {
        match level {
            Level::ERROR => Verbosity::Error,
            Level::WARN => Verbosity::Warn,
            Level::INFO => Verbosity::Info,
            Level::DEBUG => Verbosity::Debug,
            Level::TRACE => Verbosity::Trace,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Verbosity::Error => "error",
            Verbosity::Warn => "warn",
            Verbosity::Info => "info",
            Verbosity::Debug => "debug",
            Verbosity::Trace => "trace",
        }
    }
}

/// One line of the log.
#[derive(Debug)]
pub struct LogLine {
    pub verbosity: Verbosity,
    pub at: SystemTime,
    /// Where it comes from: `cluster.registrar`.
    pub module: String,
    pub message: String,
    pub fields: Vec<(&'static str, String)>,
}

impl LogLine {
    /// As Consul's agents write it: `2026-01-01T00:00:00.000Z [INFO]  agent: text: a=1`.
    pub fn text(&self) -> String {
        let level = format!("[{}]", self.verbosity.word().to_uppercase());
        let at = humantime::format_rfc3339_millis(self.at);
        let mut text = format!("{at} {level:<7} {}: {}", self.module, self.message);
        for (i, (name, value)) in self.fields.iter().enumerate() {
            // Writing into a String cannot fail.
            let _ = write!(text, "{}{name}={value}", if i == 0 { ": " } else { " " });
        }
        text
    }

    pub fn json(&self) -> String {
        let mut members: Map<String, Value> = Map::new();
        members.insert("@level".to_owned(), self.verbosity.word().into());
        members.insert("@message".to_owned(), self.message.as_str().into());
        members.insert("@module".to_owned(), self.module.as_str().into());
        let at = humantime::format_rfc3339_micros(self.at).to_string();
        members.insert("@timestamp".to_owned(), at.into());
        for (name, value) in &self.fields {
            members.insert((*name).to_owned(), value.as_str().into());
        }
        Value::Object(members).to_string()
    }
}

type Handle = reload::Handle<EnvFilter, Registry>;

/// The log of this process, as it is written.
#[derive(Debug, Clone)]
pub struct Logs {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    lines: broadcast::Sender<Arc<LogLine>>,
    filter: Handle,
    /// How much each watcher wants.
    wanted: Mutex<Vec<Verbosity>>,
}

static LOGS: OnceLock<Logs> = OnceLock::new();

impl Logs {
    /// A process that has set no logging up has no lines.
    pub fn of_this_process() -> Logs {
        LOGS.get().cloned().unwrap_or(Logs { shared: None })
    }

    /// Watches from now on; none where too many do.
    pub fn watch(&self, verbosity: Verbosity) -> Option<LogWatch> {
        let Some(shared) = self.shared.clone() else {
            let (_, lines) = broadcast::channel(1);
            return Some(LogWatch { verbosity, lines, shared: None });
        };
        let lines = shared.lines.subscribe();
        let mut wanted = shared.wanted();
        if wanted.len() >= limits::MONITORS {
            return None;
        }
        wanted.push(verbosity);
        shared.set(&wanted);
        drop(wanted);
        Some(LogWatch { verbosity, lines, shared: Some(shared) })
    }
}

impl Shared {
    fn wanted(&self) -> MutexGuard<'_, Vec<Verbosity>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets through what the most curious of the watchers wants.
    fn set(&self, wanted: &[Verbosity]) {
        let filter = match wanted.iter().max() {
            None => EnvFilter::new("off"),
            Some(most) => EnvFilter::new(format!("{QUIET},{}", most.word())),
        };
        // It fails only once the subscriber is gone, and with it whatever there was to watch.
        let _ = self.filter.reload(filter);
    }
}

/// Who watches; what it does not take in time is dropped, and counted.
#[derive(Debug)]
pub struct LogWatch {
    verbosity: Verbosity,
    lines: broadcast::Receiver<Arc<LogLine>>,
    shared: Option<Arc<Shared>>,
}

impl Drop for LogWatch {
    fn drop(&mut self) {
        let Some(shared) = &self.shared else { return };
        let mut wanted = shared.wanted();
        if let Some(at) = wanted.iter().position(|other| *other == self.verbosity) {
            wanted.swap_remove(at);
        }
        shared.set(&wanted);
    }
}

impl LogWatch {
    /// The next line; none once there can be no more.
    pub async fn next(&mut self) -> Option<Arc<LogLine>> {
        loop {
            match self.lines.recv().await {
                Ok(line) if line.verbosity <= self.verbosity => return Some(line),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    return Some(Arc::new(LogLine {
                        verbosity: Verbosity::Warn,
                        at: SystemTime::now(),
                        module: "monitor".to_owned(),
                        message: format!("{missed} log lines were dropped: they came too fast"),
                        fields: Vec::new(),
                    }));
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// What listens in the subscriber.
pub(super) struct Tap {
    lines: broadcast::Sender<Arc<LogLine>>,
}

/// The layer, and where its lines come out.
pub(super) fn tap() -> (impl Layer<Registry> + Send + Sync + 'static, Logs) {
    let (lines, _) = broadcast::channel(limits::MONITOR_LINES);
    let off = EnvFilter::new("off");
    let (filter, handle) = reload::Layer::new(off);
    let shared = Shared { lines: lines.clone(), filter: handle, wanted: Mutex::default() };
    (Tap { lines }.with_filter(filter), Logs { shared: Some(Arc::new(shared)) })
}

/// The first subscriber of the process is the one whose lines are seen.
pub(super) fn publish(logs: Logs) {
    let _ = LOGS.set(logs);
}

impl<S: Subscriber> Layer<S> for Tap {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut seen = Seen::default();
        event.record(&mut seen);
        let meta = event.metadata();
        // Nobody may be left by now.
        let _ = self.lines.send(Arc::new(LogLine {
            verbosity: Verbosity::of(*meta.level()),
            at: SystemTime::now(),
            module: module(meta),
            message: seen.message,
            fields: seen.fields,
        }));
    }
}

fn module(meta: &Metadata<'_>) -> String {
    meta.target().trim_start_matches("remora::").replace("::", ".")
}

/// What an event says, each text cut where it is too long.
#[derive(Default)]
struct Seen {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = format!("{value:?}");
        if text.len() > limits::MONITOR_TEXT {
            let end = (0..=limits::MONITOR_TEXT).rev().find(|end| text.is_char_boundary(*end));
            text.truncate(end.unwrap_or(0));
            text.push('…');
        }
        match field.name() {
            "message" => self.message = text,
            name => self.fields.push((name, text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[tokio::test]
    async fn lines_come_as_verbose_as_they_are_wanted() {
        let (layer, logs) = tap();
        let _set = tracing::subscriber::set_default(Registry::default().with(layer));
        tracing::info!("nobody watches yet");
        let mut curious = logs.watch(Verbosity::Debug).unwrap();
        let mut calm = logs.watch(Verbosity::Warn).unwrap();
        tracing::debug!(target: "remora::cluster::roster", a = 1, b = "two", "hello");
        tracing::trace!("too much for both");
        tracing::warn!("mind this");
        let line = curious.next().await.unwrap();
        let text = line.text();
        assert!(text.ends_with("Z [DEBUG] cluster.roster: hello: a=1 b=\"two\""), "{text}");
        let json: Value = serde_json::from_str(&line.json()).unwrap();
        assert_eq!(
            [&json["@level"], &json["@message"], &json["@module"], &json["a"]],
            ["debug", "hello", "cluster.roster", "1"]
        );
        assert_eq!(curious.next().await.unwrap().message, "mind this");
        let line = calm.next().await.unwrap();
        assert!(line.text().contains(" [WARN]  telemetry.monitor.tests: mind this"), "{line:?}");
        drop((curious, calm));
        let mut later = logs.watch(Verbosity::Error).unwrap();
        tracing::warn!("not for who wants errors");
        tracing::error!("for them");
        assert_eq!(later.next().await.unwrap().message, "for them");
    }

    #[tokio::test]
    async fn who_is_slow_is_told_how_much_it_missed_and_the_watchers_are_bounded() {
        let (layer, logs) = tap();
        let _set = tracing::subscriber::set_default(Registry::default().with(layer));
        let mut slow = logs.watch(Verbosity::Info).unwrap();
        for n in 0..limits::MONITOR_LINES + 3 {
            tracing::info!("{n} {}", "x".repeat(2 * limits::MONITOR_TEXT));
        }
        let missed = slow.next().await.unwrap();
        assert_eq!(missed.message, "3 log lines were dropped: they came too fast");
        let line = slow.next().await.unwrap();
        assert!(line.message.starts_with("3 x") && line.message.ends_with('…'));
        assert!(line.message.len() <= limits::MONITOR_TEXT + 3);
        let others: Vec<_> =
            std::iter::from_fn(|| logs.watch(Verbosity::Info)).take(2 * limits::MONITORS).collect();
        assert_eq!(others.len() + 1, limits::MONITORS);
        drop(others);
        assert!(logs.watch(Verbosity::Info).is_some());
    }

    #[tokio::test]
    async fn without_logging_there_is_nothing_to_wait_for() {
        let logs = Logs { shared: None };
        assert!(logs.watch(Verbosity::Trace).unwrap().next().await.is_none());
    }
}
