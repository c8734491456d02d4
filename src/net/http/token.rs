//! The token that a request shows, where clients of Consul put it.

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// `X-Consul-Token`, else `Authorization: Bearer …`; an empty one is none.
pub fn token(headers: &HeaderMap) -> Option<&str> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let given = header("x-consul-token").filter(|token| !token.is_empty());
    given.or_else(|| {
        let (scheme, token) = header(AUTHORIZATION.as_str())?.split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_where_clients_put_it() {
        let found = |pairs: &[(&'static str, &'static str)]| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (name.parse().unwrap(), value.parse().unwrap())
            };
            let headers: HeaderMap = pairs.iter().map(pair).collect();
            token(&headers).map(str::to_owned)
        };
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("x-consul-token", "a")]), Some("a".to_owned()));
        assert_eq!(found(&[("x-consul-token", "")]), None);
        assert_eq!(found(&[("authorization", "bearer b")]), Some("b".to_owned()));
        assert_eq!(found(&[("authorization", "Basic b")]), None);
        let two = [("authorization", "Bearer b"), ("x-consul-token", "a")];
        assert_eq!(found(&two), Some("a".to_owned()));
    }
}
