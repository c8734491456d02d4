//! Filters: what is refused and in which words, and what they keep, against a stupid model.

use proptest::prelude::*;

use crate::model::ServiceDef;
use crate::model::{CheckDef, CheckKind, Folded, Health, Source};
use crate::state::{CheckRow, InstanceRow, InstanceView, NodeDef, NodeRow};

use super::evaluate::{Datum, Row};
use super::parse::parse;
use super::rows::{Instance, Service};
use super::schema;
use super::select::select;
use super::tree::{Expression, Match, Operator, is_name};

fn wrong(filter: &str, fields: schema::Fields) -> String {
    match parse(filter).and_then(|tree| select(&tree, fields)) {
        Ok(question) => panic!("{filter} is taken: {question:?}"),
        Err(why) => why,
    }
}

const BAD: &[(&str, &str)] = &[
    ("Port == 0x50", r#"1:10 (9): rule "number": Invalid number literal"#),
    (
        "Port == abc",
        r#"Failed to coerce value "abc" for selector "Port": strconv.ParseInt: parsing "abc": invalid syntax"#,
    ),
    (
        "Port > 80",
        r#"1:6 (5): no match found, expected: "!=", "==", "contains", "in", "is", "matches", "not" or [ \t\r\n]"#,
    ),
    (
        "EnableTagOverride == yes",
        r#"Failed to coerce value "yes" for selector "EnableTagOverride": strconv.ParseBool: parsing "yes": invalid syntax"#,
    ),
    ("Tags == red", r#"Invalid match operator "Equal" for selector "Tags""#),
    (
        "Meta.a-b == x",
        r#"1:7 (6): no match found, expected: "!=", ".", "==", "[", [ \t\r\n] or [a-zA-Z0-9_]"#,
    ),
    ("Meta == x", r#"Invalid match operator "Equal" for selector "Meta""#),
    (
        r#"Service matches "(""#,
        r#"Failed to compile regular expression "(": error parsing regexp: missing closing ): `(`"#,
    ),
    ("Service is empty", r#"Invalid match operator "Is Empty" for selector "Service""#),
    (
        "ID == f1 AND Port == 80",
        r#"1:10 (9): no match found, expected: "and", "or", [ \t\r\n] or EOF"#,
    ),
    (
        "ID = f1",
        r#"1:4 (3): no match found, expected: "!=", "==", "contains", "in", "is", "matches", "not" or [ \t\r\n]"#,
    ),
    ("ID", r#"1:3 (2): no match found, expected: "!=", ".", "==", "[", [ \t\r\n] or [a-zA-Z0-9_]"#),
    (
        "ID ==",
        r#"1:6 (5): no match found, expected: "-", "0", "\"", "`", [ \t\r\n], [1-9] or [a-zA-Z]"#,
    ),
    (
        "== f1",
        r#"1:1 (0): no match found, expected: "(", "-", "0", "\"", "`", "not", [ \t\r\n], [1-9] or [a-zA-Z]"#,
    ),
    (
        " ",
        r#"1:2 (1): no match found, expected: "(", "-", "0", "\"", "`", "not", [ \t\r\n], [1-9] or [a-zA-Z]"#,
    ),
    ("(ID == f1", r#"1:10 (9): rule "grouping": Unmatched parentheses"#),
    ("ID == f1)", r#"1:9 (8): no match found, expected: ".", "[", [ \t\r\n], [a-zA-Z0-9_] or EOF"#),
    ("ID == f1 ID == f2", r#"1:10 (9): no match found, expected: "and", "or", [ \t\r\n] or EOF"#),
    ("ID == \"f1", r#"1:10 (9): rule "string": Unterminated string literal"#),
    ("ID == `f1", r#"1:10 (9): rule "string": Unterminated string literal"#),
    ("Nope == 1", r#"Selector "Nope" is not valid"#),
    ("service == fa", r#"Selector "service" is not valid"#),
    ("Tags.x == y", r#"Selector "Tags.x" is not valid"#),
    ("Meta.env.x == y", r#"Selector "Meta.env.x" is not valid"#),
    ("Port matches \"8\"", r#"Invalid match operator "Matches" for selector "Port""#),
    ("Port in 80", r#"1:9 (8): rule "match": Invalid selector"#),
    ("80 in Port", r#"Invalid match operator "In" for selector "Port""#),
    ("Port is empty", r#"Invalid match operator "Is Empty" for selector "Port""#),
    ("ID == f1 and", r#"1:13 (12): no match found, expected: [ \t\r\n]"#),
    ("CreateIndex == 0", r#"Selector "CreateIndex" is not valid"#),
    ("Meta[x] == y", r#"1:6 (5): rule "index": Invalid index"#),
    ("Meta[\"x\" == y", r#"1:10 (9): rule "index": Unclosed index expression"#),
    ("ID ==\n  f1 x", r#"2:6 (11): no match found, expected: "and", "or", [ \t\r\n] or EOF"#),
    ("ID == \"\\q\"", r#"1:7 (6): rule "string": invalid syntax"#),
    ("Definition.TTL == x", r#"Selector "Definition" is not valid"#),
];

#[test]
fn what_is_no_filter_is_refused_in_consuls_words() {
    for (filter, text) in BAD {
        assert_eq!(wrong(filter, schema::SERVICE), *text, "{filter}");
    }
    assert_eq!(
        wrong("Checks contains k1", schema::HEALTH),
        r#"Invalid match operator "In" for selector "Checks""#
    );
    assert_eq!(
        wrong("Node == n1", schema::HEALTH),
        r#"Invalid match operator "Equal" for selector "Node""#
    );
}

#[test]
fn nothing_nests_so_deep_that_the_stack_is_at_stake() {
    for open in ["(", "not ", "not (", "( not "] {
        let deep = format!("{}ID == x", open.repeat(5000));
        assert!(wrong(&deep, schema::SERVICE).contains("Nested too deep"), "{open}");
    }
    // Long, but not deep.
    let long = vec!["ID == x"; 1000].join(" or ");
    assert!(parse(&long).is_ok());
}

fn service(id: &str) -> InstanceRow {
    let mut def = ServiceDef::new(id, "fa");
    match id {
        "f1" => {
            def.tags = vec!["red".into(), "blue".into()];
            for (key, value) in [("env", "prod"), ("a-b", "x"), ("n", "5")] {
                def.meta.insert(key.to_owned(), value.to_owned());
            }
            def.address = "10.1.0.1".into();
            def.port = 80;
            def.enable_tag_override = true;
            let wan = crate::model::TaggedAddress { address: "198.18.0.1".to_owned(), port: 8 };
            def.tagged_addresses.insert("wan".to_owned(), wan);
        }
        "f2" => def.port = 8080,
        _ => {
            (def.name, def.port) = ("fb".into(), 90);
            def.tags = vec!["red".into()];
            def.meta.insert("env".to_owned(), "test".to_owned());
        }
    }
    InstanceRow { node: Folded::new("n"), def, source: Source::Api, create: 1, modified: 1 }
}

#[test]
fn filters_keep_what_consuls_keep() {
    let cases = [
        ("Service == fa", "f1 f2"),
        ("Service==\"fa\"", "f1 f2"),
        ("Service == `fa`", "f1 f2"),
        ("Port != 80", "f2 f3"),
        ("Port == \"80\"", "f1"),
        ("EnableTagOverride == \"true\"", "f1"),
        ("\"red\" in Tags", "f1 f3"),
        ("Tags not contains red", "f2"),
        ("Tags is empty", "f2"),
        ("Meta is not empty", "f1 f3"),
        ("env not in Meta", "f2"),
        ("Meta.env == prod", "f1"),
        ("Meta.env != prod", "f2 f3"),
        ("Meta.none == x", ""),
        ("Meta.none != x", "f1 f2 f3"),
        ("Meta.env matches \"^p\"", "f1 f2"),
        ("Meta.env not matches \"^p\"", "f2 f3"),
        ("Meta[\"a-b\"] == x", "f1"),
        ("Meta.n == 5", "f1"),
        ("b not in Service", "f1 f2"),
        ("Address == \"\"", "f2 f3"),
        ("TaggedAddresses.wan.Port == 8", "f1"),
        ("TaggedAddresses.nope.Port == 8", ""),
        ("TaggedAddresses.nope.Port != 8", "f1 f2 f3"),
        ("wan in TaggedAddresses", "f1"),
        ("Weights.Passing == 1", "f1 f2 f3"),
        ("ID == f1 or ID == f2 and Port == 80", "f1"),
        ("ID == f1 or ID == f2 and Port == 90", "f1"),
        ("Port == 80 and ID == f2 or ID == f3", "f3"),
        ("not ID == f1 or ID == f1", "f1 f2 f3"),
        ("Service matches a", "f1 f2"),
        ("Service matches \"^a\"", ""),
        ("Service matches \"a$\"", "f1 f2"),
        ("Service matches \"f$\"", ""),
        ("Service not matches \"^fa$\"", "f3"),
        ("TaggedAddresses is empty", "f2 f3"),
        ("TaggedAddresses is not empty", "f1"),
        ("nope not in TaggedAddresses", "f1 f2 f3"),
        ("\"blue\" not in Tags", "f2 f3"),
        ("re in Tags", ""),
        ("en in Meta", ""),
        ("(ID == f1 or ID == f2) and Port == 8080", "f2"),
        ("not not ID == f1", "f1"),
        ("not ID == f1 and Port == 90", "f3"),
        (" ( ID == f1 ) ", "f1"),
        ("Kind == \"\"", "f1 f2 f3"),
        ("Connect.Native == false", "f1 f2 f3"),
        ("Proxy.DestinationServiceName == \"\"", "f1 f2 f3"),
        ("Proxy.Upstreams is empty", "f1 f2 f3"),
        ("Proxy.Upstreams.DestinationName == \"\"", ""),
    ];
    let rows = [service("f1"), service("f2"), service("f3")];
    for (filter, expected) in cases {
        let question = select(&parse(filter).unwrap(), schema::SERVICE).unwrap();
        let kept = rows.iter().filter(|row| question.holds(&Service(row)));
        let kept: Vec<&str> = kept.map(|row| &*row.def.id).collect();
        assert_eq!(kept.join(" "), expected, "{filter}");
    }
}

fn check(id: &str, status: Health) -> std::sync::Arc<CheckRow> {
    std::sync::Arc::new(CheckRow {
        node: Folded::new("fn"),
        def: CheckDef::new(id, id, CheckKind::Static),
        status,
        output: String::new(),
        source: Source::Catalog,
        create: 1,
        modified: 1,
    })
}

#[test]
fn a_list_is_asked_of_any_and_of_none_nothing_is_true() {
    let def = NodeDef {
        name: "fn".into(),
        agent: None,
        uuid: String::new(),
        address: "10.0.0.1".into(),
        tagged_addresses: Default::default(),
        meta: [("rack".to_owned(), "r1".to_owned())].into(),
        presence_ttl: Default::default(),
    };
    let node = std::sync::Arc::new(NodeRow { def, create: 1, modified: 1 });
    let instance = std::sync::Arc::new(service("f1"));
    let (of_node, own) = ([check("k1", Health::Passing)], [check("k2", Health::Critical)]);
    let with =
        InstanceView { instance: &instance, node: &node, node_checks: &of_node, checks: &own };
    let without = InstanceView { node_checks: &[], checks: &[], ..with };
    let cases = [
        ("Checks.Status == critical", true, false),
        ("Checks.Status != critical", true, false),
        ("not Checks.Status == critical", false, true),
        ("Checks is empty", false, true),
        ("Checks.CheckID == k1 and Checks.Status == critical", true, false),
        ("Checks.ServiceTags contains red", true, false),
        ("Checks.Interval == \"\"", true, false),
        ("Node.Meta.rack == r1 and Node.Datacenter == dc1", true, true),
        ("Service.Port == 80", true, true),
    ];
    for (filter, of_some, of_none) in cases {
        let question = select(&parse(filter).unwrap(), schema::HEALTH).unwrap();
        let holds = |view| question.holds(&Instance { view, datacenter: "dc1" });
        assert_eq!((holds(&with), holds(&without)), (of_some, of_none), "{filter}");
    }
}

/// Every field that may be selected is one that the rows know: a name that only one of the two
/// has would be silently empty.
#[test]
fn rows_know_what_may_be_selected() {
    let row = service("f1");
    for (name, kind) in schema::SERVICE {
        let shown = Service(&row);
        let datum = shown.field(name);
        let fits = match kind {
            schema::Kind::Text => matches!(datum, Datum::Text(_)),
            schema::Kind::Number => matches!(datum, Datum::Number(_)),
            schema::Kind::Truth => matches!(datum, Datum::Truth(_)),
            schema::Kind::Texts => matches!(datum, Datum::Texts(_)),
            schema::Kind::Map(_) => {
                matches!(datum, Datum::Words(_) | Datum::Addresses(_))
            }
            schema::Kind::Part(_) | schema::Kind::Parts(_) => {
                matches!(datum, Datum::Part(_) | Datum::Nothing)
            }
        };
        assert!(fits || ["Kind", "Proxy", "Connect"].contains(name), "{name}");
    }
}

fn operator() -> impl Strategy<Value = Operator> {
    use Operator as O;
    let equals = [O::Equal, O::NotEqual, O::Matches, O::NotMatches];
    let others = [O::In, O::NotIn, O::IsEmpty, O::IsNotEmpty];
    proptest::sample::select([equals, others].concat())
}

fn matching() -> impl Strategy<Value = Expression> {
    let names = prop_oneof![4 => "[a-z]{1,3}", 1 => ".{0,4}"];
    let selector = ("[a-zA-Z][a-zA-Z0-9_]{0,4}", proptest::collection::vec(names, 0..3));
    (selector, operator(), ".{0,6}").prop_map(|((first, rest), operator, value)| {
        let selector = std::iter::once(first).chain(rest).collect();
        let alone = matches!(operator, Operator::IsEmpty | Operator::IsNotEmpty);
        let value = if alone { String::new() } else { value };
        Expression::Match(Match { selector, operator, value })
    })
}

fn expression() -> impl Strategy<Value = Expression> {
    matching().prop_recursive(4, 24, 3, |inner| {
        let parts = || proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            parts().prop_map(Expression::Any),
            parts().prop_map(Expression::All),
            inner.clone().prop_map(|of| Expression::Not(Box::new(of))),
        ]
    })
}

/// The least that a filter can be: every match looks for one service by its port.
fn simple() -> impl Strategy<Value = Expression> {
    let ask = (0..3i32, any::<bool>()).prop_map(|(port, equal)| {
        let operator = if equal { Operator::Equal } else { Operator::NotEqual };
        let (selector, value) = (vec!["Port".to_owned()], port.to_string());
        Expression::Match(Match { selector, operator, value })
    });
    ask.prop_recursive(5, 32, 3, |inner| {
        let parts = || proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            parts().prop_map(Expression::Any),
            parts().prop_map(Expression::All),
            inner.clone().prop_map(|of| Expression::Not(Box::new(of))),
        ]
    })
}

fn model(of: &Expression, port: i32) -> bool {
    match of {
        Expression::Any(parts) => parts.iter().filter(|part| model(part, port)).count() > 0,
        Expression::All(parts) => parts.iter().filter(|part| !model(part, port)).count() == 0,
        Expression::Not(of) => !model(of, port),
        Expression::Match(of) if of.operator == Operator::Equal => of.value == port.to_string(),
        Expression::Match(of) => of.value != port.to_string(),
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,60}") {
        _ = parse(&text).map(|tree| select(&tree, schema::HEALTH));
    }

    #[test]
    fn no_near_miss_does_either(
        text in r#"(ID|Meta\.x|Tags|not|and|or|in|is|empty|==|!=|\(|\)|"|`|\[|\]|80|-1\.5|contains|matches|é| |\n){0,16}"#
    ) {
        _ = parse(&text).map(|tree| select(&tree, schema::SERVICE));
    }

    #[test]
    fn what_is_printed_is_read_as_the_same(tree in expression()) {
        prop_assert_eq!(parse(&tree.to_string()), Ok(tree));
    }

    #[test]
    fn answers_are_those_of_the_model(tree in simple(), port in 0..3i32) {
        let question = select(&parse(&tree.to_string()).unwrap(), schema::SERVICE).unwrap();
        let mut row = service("f2");
        row.def.port = port;
        prop_assert_eq!(question.holds(&Service(&row)), model(&tree, port), "{}", tree);
    }

    #[test]
    fn a_name_needs_no_brackets_where_it_is_one(name in "[a-zA-Z0-9_.-]{1,6}") {
        let tree = Expression::Match(Match {
            selector: vec!["Meta".to_owned(), name.clone()],
            operator: Operator::IsEmpty,
            value: String::new(),
        });
        prop_assert_eq!(tree.to_string().contains('['), !is_name(&name));
    }
}
