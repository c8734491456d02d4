"""Agents, etcd servers and a Consul that the benches start on loopback, ask, measure and stop."""

import glob
import http.client
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TICKS = os.sysconf("SC_CLK_TCK")


def need(program, package):
    """Has Debian's package installed where the program is missing."""
    script = f". scripts/need; need {program} {package}"
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, check=True)


def built():
    """Where a release build puts the program."""
    return (glob.glob(f"{ROOT}/target/*/release/remora") + glob.glob(f"{ROOT}/target/release/remora"))[0]


def binary():
    """The program to measure: $REMORA, else the release build."""
    if os.environ.get("REMORA"):
        program = os.path.abspath(os.environ["REMORA"])
    else:
        subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT, check=True)
        program = built()
    if not os.access(program, os.X_OK):
        raise SystemExit(f"there is no program {program}")
    return program


def peers():
    """Where etcd and Consul are."""
    subprocess.run([f"{ROOT}/scripts/peers", f"{ROOT}/target/peers"], check=True)
    return f"{ROOT}/target/peers"


def ask(ip, method, path, body=None, port=8500, timeout=5):
    """One request on a connection of its own: status and body."""
    connection = http.client.HTTPConnection(ip, port, timeout=timeout)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def await_(what, check, patience=60):
    """Tries until `check` gives something true; the last complaint otherwise."""
    until = time.monotonic() + patience
    complaint = None
    while time.monotonic() < until:
        try:
            if (found := check()):
                return found
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            complaint = error
        time.sleep(0.02)
    raise SystemExit(f"{what}: not within {patience} s ({complaint})")


def percentile(values, part):
    """Of sorted or unsorted values, by nearest rank."""
    values = sorted(values)
    return values[min(len(values) - 1, int(part * len(values)))]


class Server:
    """A process that can be stopped and started again."""

    def __init__(self, arguments, ip, log, token=""):
        self.arguments, self.ip, self.log, self.token = arguments, ip, log, token
        self.process = None
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            environment = {**os.environ, "REMORA_JOIN_TOKEN": self.token}
            self.process = subprocess.Popen(self.arguments, stdout=log, stderr=log, env=environment)

    @property
    def pid(self):
        return self.process.pid

    def end(self, how):
        self.process.send_signal(how)
        self.process.wait()

    def cpu(self):
        """Seconds of processor time so far."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self):
        """Resident and anonymous megabytes."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            kb = {line.split(":")[0]: line.split()[1] for line in status if line.startswith(("VmRSS", "RssAnon"))}
        return int(kb["VmRSS"]) / 1024, int(kb["RssAnon"]) / 1024


class Fleet:
    """Everything that one bench starts; all of it ends with it."""

    def __init__(self, network, remora=None):
        self.network = network
        self.remora = remora or binary()
        self.dir = tempfile.mkdtemp(prefix="bench.", dir=f"{ROOT}/target")
        self.running = []
        offline = [self.remora, "join-token", "--offline"]
        self.tokens = subprocess.run(offline, check=True, capture_output=True, text=True).stdout.split("\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.running:
            if server.process.poll() is None:
                server.end(signal.SIGKILL)
        shutil.rmtree(self.dir)

    def ip(self, number):
        high, low = divmod(number, 250)
        return f"127.{self.network}.{high}.{low + 1}"

    def agent(self, number, server, join=(), extra="", dns=False):
        """An agent of the cluster, started; `join` holds numbers of others."""
        ip, name = self.ip(number), f"agent-{number}"
        config = f"{self.dir}/{name}.yaml"
        keeping = f"data_dir: {self.dir}/{name}\nrole: server" if server else "role: edge"
        names = f'"{ip}:8600"' if dns else ""
        seeds = ", ".join(f'"{self.ip(other)}:8300"' for other in join)
        with open(config, "w", encoding="ascii") as file:
            file.write(
                f"node: {name}\n{keeping}\n"
                f'cluster: {{ bind: "{ip}:8300", join: [{seeds}] }}\n'
                f'http: {{ listen: ["{ip}:8500"] }}\ndns: {{ listen: [{names}] }}\n{extra}\n'
            )
        arguments = [self.remora, "agent", "-c", config, "--log", "warn"]
        token = self.tokens[0 if server else 1]
        return self.add(Server(arguments, ip, f"{self.dir}/{name}.log", token))

    def add(self, server):
        self.running.append(server)
        return server

    def cluster(self, count):
        """Servers that all vote; the first founded it."""
        servers = [self.agent(0, True)]
        await_("the first server", lambda: ready(servers[0]))
        servers += [self.agent(i, True, [0]) for i in range(1, count)]
        for server in servers:
            await_("all servers vote", lambda s=server: ready(s) and len(status(s)["voters"]) == count)
        return servers

    def etcd(self, count):
        """An etcd cluster of the same size, on the same disk."""
        program = f"{peers()}/etcd"
        ips = [f"127.{self.network}.100.{i + 1}" for i in range(count)]
        members = ",".join(f"e{i}=http://{ip}:2380" for i, ip in enumerate(ips))
        servers = []
        for i, ip in enumerate(ips):
            arguments = [program, "--name", f"e{i}", "--data-dir", f"{self.dir}/etcd-{i}"]
            arguments += ["--log-level", "error", "--initial-cluster", members]
            for flag in ("--listen-client-urls", "--advertise-client-urls"):
                arguments += [flag, f"http://{ip}:2379"]
            for flag in ("--listen-peer-urls", "--initial-advertise-peer-urls"):
                arguments += [flag, f"http://{ip}:2380"]
            servers.append(self.add(Server(arguments, ip, f"{self.dir}/etcd-{i}.log")))
        for server in servers:
            await_("etcd", lambda s=server: ask(s.ip, "GET", "/health", port=2379)[0] == 200)
        return servers


    def consul(self):
        """A Consul server by itself, that takes as many connections as it is offered."""
        program, ip = f"{peers()}/consul", f"127.{self.network}.101.1"
        # It does not start where it may open no more files than that.
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 100
        config = f"{self.dir}/consul.json"
        with open(config, "w", encoding="ascii") as file:
            json.dump({
                "node_name": "bench", "server": True, "bootstrap_expect": 1,
                "data_dir": f"{self.dir}/consul", "bind_addr": ip, "client_addr": ip,
                "log_level": "err", "disable_update_check": True,
                "performance": {"raft_multiplier": 1},
                "limits": {"http_max_conns_per_client": most},
                "ports": {"dns": -1, "grpc": -1, "serf_wan": -1},
            }, file)
        server = self.add(Server([program, "agent", "-config-file", config], ip, f"{self.dir}/consul.log"))
        await_("consul", lambda: b":" in ask(ip, "GET", "/v1/status/leader")[1])
        return server


def ready(server):
    return ask(server.ip, "GET", "/readyz")[0] == 200


def status(server):
    return json.loads(ask(server.ip, "GET", "/status")[1])
