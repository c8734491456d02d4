//! `:authority` of HTTP/2 as Go's clients of etcd send it, made into one that hyper reads.
//!
//! etcdctl 3.4 sends a whole URL there (`http://127.0.0.1:2379`), and clients 3.5.0 to 3.5.9 with
//! several endpoints `#initially=[…]`. Go's servers take any text; hyper refuses the request before
//! it is shown. So what is no authority is overwritten on its way to hyper, where it stands: the
//! block keeps its length, and its client's table of fields never runs ahead of hyper's.

mod fields;
mod frames;
mod huffman;
mod reader;

#[cfg(test)]
mod tests;

use http::uri::Authority;

pub(super) use reader::Reader;

/// What is put in place of a text that is no authority: this, and `-` up to its length. No web page
/// can have sent it, because browsers put no user in front of a host.
const STAND_IN: &str = "-@-";

/// Whether a request's authority stands in for one that cannot be read.
pub(super) fn stands_in(authority: &str) -> bool {
    let rest = authority.strip_prefix(STAND_IN);
    rest.is_some_and(|rest| rest.bytes().all(|byte| byte == b'-'))
}

/// Overwrites the authority that a block of header fields spells out, unless it is one.
fn amend(block: &mut [u8]) {
    let Some(spelled) = fields::authority(block) else { return };
    // What cannot be decoded hyper refuses by itself.
    let Some(text) = spelled.text(block) else { return };
    let len = spelled.value.len();
    // An entry of hyper's table may be shorter than the client's, and is evicted later then: what
    // the client refers to is there. It must not be longer.
    let fits = (STAND_IN.len()..=text.len()).contains(&len);
    if fits && Authority::try_from(&*text).is_err() {
        spelled.overwrite(block, STAND_IN.bytes().chain(std::iter::repeat(b'-')));
    }
}
