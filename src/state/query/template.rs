//! Fills a query's `${…}` in from the name that was asked for.

use crate::state::pattern::Pattern;

use super::{QueryDef, QueryTarget};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variable {
    Full,
    Prefix,
    Suffix,
    Match(usize),
    /// Agents have no segments here.
    Segment,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(Variable),
}

/// Every text of a target that may hold variables, with its place.
pub(super) fn texts(target: &mut QueryTarget) -> Vec<(String, &mut String)> {
    fn list<'a>(
        place: &'static str,
        list: &'a mut Option<Vec<String>>,
    ) -> impl Iterator<Item = (String, &'a mut String)> {
        let all = list.iter_mut().flatten().enumerate();
        all.map(move |(at, text)| (format!("Service.{place}[{at}]"), text))
    }
    fn map<'a>(
        place: &'static str,
        map: &'a mut Option<std::collections::BTreeMap<String, String>>,
    ) -> impl Iterator<Item = (String, &'a mut String)> {
        let all = map.iter_mut().flatten();
        all.map(move |(key, text)| (format!("Service.{place}[{key:?}]"), text))
    }
    let mut texts = vec![("Service.Service".to_owned(), &mut target.service)];
    texts.extend(list("Failover.Datacenters", &mut target.datacenters));
    texts.extend(list("Failover.Targets", &mut target.elsewhere));
    texts.extend(list("IgnoreCheckIDs", &mut target.ignored_checks));
    texts.push(("Service.Near".to_owned(), &mut target.near));
    texts.extend(list("Tags", &mut target.tags));
    texts.extend(map("NodeMeta", &mut target.node_meta));
    texts.extend(map("ServiceMeta", &mut target.service_meta));
    texts
}

/// In Consul's words.
pub(super) fn flaw(def: &QueryDef) -> Option<String> {
    if !def.template.is_set {
        return None;
    }
    if !def.template.regexp.is_empty()
        && let Err(error) = Pattern::new(&def.template.regexp)
    {
        return Some(format!("Bad Regexp: {error}"));
    }
    let mut target = def.target.clone();
    texts(&mut target).into_iter().find_map(|(place, text)| {
        let why = pieces(text).err()?;
        Some(format!("Bad evaluation for '{text}' in {place}: {why}"))
    })
}

pub(super) fn fill_in(def: &mut QueryDef, pattern: Option<&Pattern>, asked: &str) {
    let groups = match pattern {
        // Without a Regexp there is nothing to number.
        None => Vec::new(),
        Some(pattern) => pattern.groups(asked).unwrap_or_default(),
    };
    let value = |variable: &Variable| match variable {
        Variable::Full => asked,
        Variable::Prefix => &def.name,
        Variable::Suffix => asked.get(def.name.len()..).unwrap_or_default(),
        Variable::Match(at) => groups.get(*at).copied().unwrap_or_default(),
        Variable::Segment => "",
    };
    for (_, text) in texts(&mut def.target) {
        let Ok(pieces) = pieces(text) else { continue };
        *text = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text,
                Piece::Variable(variable) => value(variable),
            })
            .collect();
    }
    if def.template.remove_empty_tags
        && let Some(tags) = &mut def.target.tags
    {
        tags.retain(|tag| !tag.is_empty());
    }
}

/// Texts and variables in turn. `$${` is a text.
fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let (mut literal, mut at) = (String::new(), 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("$${") {
            literal.push_str("${");
            at += 3;
        } else if rest.starts_with("${") {
            let inside = at + 2;
            let len = rest.find('}').ok_or_else(|| place(text, inside, "\"}\" expected"))? - 2;
            let variable = variable(text.get(inside..inside + len).unwrap_or_default());
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
            pieces.push(Piece::Variable(variable.map_err(|why| place(text, inside, &why))?));
            at = inside + len + 1;
        } else {
            let next = rest.chars().next().unwrap_or_default();
            literal.push(next);
            at += next.len_utf8();
        }
    }
    pieces.push(Piece::Text(literal));
    Ok(pieces)
}

fn place(text: &str, offset: usize, why: &str) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{line}:{column}: {why}")
}

fn variable(name: &str) -> Result<Variable, String> {
    let name = name.trim();
    Ok(match name {
        "name.full" => Variable::Full,
        "name.prefix" => Variable::Prefix,
        "name.suffix" => Variable::Suffix,
        "agent.segment" => Variable::Segment,
        _ => match name.split_once('(') {
            Some(("match", argument)) => {
                let number = argument.strip_suffix(')').and_then(|n| n.trim().parse().ok());
                Variable::Match(number.ok_or("match takes the number of a group")?)
            }
            Some((function, _)) => return Err(format!("unknown function called: {function}")),
            None => return Err(format!("unknown variable accessed: {name}")),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::query::QueryTemplate;

    fn query(name: &str, regexp: &str, service: &str, tags: &[&str]) -> QueryDef {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        QueryDef {
            id: crate::model::QueryId(1),
            name: name.to_owned(),
            session: None,
            token: String::new(),
            template: QueryTemplate {
                is_set: true,
                regexp: regexp.to_owned(),
                remove_empty_tags: true,
            },
            target: QueryTarget {
                service: service.to_owned(),
                tags: Some(tags),
                ..QueryTarget::default()
            },
            ttl: None,
            ttl_text: String::new(),
        }
    }

    fn filled_in(mut def: QueryDef, asked: &str) -> (String, Vec<String>) {
        let pattern = Pattern::new(&def.template.regexp).ok();
        let pattern = pattern.filter(|_| !def.template.regexp.is_empty());
        fill_in(&mut def, pattern.as_ref(), asked);
        (def.target.service, def.target.tags.unwrap())
    }

    #[test]
    fn names_fill_in_what_stands_for_them() {
        let geo =
            query("geo-", "", "x-${name.suffix}.${ name.full }", &["${name.prefix}", "$${a}"]);
        let tags = vec!["geo-".to_owned(), "${a}".to_owned()];
        assert_eq!(filled_in(geo, "GEO-db"), ("x-db.GEO-db".to_owned(), tags));
        let by_group =
            query("rx-", "^rx-(.*?)-(.*)$", "${match(1)}", &["${match(2)}", "${match(9)}"]);
        let filled = filled_in(by_group.clone(), "rx-web-é");
        assert_eq!(filled, ("web".to_owned(), vec!["é".to_owned()]));
        // Nothing matches: nothing is filled in.
        assert_eq!(filled_in(by_group, "rx-"), (String::new(), Vec::new()));
        let segment = query("s", "", "a${agent.segment}b", &[]);
        assert_eq!(filled_in(segment, "s").0, "ab");
    }

    #[test]
    fn what_cannot_be_filled_in_is_refused_in_consuls_words() {
        let flaw = |def: &QueryDef| def.template_flaw().unwrap_or_default();
        assert_eq!(flaw(&query("a", "", "b${name.suffix}", &[])), "");
        assert_eq!(
            flaw(&query("a", "(", "b", &[])),
            "Bad Regexp: error parsing regexp: missing closing ): `(`"
        );
        assert_eq!(
            flaw(&query("a", "", "${name.nope}", &[])),
            "Bad evaluation for '${name.nope}' in Service.Service: 1:3: unknown variable accessed: \
             name.nope"
        );
        assert_eq!(
            flaw(&query("a", "", "x", &["ok", "a ${nope(1)}"])),
            "Bad evaluation for 'a ${nope(1)}' in Service.Tags[1]: 1:5: unknown function called: \
             nope"
        );
        assert!(flaw(&query("a", "", "${name.full", &[])).ends_with("1:3: \"}\" expected"));
        assert!(flaw(&query("a", "", "${match(x)}", &[])).contains("1:3: match takes"));
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in r"(\$|\{|\}|name\.full|match|\(|\)|1|é|\n){0,12}", asked in ".{0,8}") {
            let def = query("é", "", &text, &[]);
            _ = def.template_flaw();
            _ = filled_in(def, &asked);
        }
    }
}
