//! A steady stream of writes that remembers which of them were acknowledged.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::runtime::Runtime;

/// Writes `<prefix><n>` = `<n>` in turn through the agents given, until it is stopped.
pub struct Load {
    runtime: Runtime,
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
}

#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub acknowledged: BTreeSet<u64>,
    pub sent: u64,
}

impl Load {
    pub fn start(prefix: &str, agents: &[String], per_second: u32) -> Load {
        let runtime = Runtime::new().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let tally = Arc::new(Mutex::new(Tally::default()));
        let urls: Vec<String> =
            agents.iter().map(|agent| format!("http://{agent}/v1/kv/{prefix}")).collect();
        runtime.spawn(write(urls, per_second, stop.clone(), tally.clone()));
        Load { runtime, stop, tally }
    }

    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap().clone()
    }

    /// No more writes; those under way are waited for.
    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.runtime.shutdown_timeout(Duration::from_secs(1));
        self.tally.lock().unwrap().clone()
    }
}

async fn write(
    urls: Vec<String>,
    per_second: u32,
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<&'static [u8]>>();
    let mut tick = tokio::time::interval(Duration::from_secs(1) / per_second);
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        n += 1;
        tally.lock().unwrap().sent = n;
        let url = &urls[usize::try_from(n).unwrap() % urls.len()];
        let request =
            http::Request::put(format!("{url}{n}")).body(Full::new(&b"written"[..])).unwrap();
        let (client, tally) = (client.clone(), tally.clone());
        tokio::spawn(async move {
            let Ok(answer) = client.request(request).await else { return };
            let status = answer.status();
            let Ok(body) = answer.into_body().collect().await else { return };
            if status == 200 && body.to_bytes().trim_ascii() == b"true" {
                tally.lock().unwrap().acknowledged.insert(n);
            }
        });
    }
}
