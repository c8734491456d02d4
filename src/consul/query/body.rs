//! Turns the body of a prepared query into one, and says what of it cannot be.

use crate::consul::decode::{self, DecodeError, Fields};
use crate::consul::duration;
use crate::consul::error::Failure;
use crate::model::{QueryId, SessionId};
use crate::state::{QueryDef, QueryTarget, QueryTemplate};

/// What a body says, not looked at yet.
pub struct Read {
    /// The id that it was given; the definition has none yet.
    pub id: String,
    def: QueryDef,
    session: String,
    template: String,
}

pub fn read(body: &[u8]) -> Result<Read, Failure> {
    decode::object(body, "structs.PreparedQuery")
        .and_then(fields)
        .map_err(|error| Failure::bad(format!("Request decode failed: {error}")))
}

impl Read {
    /// What it asks for, if that can be.
    pub fn check(self) -> Result<QueryDef, Failure> {
        let Read { mut def, session, template, .. } = self;
        let invalid = |why: String| Failure::internal(format!("Invalid prepared query: {why}"));
        if session.is_empty() && def.name.is_empty() && def.token.is_empty() && template.is_empty()
        {
            return Err(invalid("Must be bound to a session".to_owned()));
        }
        if def.target.service.is_empty() {
            return Err(invalid("Must provide a Service name to query".to_owned()));
        }
        if def.target.nearest < 0 {
            return Err(invalid(format!("Bad NearestN '{}', must be >= 0", def.target.nearest)));
        }
        if def.target.elsewhere.as_ref().is_some_and(|targets| !targets.is_empty())
            && (def.target.nearest > 0 || def.target.datacenters.iter().flatten().next().is_some())
        {
            let why = "Targets cannot be populated with NearestN or Datacenters";
            return Err(invalid(why.to_owned()));
        }
        if !def.ttl_text.is_empty() {
            let text = &def.ttl_text;
            let nanoseconds = duration::parse(text).ok_or_else(|| {
                invalid(format!("Bad DNS TTL '{text}': {}", duration::complaint(text)))
            })?;
            if nanoseconds < 0 {
                return Err(invalid(format!("DNS TTL '{nanoseconds}', must be >=0")));
            }
            def.ttl = Some(duration::positive(nanoseconds).unwrap_or_default());
        }
        def.session = session_of(&session)?;
        def.template.is_set = match template.as_str() {
            "" => false,
            "name_prefix_match" => true,
            other => return Err(uncompiled(&format!("Bad Template.Type '{other}'"))),
        };
        match def.template_flaw() {
            Some(flaw) => Err(uncompiled(&flaw)),
            None => Ok(def),
        }
    }
}

fn uncompiled(why: &str) -> Failure {
    Failure::internal(format!("failed compiling template: {why}"))
}

fn session_of(text: &str) -> Result<Option<SessionId>, Failure> {
    match QueryId::parse(text) {
        Some(QueryId(number)) => Ok(Some(SessionId(number))),
        None if text.is_empty() => Ok(None),
        None => Err(Failure::internal("invalid session: index error: UUID must be 36 characters")),
    }
}

fn fields(mut fields: Fields) -> Result<Read, DecodeError> {
    let (mut template, mut kind) = (QueryTemplate::default(), String::new());
    if let Some(mut given) = fields.object(&["Template"], "structs.QueryTemplateOptions")? {
        kind = given.string(&["Type"])?;
        template.regexp = given.string(&["Regexp"])?;
        template.remove_empty_tags = given.boolean(&["RemoveEmptyTags"])?;
        given.finish()?;
    }
    let mut ttl_text = String::new();
    if let Some(mut dns) = fields.object(&["DNS"], "structs.QueryDNSOptions")? {
        ttl_text = dns.string(&["TTL"])?;
        dns.finish()?;
    }
    let target = match fields.object(&["Service"], "structs.ServiceQuery")? {
        Some(service) => target(service)?,
        None => QueryTarget::default(),
    };
    let (id, session) = (fields.string(&["ID"])?, fields.string(&["Session"])?);
    let def = QueryDef {
        id: QueryId(0),
        name: fields.string(&["Name"])?,
        session: None,
        token: fields.string(&["Token"])?,
        template,
        target,
        ttl: None,
        ttl_text,
    };
    // What a client sends back of what it was shown.
    fields.skip(&["CreateIndex", "ModifyIndex"]);
    fields.finish()?;
    Ok(Read { id, def, session, template: kind })
}

fn target(mut fields: Fields) -> Result<QueryTarget, DecodeError> {
    let mut target = QueryTarget {
        service: fields.string(&["Service"])?,
        only_passing: fields.boolean(&["OnlyPassing"])?,
        ignored_checks: fields.strings_if_given(&["IgnoreCheckIDs"])?,
        near: fields.string(&["Near"])?,
        tags: fields.strings_if_given(&["Tags"])?,
        node_meta: fields.map_if_given(&["NodeMeta"])?,
        service_meta: fields.map_if_given(&["ServiceMeta"])?,
        connect: fields.boolean(&["Connect"])?,
        ..QueryTarget::default()
    };
    if let Some(mut failover) = fields.object(&["Failover"], "structs.QueryDatacenterOptions")? {
        target.nearest = failover.integer(&["NearestN"])?.unwrap_or_default();
        target.datacenters = failover.strings_if_given(&["Datacenters"])?;
        if let Some(targets) =
            failover.objects_if_given(&["Targets"], "structs.QueryFailoverTarget")?
        {
            target.elsewhere = Some(targets.into_iter().map(elsewhere).collect::<Result<_, _>>()?);
        }
        failover.finish()?;
    }
    // Of other editions and of the mesh: nobody here is reached by them.
    for name in ["SamenessGroup", "Peer"] {
        refuse_text(&mut fields, name)?;
    }
    fields.finish()?;
    Ok(target)
}

fn elsewhere(mut fields: Fields) -> Result<String, DecodeError> {
    let datacenter = fields.string(&["Datacenter"])?;
    refuse_text(&mut fields, "Peer")?;
    fields.finish()?;
    Ok(datacenter)
}

fn refuse_text(fields: &mut Fields, name: &'static str) -> Result<(), DecodeError> {
    match fields.string(&[name])?.as_str() {
        "" => Ok(()),
        _ => Err(DecodeError(format!("{name} is not supported: there is one cluster"))),
    }
}
