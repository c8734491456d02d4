//! What others say about a name, as an answer to the query that we were sent.

use hickory_proto::op::{Message as Foreign, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError, NetError};

use super::message::{Flags, Message, Owner, Section};
use super::question::Query;
use super::wire::{Rcode, rtype};

const FLAGS: Flags = Flags { authoritative: false, truncated: false, recursion_available: true };

/// The answer, of at most `limit` bytes.
pub fn told(query: &Query<'_>, limit: usize, result: Result<Lookup, NetError>) -> Vec<u8> {
    let (mut out, mut flags) = (Vec::new(), FLAGS);
    let mut message = Message::answering(&mut out, query, limit, None);
    let asked = query.question.name;
    let rcode = match result {
        Ok(lookup) => {
            let mut records = lookup.answers().iter();
            flags.truncated = !records.all(|r| push(&mut message, Section::Answer, asked, r));
            Rcode::NoError
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            if let Some(soa) = none.soa {
                let soa = (*soa).into_record_of_rdata();
                push(&mut message, Section::Authority, asked, &soa);
            }
            match none.response_code {
                ResponseCode::NXDomain => Rcode::NxDomain,
                _ => Rcode::NoError,
            }
        }
        Err(error) => {
            tracing::debug!(%error, "dns: no server could tell about another name");
            Rcode::ServFail
        }
    };
    message.finish(rcode, flags);
    out
}

/// False: there is no room.
fn push(message: &mut Message<'_>, section: Section, asked: &[u8], record: &Record) -> bool {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    // What cannot be written down was no record.
    if record.emit(&mut encoder).is_err() {
        return true;
    }
    let Some((name, body)) = name_len(&bytes).and_then(|len| bytes.split_at_checked(len)) else {
        return true;
    };
    let owner =
        if name.eq_ignore_ascii_case(asked) { Owner::QUESTION } else { Owner { at: 0, name } };
    message.push(section, owner, body).is_some()
}

fn name_len(record: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let label = usize::from(*record.get(at)?);
        at += label + 1;
        if label == 0 {
            return Some(at);
        }
    }
}

/// An answer of ours that names hosts elsewhere.
pub struct Unfinished {
    message: Foreign,
}

impl Unfinished {
    pub fn read(answer: &[u8]) -> Option<Unfinished> {
        Foreign::from_vec(answer).ok().map(|message| Unfinished { message })
    }

    /// The hosts whose addresses are missing: what a CNAME leads to, or targets of SRV records.
    pub fn missing(&self) -> Vec<Name> {
        let there = |name: &Name| {
            let records = self.message.answers.iter().chain(&self.message.additionals);
            records.into_iter().any(|record| record.name == *name)
        };
        let mut names: Vec<Name> = Vec::new();
        for record in &self.message.answers {
            let name = match &record.data {
                RData::CNAME(target) => &target.0,
                RData::SRV(srv) => &srv.target,
                _ => continue,
            };
            if !there(name) && !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// The types of records that are wanted of them.
    pub fn types(qtype: u16) -> &'static [RecordType] {
        match qtype {
            rtype::A => &[RecordType::A],
            rtype::AAAA => &[RecordType::AAAA],
            _ => &[RecordType::A, RecordType::AAAA],
        }
    }

    /// They live no longer than the records that name them.
    pub fn add(&mut self, records: &[Record]) {
        let ttl = self.message.answers.iter().map(|record| record.ttl).min().unwrap_or_default();
        let chain = self.message.answers.iter().any(|r| matches!(r.data, RData::CNAME(_)));
        let place = if chain { &mut self.message.answers } else { &mut self.message.additionals };
        for record in records {
            let mut record = record.clone();
            record.ttl = record.ttl.min(ttl);
            if !place.contains(&record) {
                place.push(record);
            }
        }
    }

    /// None where it became longer than the client takes.
    pub fn finish(self, limit: usize) -> Option<Vec<u8>> {
        self.message.to_vec().ok().filter(|answer| answer.len() <= limit)
    }
}
