//! Every bound of the house in one place. Units are bytes unless the name says otherwise.

use std::time::Duration;

/// Longest node name, so that `<node>.node.<domain>` fits into a DNS name.
pub const NODE_NAME: usize = 128;
/// Longest service name.
pub const SERVICE_NAME: usize = 512;
/// Longest key.
pub const KEY: usize = 32 * 1024;
/// Largest value through `/v1/kv` (Consul's limit).
pub const KV_VALUE: usize = 512 * 1024;
/// Body of a `/v1/txn` (Consul's limit).
pub const KV_TXN: usize = 512 * 1024;
/// Largest etcd request (etcd's limit).
pub const ETCD_REQUEST: usize = 1536 * 1024;
/// A gRPC message, whatever is in it (etcd's limit).
pub const ETCD_MESSAGE: usize = 2 * 1024 * 1024;
/// By how much an answer of a watch may be longer than a request (etcd's limit).
pub const ETCD_FRAGMENT_ROOM: usize = 512 * 1024;
/// Operations in one transaction (etcd's limit and Consul's).
pub const TXN_OPS: usize = 128;
/// What that may be configured to at most.
pub const TXN_OPS_MAX: usize = 16 * 1024;
/// Logical size of the key space: present keys with their values, and leases (etcd's limit).
pub const QUOTA: u64 = 2 * 1024 * 1024 * 1024;
/// What that may be set to: more would not fit into a snapshot.
pub const QUOTA_RANGE: (u64, u64) = (1024 * 1024, 3 * 1024 * 1024 * 1024);
/// Checksums and snapshots that one agent makes for etcd's clients at a time.
pub const SCANS: usize = 2;
/// How long a server may take to begin one for another agent; others may be before it.
pub const SURVEY: Duration = Duration::from_secs(60);
/// How long it may take to get as far in the log as who asks for one.
pub const SURVEY_CATCH_UP: Duration = Duration::from_secs(1);
/// A piece of a backup on its way to a client (etcd's).
pub const BACKUP_CHUNK: usize = 32 * 1024;
/// How long the next piece may take on its way from a server.
pub const BACKUP_PAUSE: Duration = Duration::from_secs(10);
/// Alarms that may be raised at a time.
pub const ALARMS: usize = 1024;
/// A lease lives for at least this long, so that a change of leader does not outlast it (etcd's).
pub const LEASE_TTL_MIN: Duration = Duration::from_secs(2);
/// Longest TTL of a lease (etcd's).
pub const LEASE_TTL_MAX: Duration = Duration::from_secs(9_000_000_000);
/// How long a session may ask to live without being renewed (Consul's).
pub const SESSION_TTL: (Duration, Duration) =
    (Duration::from_secs(10), Duration::from_secs(24 * 3600));
/// How many times its TTL a session may live without being renewed.
pub const SESSION_FACTOR: (u32, u32) = (1, 10);
/// Longest time for which nobody may take a key that a session lost (Consul's).
pub const LOCK_DELAY_MAX: Duration = Duration::from_secs(60);
/// How deep transactions may nest.
pub const TXN_DEPTH: usize = 16;
/// What a limit may be configured to at most.
pub const CONFIGURABLE_MAX: usize = 16 * 1024 * 1024;
/// Body of any other HTTP request.
pub const HTTP_BODY: usize = 2 * 1024 * 1024;
/// Request line and headers of an HTTP request.
pub const HTTP_HEADERS: usize = 64 * 1024;
/// A frame of HTTP/2 from a client (the least that the protocol allows).
pub const HTTP2_FRAME: usize = 16 * 1024;
/// How long a client may take to send its request's headers.
pub const HTTP_HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client's connection may be kept without a request.
pub const HTTP_IDLE: Duration = Duration::from_secs(300);
/// How long a client may take to send its request's body.
pub const HTTP_BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the rest of a request that nobody reads may take to arrive before the answer goes out.
pub const REFUSED_BODY: Duration = Duration::from_millis(250);
/// How long requests under way may take once the agent stops.
pub const HTTP_DRAIN: Duration = Duration::from_secs(5);
/// Open client connections of one listener.
pub const CONNECTIONS: usize = 32 * 1024;
/// A file of certificates or a key.
pub const PEM_FILE: usize = 1024 * 1024;
/// How often the files of `http.tls` are looked at.
pub const TLS_LOOK: Duration = Duration::from_secs(2);
/// How long a client may take to agree on TLS.
pub const TLS_HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client that is refused may take to read why.
pub const TLS_PARTING: Duration = Duration::from_secs(1);
/// Clients that agree on TLS at once; more wait, within the same time.
pub const TLS_HANDSHAKES: usize = 1024;
/// Who watches the log of one agent from afar, the lines that wait for each of them, and the text
/// of a message or a field in one.
pub const MONITORS: usize = 16;
pub const MONITOR_LINES: usize = 512;
pub const MONITOR_TEXT: usize = 4 * 1024;
/// Orders to one agent that wait.
pub const ORDERS: usize = 8;
/// Bodies of answers to Consul's clients that are worth being compressed (Consul's), and those that
/// are compressed on a thread of their own.
pub const GZIP_LEAST: usize = 1400;
pub const GZIP_ASIDE: usize = 64 * 1024;
/// Waiting blocking queries of one agent.
pub const WAITERS: usize = 100_000;
/// Longest wait of a blocking query (Consul's `max_query_time`).
pub const WAIT_MAX: Duration = Duration::from_secs(600);
/// Services, keys and prefixes that one stream of events is about.
pub const STREAM_SUBJECTS: usize = 256;
/// A stream that is to end by itself does so within this time.
pub const STREAM_WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// How often who reads a stream hears that it is alive.
pub const STREAM_HEARTBEAT: Duration = Duration::from_secs(15);
/// Bytes of encoded answers that are kept for who asks the same; of each of the shelves that they
/// stand on, the newest stays whatever its size.
pub const ANSWERS: usize = 16 * 1024 * 1024;
pub const ANSWER_SHELVES: usize = 16;
/// Bytes of an answer in random order that are copied row by row; of a larger one, runs of rows
/// change places, which are not copied.
pub const ANSWER_COPIED: usize = 16 * 1024;
pub const ANSWER_RUNS: usize = 32;
/// A frame between agents; larger things are cut into several.
pub const PEER_FRAME: usize = 32 * 1024 * 1024;
/// Requests under way on one connection between agents.
pub const PEER_IN_FLIGHT: usize = 8 * 1024;
/// How long the name of another agent may take to be resolved.
pub const RESOLVE: Duration = Duration::from_secs(3);
/// Open connections from other agents.
pub const PEER_CONNECTIONS: usize = 32 * 1024;
/// Connections of other agents that have not said hello yet: in all, and from one address.
pub const PEER_HANDSHAKES: usize = 1024;
pub const PEER_HANDSHAKES_FROM_ONE: usize = 256;
/// Addresses from which joins were denied that are remembered.
pub const DENIALS: usize = 4096;
/// How long an agent may take to be connected to.
pub const PEER_CONNECT: Duration = Duration::from_secs(1);
/// How long who connects to the agents' port may take to say hello.
pub const PEER_HELLO: Duration = Duration::from_secs(5);
/// What callers have to hear the answers they wait for, once an agent stops.
pub const PEER_PARTING: Duration = Duration::from_millis(500);
/// How long to wait when no connection can be accepted.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Relays between a server and an agent that follows, at most.
pub const RELAY_DEPTH: usize = 3;
/// Servers of one cluster.
pub const SERVERS: usize = 64;
/// Reads and heartbeats gathered into one message to the leader.
pub const CONFIRMS: usize = 4096;
/// How long a read or a proposal waits for a leader to be there.
pub const LEADER_PATIENCE: Duration = Duration::from_secs(7);
/// Proposals waiting for the log on one server.
pub const PROPOSALS_IN_FLIGHT: usize = 16 * 1024;
/// Commands in one batch of the log.
pub const BATCH_COMMANDS: usize = 4096;
/// A command in the log.
pub const LOG_COMMAND: usize = CONFIGURABLE_MAX;
/// The state in a snapshot, before compression.
pub const SNAPSHOT: usize = 4 * 1024 * 1024 * 1024;
/// A section of a snapshot: one row more than the few kilobytes it is closed at.
pub const SNAPSHOT_SECTION: usize = 4 * CONFIGURABLE_MAX;
/// A backup that can be restored, as it lies in its file: servers hold it while it comes in.
pub const BACKUP: usize = 512 * 1024 * 1024;
/// Backups that one agent takes in from Consul's clients at a time.
pub const RESTORES: usize = 2;
/// A piece of a backup in one command of the log.
pub const BACKUP_PIECE: usize = 1024 * 1024;
/// How long a restore may pause before another one, or housekeeping, clears away what it staged.
pub const STAGING_IDLE: Duration = Duration::from_secs(60);
/// A piece of a snapshot on its way to another server.
pub const SNAPSHOT_CHUNK: usize = 4 * 1024 * 1024;
/// Entries that a server keeps for followers that lag.
pub const RING_ENTRIES: usize = 16 * 1024;
/// Bytes of changes that a server keeps for followers that lag.
pub const RING_BYTES: usize = 32 * 1024 * 1024;
/// Keys whose deletion is remembered for blocking queries.
pub const TOMBSTONES: usize = 100_000;
/// How long a deletion is remembered for blocking queries.
pub const TOMBSTONE_AGE: Duration = Duration::from_secs(15 * 60);
/// How much history of the key space is kept, unless it has to make room.
pub const HISTORY_AGE: Duration = Duration::from_secs(3600);
/// What that may be set to: it is looked for once a minute, and ten years are as good as for ever.
pub const HISTORY_AGE_RANGE: (Duration, Duration) =
    (Duration::from_secs(60), Duration::from_secs(10 * 365 * 24 * 3600));
/// Bytes of events in the forms in which watches are told of them, which are made once.
pub const EVENTS_KNOWN: usize = 8 * 1024 * 1024;
/// Newest revisions that an agent without a history keeps for its own watches, and their bytes.
pub const RECENT_REVISIONS: usize = 1024;
pub const RECENT_BYTES: usize = 1024 * 1024;
/// Meta pairs of an instance or a node.
pub const META_PAIRS: usize = 64;
pub const META_KEY: usize = 128;
pub const META_VALUE: usize = 512;
/// Tags of one instance.
pub const TAGS: usize = 256;
/// A check's output; longer ones are cut.
pub const CHECK_OUTPUT: usize = 4 * 1024;
/// Instances that one agent runs.
pub const INSTANCES_PER_AGENT: usize = 4096;
/// Shortest interval of a probe.
pub const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// Probes of one agent under way.
pub const PROBES_IN_FLIGHT: usize = 1024;
/// Results of probes that wait to be taken in.
pub const FINDINGS: usize = 1024;
/// Wishes and reports of clients that wait for one agent's presence.
pub const PRESENCE_QUEUE: usize = 1024;
/// Bytes of one change of the catalog that an agent proposes, unless one wish alone has more.
pub const PRESENCE_COMMAND: usize = 512 * 1024;
/// Checks that one agent runs.
pub const CHECKS_PER_AGENT: usize = 8192;
/// A query to DNS: a name, and options far longer than any in use.
pub const DNS_QUERY: usize = 4096;
/// Open TCP connections of the DNS listener.
pub const DNS_CONNECTIONS: usize = 1024;
/// Least and longest wait after an accept that failed (out of file descriptors, for example).
pub const ACCEPT_RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// How long a TCP connection to DNS may be silent, or take no answer.
pub const DNS_IDLE: Duration = Duration::from_secs(10);
/// The same from one source, beyond loopback.
pub const DNS_CONNECTIONS_OF_ONE: usize = 128;
/// Queries of one TCP connection to DNS that wait for an answer from elsewhere.
pub const DNS_PIPELINE: usize = 32;
/// Newest changes of which it is kept which services they moved, and services in one of them: two
/// megabytes at most, however large the nodes are that change.
pub const RECENT_MOVES: usize = 1024;
pub const MOVED_AT_ONCE: usize = 128;
/// Datagrams that a DNS worker answers from one state.
pub const DNS_BATCH: usize = 64;
/// Encoded answers that one DNS worker keeps.
pub const DNS_MEMO: usize = 64 * 1024 * 1024;
/// Host names that are followed for one DNS answer.
pub const DNS_ALIASES: usize = 32;
/// Sources beyond loopback whose DNS queries a worker counts.
pub const DNS_SOURCES: usize = 4096;
/// Without contact to the cluster for so long, DNS answers say that they may be out of date.
pub const DNS_STALE: Duration = Duration::from_secs(10);
/// DNS queries that wait for an answer from elsewhere.
pub const DNS_FORWARDS: usize = 1024;
/// How long one server is waited for when a DNS query is forwarded, and all of them together.
pub const DNS_FORWARD_TIMEOUT: Duration = Duration::from_secs(2);
pub const DNS_FORWARD: Duration = Duration::from_secs(6);
/// Answers from elsewhere that are remembered.
pub const DNS_FORWARD_CACHE: u64 = 1024;
/// Connections kept idle to one instance by an HTTP upstream.
pub const POOL_IDLE: usize = 128;
/// Instances that are tried for one request or connection.
pub const PROXY_TRIES: usize = 3;
/// A rendered file.
pub const RENDERED_FILE: usize = 16 * 1024 * 1024;
/// Steps of a template before it is stopped. A step also pays for 64 bytes of data, so this bounds
/// its memory too.
pub const TEMPLATE_FUEL: u64 = 8_000_000;
/// Nested blocks and macro calls of a template, in the engine's count.
pub const TEMPLATE_DEPTH: usize = 200;
/// Different keys, prefixes and services that a template may ask for.
pub const TEMPLATE_READS: usize = 16 * 1024;
/// Files written from one prefix.
pub const PREFIX_FILES: usize = 16 * 1024;
/// Output of a check or reload command that is kept; the end of longer ones.
pub const COMMAND_OUTPUT: usize = 8 * 1024;
/// How long a check of a staged file may take.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a reload command may take.
pub const RELOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Entries of the status board.
pub const BOARD: usize = 4096;
/// The answer of an agent that a command of the CLI takes.
pub const CLI_ANSWER: usize = 256 * 1024 * 1024;
/// Certificates that an agent may show.
pub const CHAIN: usize = 8;
/// A certificate, or the request for one.
pub const CERTIFICATE: usize = 4 * 1024;
/// A cluster's authority as servers keep it and hand it to new ones.
pub const AUTHORITY: usize = 32 * 1024;
/// Join tokens that a cluster keeps.
pub const JOIN_TOKENS: usize = 4096;
/// Users that a cluster keeps, and roles.
pub const USERS: usize = 10_000;
pub const ROLES: usize = 10_000;
/// Roles that one user has, and permissions of one role.
pub const ROLES_OF_USER: usize = 256;
pub const PERMISSIONS: usize = 1024;
/// The name of a user or a role.
pub const ACCOUNT_NAME: usize = 256;
/// A password.
pub const PASSWORD: usize = 1024;
/// How long a token of a user is good.
pub const ACCESS_TOKEN_TTL: Duration = Duration::from_secs(300);
/// A token of a user, as it is shown.
pub const ACCESS_TOKEN: usize = 1024;
/// Tokens whose worth an agent that is no server remembers.
pub const TOKENS_KNOWN: usize = 4096;
/// Passwords that one agent hashes or compares at the same time, and those that wait for it.
pub const HASHES_AT_ONCE: usize = 2;
pub const HASHES_WAITING: usize = 64;
/// A regular expression of a filter, an event or a query, and what it compiles to.
pub const PATTERN: usize = 4 * 1024;
pub const PATTERN_PROGRAM: usize = 1024 * 1024;
/// How deep its groups may nest.
pub const PATTERN_DEPTH: u32 = 100;
/// A filter of `?filter=`.
pub const FILTER: usize = 16 * 1024;
/// How deep its parentheses and `not`s may nest.
pub const FILTER_DEPTH: usize = 100;
/// Prepared queries of a cluster, those of them that have a Regexp, and the text of one.
pub const QUERIES: usize = 4096;
pub const QUERY_PATTERNS: usize = 256;
pub const QUERY: usize = 16 * 1024;
/// The newest events that are kept (Consul's), and the bytes of one as it would be sent (Consul's).
pub const EVENTS: usize = 256;
pub const EVENT: usize = 512;
/// A text among an autopilot's settings.
pub const AUTOPILOT_TAG: usize = 256;
/// Policies that a cluster keeps, roles of tokens, and tokens.
pub const ACL_POLICIES: usize = 10_000;
pub const ACL_ROLES: usize = 10_000;
pub const ACL_TOKENS: usize = 100_000;
/// Policies, roles or identities that one token or role is given, of each kind.
pub const ACL_LINKS: usize = 256;
/// Rules of one policy, as they are written.
pub const ACL_RULES: usize = 64 * 1024;
/// What people say of a policy, a role or a token.
pub const ACL_DESCRIPTION: usize = 4 * 1024;
/// The name of a policy (Consul's limit), and of a role or an identity (Consul's).
pub const ACL_POLICY_NAME: usize = 128;
pub const ACL_ROLE_NAME: usize = 256;
/// How long a token may be asked to live (Consul's).
pub const ACL_TTL: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(24 * 3600));
