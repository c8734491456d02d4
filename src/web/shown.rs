//! What a request for a page shows to be somebody's.

use http::HeaderMap;
use serde::Deserialize;

use crate::cluster::Credential;
use crate::net::http::token;

/// `?token=`, as Consul's clients have it; it comes before headers.
#[derive(Deserialize)]
pub struct Shown {
    token: Option<String>,
}

impl Shown {
    pub fn credential(&self, headers: &HeaderMap) -> Credential {
        let asked = self.token.as_deref().filter(|token| !token.is_empty());
        let shown = asked.or_else(|| token(headers));
        shown.map_or(Credential::Nothing, |token| Credential::Token(token.into()))
    }
}
