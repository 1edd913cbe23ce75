//! Layers over each other, and errors with their places and remedies.

use std::time::Duration;

use tickwire_config::{ConfigErrors, Layers, settings};

settings! {
    struct Plan {
        name: String = String::new(),
        count: usize = 5 => 1..=9,
        share: f64 = 0.5 => 0..=1,
        #[schemars(extend("unit" = "updates/s", "exclusiveMinimum" = 0, "hint" = "; rest otherwise"))]
        rate: f64 = 1.0 => 0..=100,
        wait: Duration = Duration::from_secs(1),
        receipts: bool = false,
        names: Vec<String> = Vec::new(),
        numbers: Vec<usize> = Vec::new(),
        url: Option<String> = None,
        kind: Kind = Kind::Slow,
        #[schemars(extend("writeOnly" = true))]
        token: Option<String> = None,
        even: Even = Even(0),
        deep: Deep = Deep::default(),
        readers: Vec<Reader> = Vec::new(),
        search: Option<Search> = None,
    }

    struct Deep {
        count: u8 = 0,
        limits: Limits = Limits::default(),
    }

    struct Limits {
        /// It counts all together.
        sessions: u64 = 10 => 1..=100,
    }

    #[schemars(extend("required" = ["kind"]))]
    struct Reader {
        /// how they read
        kind: Kind = Kind::Slow,
        share: f64 = 0.0 => 0..=1,
        even: Even = Even(0),
    }

    struct Search {
        from: f64 = 1.0,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// A variant with a comment comes behind those without.
    Slow,
    HalfOpen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(try_from = "u64")]
#[schemars(with = "u64")]
struct Even(u64);

impl TryFrom<u64> for Even {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        if number.is_multiple_of(2) {
            Ok(Self(number))
        } else {
            Err(format!("{number} is odd; take {}", number + 1))
        }
    }
}

fn read(text: &str, flags: &[(&str, &str)]) -> (Plan, Vec<String>) {
    let mut layers = Layers::of::<Plan>();
    layers.file("x.toml", text);
    for (path, value) in flags {
        layers.flag("--set", path, value);
    }
    let plan = layers.read();
    (plan, layers.finish("plan", "").map_or_else(|errors| errors.errors().to_vec(), |()| Vec::new()))
}

#[track_caller]
fn good(text: &str, flags: &[(&str, &str)]) -> Plan {
    let (plan, errors) = read(text, flags);
    assert_eq!(errors, [""; 0]);
    plan
}

#[track_caller]
fn check(text: &str, flags: &[(&str, &str)], expected: &[&str]) {
    let (_, errors) = read(text, flags);
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
}

#[test]
fn values_of_every_kind() {
    let plan = good(
        "name = \"t\"\ncount = 7\nrate = 5\nwait = \"1.5s\"\nreceipts = true\nnames = [\"x\", \"y\"]\nnumbers = 3\nkind = \"half-open\"\n\
         url = \"\"\nwhole = 1\n[deep.limits]\nsessions = 1e1\n[[readers]]\nkind = \"slow\"\n[[readers]]\nkind = \"half-open\"\nshare = 1\n\
         [search]\n"
            .replace("whole = 1\n", "")
            .as_str(),
        &[],
    );
    assert_eq!((plan.name.as_str(), plan.count, plan.rate), ("t", 7, 5.0));
    assert_eq!((plan.wait, plan.receipts), (Duration::from_millis(1500), true));
    assert_eq!((plan.names, plan.numbers), (vec!["x".to_owned(), "y".to_owned()], vec![3]));
    assert_eq!((plan.kind, plan.url, plan.deep.limits.sessions), (Kind::HalfOpen, None, 10));
    assert_eq!((plan.readers.len(), plan.readers[1].share), (2, 1.0));
    assert_eq!((plan.search.map(|search| search.from), plan.token), (Some(1.0), None));
}

#[test]
fn later_layers_win() {
    let mut layers = Layers::of::<Plan>();
    layers.file("x.toml", "count = 5\nshare = 0.1\nwait = \"1s\"\n[deep.limits]\nsessions = 1\n");
    layers.variable("APP_", "APP_DEEP__LIMITS__SESSIONS", "2");
    layers.variable("APP_", "APP_DEEP__COUNT", "3");
    layers.variable("APP_", "APP_COUNT", "no setting: it is in no table");
    layers.variable("APP_", "OTHER_DEEP__COUNT", "9");
    layers.pair("--set", "deep.count = 4");
    layers.flag("--wait", "wait", "2s");
    layers.flag("--names", "names", "a, b");
    layers.flag("--names", "numbers", "[1, 2]");
    layers.flag("--kind", "kind", "\"half-open\"");
    layers.flag("--set", "readers[0].kind", "slow");
    layers.flag("--set", "readers[0].share", "0.25");
    layers.flag("--set", "search.from", "3");
    let plan: Plan = layers.read();
    assert_eq!(layers.finish("plan", ""), Ok(()));
    assert_eq!((plan.deep.limits.sessions, plan.deep.count, plan.share), (2, 4, 0.1));
    assert_eq!((plan.wait, plan.kind, plan.numbers), (Duration::from_secs(2), Kind::HalfOpen, vec![1, 2]));
    assert_eq!((plan.names, plan.readers[0].share), (vec!["a".to_owned(), "b".to_owned()], 0.25));
    assert_eq!(plan.search.map(|search| search.from), Some(3.0));
}

#[test]
fn all_errors_are_named_with_place_and_remedy_in_the_order_of_the_file_and_of_the_flags() {
    check(
        "count = 50\nshare = nan\nrate = 0\n[deep]\n  count = 300\n  cuont = 1\n[[readers]]\nshare = 2\neven = 1\n[[readers]]\n\
         kind = \"x\"\neven = 3\n[nosuch]\n[search]\nfrom = {}\n",
        &[("receipts", "maybe"), ("wait", "5"), ("even", "7"), ("names", "[1]")],
        &[
            "x.toml, line 1, column 1: `count`: has to be a whole number from 1 to 9, not 50",
            "x.toml, line 2, column 1: `share`: has to be a number from 0 to 1, not \"nan\"",
            "x.toml, line 3, column 1: `rate`: has to be a number above 0, at most 100 (updates/s), not 0; rest otherwise",
            "x.toml, line 5, column 3: `deep.count`: has to be a whole number from 0 to 255, not 300",
            "x.toml, line 6, column 3: `deep.cuont`: does not exist; did you mean `deep.count`?",
            "x.toml, line 7, column 1: `readers[0].kind`: is missing: how they read",
            "x.toml, line 8, column 1: `readers[0].share`: has to be a number from 0 to 1, not 2",
            "x.toml, line 9, column 1: `readers[0].even`: 1 is odd; take 2",
            "x.toml, line 11, column 1: `readers[1].kind`: has to be one of half-open, slow, not \"x\"",
            "x.toml, line 12, column 1: `readers[1].even`: 3 is odd; take 4",
            "x.toml, line 13, column 2: `nosuch`: does not exist; here are: name, count, share",
            "x.toml, line 15, column 1: `search.from`: has to be a number, not a table",
            "--set: `receipts`: has to be true or false, not \"maybe\"",
            "--set: `wait`: has to be a time with a unit, at most a week: \"500ms\"",
            "--set: `even`: 7 is odd; take 8",
            "--set: `names`: has to be a list of texts, as in [\"a\", \"b\"], not [1]",
        ],
    );
}

#[test]
fn a_wrong_value_is_told_even_where_a_later_layer_sets_it() {
    check("count = 0", &[("count", "3")], &["x.toml, line 1, column 1: `count`: has to be"]);
}

#[test]
fn what_is_no_toml_is_named_with_its_line_and_the_rest_is_read() {
    check("count = 0\nname = = 2\n", &[], &["x.toml, line 1", "x.toml, line 2, column 8: is not TOML: "]);
}

#[test]
fn secrets_are_in_no_error_and_not_shown() {
    let mut layers = Layers::of::<Plan>();
    let text = "token = \"SECRET\" # here\ncount = 3\n";
    layers.file("x.toml", text);
    assert_eq!(layers.shown("<token>"), "token = \"<token>\" # here\ncount = 3\n");
    check("token = [\"SECRET\"]", &[], &["x.toml, line 1, column 1: `token`: has to be a text in quotes"]);
    assert!(!read("token = [\"SECRET\"]", &[]).1[0].contains("SECRET"));
}

#[test]
fn long_values_are_cut() {
    let (_, errors) = read(&format!("count = \"{}\"", "ä".repeat(100)), &[]);
    assert!(errors[0].ends_with("ä…") && errors[0].len() < 250, "{errors:?}");
}

#[test]
fn paths_that_are_none_say_how_to_write_them() {
    let readers = "[[readers]]\nkind = \"slow\"\n".repeat(2);
    for (path, expected) in [
        ("coutn", "does not exist; did you mean `count`?"),
        ("readers[1].shar", "does not exist; did you mean `readers[1].share`?"),
        ("xx", "does not exist; here are: name, count,"),
        ("deep", "is a table: set its settings one by one, as `deep.count`"),
        ("count.more", "does not exist; `count` has nothing in it"),
        ("", "names no setting: write NAME=VALUE"),
        (
            "readers[3].share",
            "is of an entry that does not exist: there are `readers[0]` to `readers[1]`; with `readers[2].kind` comes the next",
        ),
    ] {
        check(&readers, &[(path, "1")], &[&format!("--set: `{path}`: {expected}")]);
    }
    check(
        "",
        &[("readers[1].kind", "slow")],
        &["--set: `readers[1].kind`: is of an entry that does not exist: there is no"],
    );
    for path in [
        "readers.share",
        "readers.0.share",
        "readers[x].share",
        "readers[-1].share",
        "readers[0",
        "readers[0]share",
        "readers",
    ] {
        let expected = format!(
            "--set: `{path}`: is a list of tables, and each setting is named with its entry's number, from 0: `readers[0].kind`"
        );
        check(&readers, &[(path, "1")], &[&expected]);
    }
    check("readers = 1", &[], &["x.toml, line 1, column 1: `readers`: is a list of tables"]);
    check("deep = 1", &[], &["x.toml, line 1, column 1: `deep`: is a table"]);
}

#[test]
fn errors_of_the_program_stand_where_the_setting_was_said() {
    let mut layers = Layers::of::<Plan>();
    layers.file("x.toml", "name = \"\"\n[deep]\ncount = 2\n[[readers]]\nkind = \"slow\"\n");
    layers.flag("--rate", "rate", "2");
    layers.variable("APP_", "APP_DEEP__LIMITS__SESSIONS", "2");
    for path in
        ["rate", "deep.limits.sessions", "wait", "readers[0].share", "readers", "deep.count[1]", "deep"]
    {
        layers.wrong(path, "is wrong");
    }
    let expected = ConfigErrors::errors(&layers.finish("plan", "look there").unwrap_err()).join("\n");
    assert_eq!(
        expected,
        "x.toml, line 2, column 2: `deep`: is wrong\n\
         x.toml, line 3, column 1: `deep.count[1]`: is wrong\n\
         x.toml, line 4, column 1: `readers[0].share`: is wrong\n\
         x.toml, line 4, column 3: `readers`: is wrong\n\
         `wait`: is wrong\n\
         APP_DEEP__LIMITS__SESSIONS: `deep.limits.sessions`: is wrong\n\
         --rate: `rate`: is wrong"
    );
    let text = layers.finish("plan", "look there").unwrap_err().to_string();
    assert!(text.starts_with("7 errors in the plan:\n  x.toml") && text.ends_with("\nlook there"), "{text}");
    assert!(layers.has("deep") && layers.has("readers[0]") && !layers.has("search"));
}

#[test]
fn a_file_with_all_defaults_can_be_read() {
    let template = tickwire_config::template::<Deep>();
    assert_eq!(template, "count = 0\n\n[limits]\n# It counts all together.\nsessions = 10\n");
    let mut layers = Layers::of::<Deep>();
    layers.file("template", &template);
    let read: Deep = layers.read();
    assert_eq!((layers.finish("template", ""), read.limits.sessions), (Ok(()), 10));
}

settings! {
    #[derive(PartialEq, serde::Serialize)]
    struct Pool {
        /// It counts all together.
        sessions: u64 = 10 => 1..=100,
        name: String = "all".to_owned(),
        wait: Duration = Duration::from_secs(1),
    }

    struct Other {
        pool: Pool = Pool { sessions: 20, wait: Duration::from_secs(5), ..Pool::default() },
    }
}

#[test]
fn a_table_has_the_defaults_of_where_it_is_declared() {
    let read = |text: &str| {
        let mut layers = Layers::of::<Other>();
        layers.file("x.toml", text);
        layers.read::<Other>().pool
    };
    let whole = Other::default().pool;
    assert_eq!(read(""), whole);
    assert_eq!(read("[pool]\n"), whole);
    assert_eq!(read("pool.name = \"few\""), Pool { name: "few".to_owned(), ..whole.clone() });
    assert_eq!(read("[pool]\nsessions = 0\nwait = \"2s\""), Pool { wait: Duration::from_secs(2), ..whole });
    let template = tickwire_config::template::<Other>();
    assert!(template.contains("\nsessions = 20\n") && template.contains("\nwait = \"5s\"\n"), "{template}");
}
