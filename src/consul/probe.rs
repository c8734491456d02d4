//! The members of a check that say what is asked of an app, for the agent and for the catalog.

use std::sync::Arc;

use crate::model::{HttpTarget, Target, TlsTarget};

use super::decode::{DecodeError, Fields};

/// What a check does, where nothing is said of how often.
pub enum Asked {
    /// Nothing: the app reports, or somebody writes.
    Nothing,
    Probe(Target),
    Alias {
        node: Option<Arc<str>>,
        service: Option<Arc<str>>,
    },
    /// A kind that Consul runs and this agent does not.
    Unable(&'static str),
}

impl Asked {
    /// Takes all these members. Where there are several kinds, Consul's order decides.
    pub fn read(fields: &mut Fields) -> Result<Asked, DecodeError> {
        let tls = TlsTarget {
            server_name: some(fields.string(&["TLSServerName", "tls_server_name"])?),
            skip_verify: fields.boolean(&["TLSSkipVerify", "tls_skip_verify"])?,
        };
        let with = |wanted: bool| wanted.then(|| tls.clone());
        let http = HttpTarget {
            url: fields.string(&["HTTP"])?,
            method: fields.string(&["Method"])?,
            headers: fields.map_of_lists(&["Header"])?,
            body: fields.string(&["Body"])?,
            redirects: !fields.boolean(&["DisableRedirects"])?,
            tls: tls.clone(),
        };
        let grpc = fields.string(&["GRPC"])?;
        let grpc_tls = with(fields.boolean(&["GRPCUseTLS", "grpc_use_tls"])?);
        let tcp = fields.string(&["TCP"])?;
        let tcp_tls = with(fields.boolean(&["TCPUseTLS", "tcp_use_tls"])?);
        let udp = fields.string(&["UDP"])?;
        let ping = fields.string(&["H2PING"])?;
        // The one kind that speaks TLS unless it is told not to.
        let plain = fields.opposite(&["H2PingUseTLS", "h2ping_use_tls"])?;
        let argv = match fields.strings(&["Args", "args"])? {
            none if none.is_empty() => fields.strings(&["ScriptArgs", "script_args"])?,
            argv => argv,
        };
        let docker = fields.string(&["DockerContainerID", "docker_container_id"])?;
        let system = fields.string(&["OSService"])?;
        let alias = [fields.string(&["AliasNode"])?, fields.string(&["AliasService"])?];
        fields.skip(&["Shell"]);
        Ok(if !grpc.is_empty() {
            let (address, service) = grpc.split_once('/').unwrap_or((&grpc, ""));
            let (address, service) = (address.to_owned(), service.to_owned());
            Asked::Probe(Target::Grpc { address, service, tls: grpc_tls })
        } else if !http.url.is_empty() {
            Asked::Probe(Target::Http(http))
        } else if !tcp.is_empty() {
            Asked::Probe(Target::Tcp { address: tcp, tls: tcp_tls })
        } else if !udp.is_empty() {
            Asked::Probe(Target::Udp { address: udp })
        } else if alias.iter().any(|name| !name.is_empty()) {
            let [node, service] = alias.map(|name| some(name).map(Arc::from));
            Asked::Alias { node, service }
        } else if !docker.is_empty() {
            Asked::Unable("Docker")
        } else if !argv.is_empty() {
            Asked::Probe(Target::Exec { argv })
        } else if !ping.is_empty() {
            Asked::Probe(Target::H2Ping { address: ping, tls: with(!plain) })
        } else if !system.is_empty() {
            Asked::Unable("OSService")
        } else {
            Asked::Nothing
        })
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
