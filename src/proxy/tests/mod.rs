//! A cluster of one, apps on loopback, and the proxy between them and raw clients.

mod headers;
mod http;
mod retry;
mod robust;
mod tcp;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::lifecycle::Life;
use crate::model::{CheckDef, CheckKind, Folded, Health, NodeName, ServiceDef, Source};
use crate::state::{CatalogOp, Command, NodeDef, Outcome};
use crate::telemetry::Metrics;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// What every wait in these tests goes through.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(DEADLINE, future).await.expect("it takes too long")
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

struct House {
    cluster: Cluster,
    life: Life,
    metrics: Metrics,
    addr: SocketAddr,
}

fn upstream(protocol: Protocol) -> Upstream {
    Upstream::new("api", ([127, 0, 0, 1], 0).into(), protocol)
}

impl House {
    async fn of(upstream: Upstream) -> House {
        let cluster = Cluster::solo(NodeName::new("here").unwrap());
        let (life, metrics) = (Life::default(), Metrics::default());
        let config = Config { upstreams: vec![upstream] };
        let handle = start(config, cluster.clone(), life.clone(), &metrics).await.unwrap();
        House { cluster, life, metrics, addr: handle.addresses()[0] }
    }

    async fn with(upstream: Upstream, apps: &[&App]) -> House {
        let house = House::of(upstream).await;
        for app in apps {
            house.register(app.name, "127.0.0.1", app.addr.port(), 1).await;
        }
        house
    }

    async fn change(&self, ops: Vec<CatalogOp>) {
        let outcome = self.cluster.propose(Command::Catalog(ops)).await.unwrap();
        assert_eq!(outcome, Outcome::Done);
    }

    async fn register(&self, id: &str, host: &str, port: u16, weight: u16) {
        let mut def = ServiceDef::new(id, "api");
        def.address = host.into();
        def.port = port.into();
        def.weights.passing = weight;
        let mut check = CheckDef::new(&format!("check-{id}"), "alive", CheckKind::Static);
        check.service_id = Some(id.into());
        let node = Folded::new("here");
        let node_def = NodeDef {
            name: "here".into(),
            agent: None,
            uuid: String::new(),
            address: "127.0.0.1".into(),
            tagged_addresses: BTreeMap::new(),
            meta: BTreeMap::new(),
            presence_ttl: Duration::from_secs(10),
        };
        let (status, output) = (Health::Passing, String::new());
        self.change(vec![
            CatalogOp::PutNode(node_def),
            CatalogOp::PutInstance { node: node.clone(), def, source: Source::Api },
            CatalogOp::PutCheck { node, def: check, status, output, source: Source::Api },
        ])
        .await;
    }

    async fn report(&self, id: &str, status: Health) {
        let (node, check) = (Folded::new("here"), format!("check-{id}").into());
        self.change(vec![CatalogOp::Report { node, check, status, output: String::new() }]).await;
    }

    async fn remove(&self, id: &str) {
        let node = Folded::new("here");
        self.change(vec![CatalogOp::RemoveInstance { node, id: id.into() }]).await;
    }

    /// One request on a connection of its own.
    async fn get(&self, path: &str) -> Answer {
        let head = format!("GET {path} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n");
        self.raw(head.as_bytes()).await
    }

    async fn raw(&self, request: &[u8]) -> Answer {
        let mut client = TcpStream::connect(self.addr).await.unwrap();
        client.write_all(request).await.unwrap();
        let mut text = Vec::new();
        // A server that closes with bytes unread resets the connection after its answer.
        let _ = soon(client.read_to_end(&mut text)).await;
        Answer::parse(&String::from_utf8_lossy(&text))
    }

    /// The sum of the metric's values over its labels that contain `label`.
    fn metric(&self, name: &str, label: &str) -> f64 {
        let text = self.metrics.encode();
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.life.shutdown.begin();
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn parse(text: &str) -> Answer {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }
}

/// An app that answers every request with its name and the request's head.
struct App {
    name: &'static str,
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
}

impl App {
    async fn http(name: &'static str) -> App {
        App::serving(name, move |head| {
            let body = format!("{name}\n{head}");
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        })
        .await
    }

    /// Answers each request's head with a text; an empty text closes the connection.
    async fn serving(
        name: &'static str,
        answer: impl Fn(&str) -> String + Clone + Send + 'static,
    ) -> App {
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        let app = App::tcp(name, move |mut stream| {
            let (answer, counted) = (answer.clone(), counted.clone());
            async move {
                while let Some(head) = read_head(&mut stream).await {
                    counted.fetch_add(1, Ordering::SeqCst);
                    let answer = answer(&head);
                    if answer.is_empty() || stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await;
        App { requests, ..app }
    }

    async fn tcp<F: Future<Output = ()> + Send + 'static>(
        name: &'static str,
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> App {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move {
            let mut end = stopped.clone();
            loop {
                let stream = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    _ = end.wait_for(|stop| *stop) => return,
                };
                counted.fetch_add(1, Ordering::SeqCst);
                let (serving, mut end) = (serve(stream), stopped.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = serving => {}
                        _ = end.wait_for(|stop| *stop) => {}
                    }
                });
            }
        });
        App { name, addr, connections, requests: Arc::default(), stop }
    }

    /// As `kill -9` does: all its sockets close.
    fn kill(&self) {
        self.stop.send_replace(true);
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// A request's head, without what follows; none at the end of the stream.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}
