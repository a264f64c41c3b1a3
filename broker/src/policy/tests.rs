//! Who may do what: a table, and its agreement with what the parts say.

use super::*;
use crate::config::Config;

fn policy(send: &[&str], link: &[&str], may: &[&str], ask: &[&str]) -> Policy {
    let texts = |of: &[&str]| of.iter().map(ToString::to_string).collect::<Vec<_>>();
    Policy::new(&texts(send), &texts(link), &texts(may), &texts(ask)).unwrap()
}

fn find(name: &Name) -> Option<Policy> {
    Some(match name.as_str() {
        "plain" => policy(&[], &[], &[], &[]),
        "sender" => policy(&["db/*"], &[], &[], &[]),
        "pair/1" => policy(&[], &["pair/2"], &[], &[]),
        "pair/2" => policy(&[], &["pair/*"], &[], &[]),
        "lister" => policy(&[], &[], &["list"], &[]),
        "starter" => policy(&[], &[], &["start worker"], &["start builder", "memory 1 GiB", "cpu 2"]),
        "stopper" => policy(&[], &[], &["stop worker/*"], &["send db/*", "link x"]),
        "killer" => policy(&[], &[], &["kill worker/*"], &["network *.example.com:443", "read /srv", "publish a.*"]),
        "reader" => {
            let mut world = World::new(["true"]);
            (world.read, world.write) = (vec!["/srv".into()], vec!["/out:/in".into()]);
            let mut policy = Policy::of_world(&world).unwrap();
            policy.grant(7, &"publish a.*".parse().unwrap());
            policy.grant(8, &"read /granted".parse().unwrap());
            policy.grant(9, &"subscribe b".parse().unwrap());
            policy.revoke(9);
            policy
        }
        "watcher" => policy(&[], &[], &["tap worker/*"], &[]),
        "clerk" => policy(&[], &[], &["grant", "policy"], &[]),
        "admin" => policy(&["*"], &[], &["admin"], &[]),
        "judge" => Policy { role: Some(Role::Control), ..Policy::default() },
        _ => return None,
    })
}

/// Every world of the table and everything that can be commanded: who may.
#[test]
fn who_may_command_what() {
    const WORLDS: [&str; 12] = [
        "plain", "sender", "pair/1", "pair/2", "lister", "starter", "stopper", "killer", "clerk", "watcher", "admin",
        "judge",
    ];
    const TABLE: [(&str, &[&str]); 14] = [
        ("admin", &["admin", "judge"]),
        ("list", &["lister", "admin", "judge"]),
        ("grant", &["clerk", "admin", "judge"]),
        ("policy", &["clerk", "admin", "judge"]),
        ("start worker", &["starter", "admin", "judge"]),
        ("start builder", &["admin", "judge"]),
        ("stop worker/1", &["stopper", "killer", "admin", "judge"]),
        ("stop plain", &["admin", "judge"]),
        ("kill worker/1", &["killer", "admin", "judge"]),
        ("kill worker", &["admin", "judge"]),
        ("inspect worker/1", &["admin", "judge"]),
        ("inspect judge", &["admin", "judge"]),
        ("tap worker/*", &["watcher", "admin", "judge"]),
        ("tap *", &["admin", "judge"]),
    ];
    for (what, who) in TABLE {
        for world in WORLDS {
            let asked = what.parse().unwrap();
            let may = find(&world.parse().unwrap()).unwrap().command(&asked).is_ok();
            assert_eq!(may, who.contains(&world), "{world}: {what}");
        }
    }
}

#[test]
fn every_answer_names_its_line() {
    for (from, what, is_allowed, why) in [
        ("sender", "db/1", true, "`sender` may: send = [\"db/*\"]"),
        ("sender", "db", false, "`sender` may not: it takes `send = [\"db\"]`"),
        ("sender", "sender", false, "`sender` may not: no world sends to itself"),
        ("plain", "strait.control", true, "`plain` may: everybody may send to it"),
        ("pair/1", "pair/2", true, "`pair/1` may: link = [\"pair/2\"] here and link = [\"pair/*\"] there"),
        ("pair/2", "pair/3", false, "`pair/2` may not: it takes `send = [\"pair/3\"]`"),
        ("pair/2", "link pair/3", false, "`pair/2` may not: it takes `link = [\"pair/2\"]` of `pair/3`"),
        ("stopper", "db/1", false, "`stopper` may not: it takes `send = [\"db/1\"]`, or a grant, which it may ask for"),
        ("stopper", "link x", false, "`stopper` may not: it takes `link = [\"x\"]`, or a grant, which it may ask for"),
        ("starter", "start worker", true, "`starter` may: may = [\"start worker\"]"),
        ("starter", "memory 1 GiB", false, "`starter` may not: it takes a grant, which it may ask for"),
        ("starter", "memory 2 GiB", false, "`starter` may not: it takes `ask = [\"memory 2 GiB\"]`"),
        ("judge", "send admin", false, "`judge` may not: it takes `send = [\"admin\"]`"),
        ("judge", "admin", true, "`judge` may: role = \"control\""),
        ("plain", "list", false, "`plain` may not: it takes `may = [\"list\"]`"),
        ("reader", "read /srv/x", true, "`reader` may: read = [\"/srv\"]"),
        ("reader", "write /srv/x", false, "`reader` may not: it takes `write = [\"/srv/x\"]`"),
        ("reader", "read /out/x:/in/x", true, "`reader` may: write = [\"/out:/in\"]"),
        ("reader", "read /out", false, "`reader` may not: it takes `read = [\"/out\"]`"),
        ("reader", "publish a.b", true, "`reader` may: grant 7: publish a.*"),
        ("reader", "read /granted/x", true, "`reader` may: grant 8: read /granted"),
        (
            "killer",
            "read /srv/x",
            false,
            "`killer` may not: it takes `read = [\"/srv/x\"]`, or a grant, which it may ask for",
        ),
        (
            "killer",
            "publish a.b",
            false,
            "`killer` may not: it takes `publish = [\"a.b\"]`, or a grant, which it may ask for",
        ),
        ("killer", "subscribe a.>", false, "`killer` may not: it takes `subscribe = [\"a.>\"]`"),
        ("judge", "kill plain", true, "`judge` may: role = \"control\""),
        ("admin", "stop plain", true, "`admin` may: may = [\"admin\"]"),
    ] {
        assert_eq!(judge(from, what, find), Ok(Judgement { is_allowed, why: why.into() }), "{from} {what}");
    }
    assert!(judge("nobody", "db", find).is_err());
    assert!(
        judge("plain", "fly away", find)
            .unwrap_err()
            .starts_with("`fly away` can't be asked for: there are `send NAME`")
    );
}

#[test]
fn one_may_ask_for_what_a_line_covers() {
    let may = |line: &str, asked: &str| policy(&[], &[], &[], &[line]).ask(&asked.parse().unwrap()).is_ok();
    for (line, asked) in [
        ("send db/*", "send db/1"),
        ("send db/*", "send db/a*"),
        ("link x", "link x"),
        ("memory 2 GiB", "memory 1G"),
        ("cpu 1", "cpu 0.5"),
        ("network api.example.com:443", "network API.example.com:443"),
        ("network *.example.com:*", "network a.b.example.com:80"),
        ("read /srv", "read /srv/x"),
        ("write /srv:/data", "read /srv/x:/data/x"),
        ("stop worker/*", "stop worker/1"),
        ("kill worker/*", "stop worker/1"),
        ("publish a.>", "publish a.*"),
        ("subscribe a.*", "subscribe a.b"),
    ] {
        assert!(may(line, asked), "{line} covers {asked}");
    }
    for (line, asked) in [
        ("send db/*", "link db/1"),
        ("send db/*", "send *"),
        ("send *", "send strait.*"),
        ("memory 2 GiB", "memory 3 GiB"),
        ("memory 2 GiB", "cpu 1"),
        ("cpu 1", "cpu 1.5"),
        ("network *.example.com:443", "network example.com:443"),
        ("network *.example.com:443", "network a.example.com:80"),
        ("network example.com:443", "network example.com:*"),
        ("read /srv", "read /srvx"),
        ("read /srv", "write /srv/x"),
        ("read /srv", "read /srv/x:/usr"),
        ("start worker", "start builder"),
        ("publish a.*", "publish a.>"),
        ("publish a", "subscribe a"),
        ("subscribe >", "subscribe strait.worlds.>"),
    ] {
        assert!(!may(line, asked), "{line} doesn't cover {asked}");
    }
    for wrong in [
        "admin",
        "",
        "fly",
        "send",
        "send a b",
        "memory much",
        "cpu 0",
        "network x",
        "network :1",
        "read x",
        "read /srv/../etc",
        "publish strait.worlds.ended.a",
        "publish a..b",
    ] {
        assert!(wrong.parse::<Resource>().is_err(), "{wrong}");
    }
    assert!(format!("send {}", "x".repeat(600)).parse::<Resource>().is_err());
}

#[test]
fn a_line_reads_as_it_was_written() {
    let lines = policy(&["db/*"], &["x"], &["start worker"], &["memory 1 GiB"]).lines();
    let expected = ["send = [\"db/*\"]", "link = [\"x\"]", "may = [\"start worker\"]", "ask = [\"memory 1 GiB\"]"];
    assert_eq!(lines, expected);
    for text in Permission::FORMS {
        assert_eq!(text.parse::<Permission>().unwrap().to_string(), text);
    }
    for text in [
        "send a*",
        "link a",
        "memory 5",
        "memory 2 GiB",
        "cpu 0.5",
        "network a:1",
        "network *.a:*",
        "read /a:/b",
        "write /a",
        "publish a.*",
        "subscribe a.>",
        "list",
    ] {
        assert_eq!(text.parse::<Resource>().unwrap().to_string(), text);
    }
}

#[test]
fn a_configuration_knows_the_policy_of_who_isnt_there() {
    let mut worker = World::new(["true"]);
    worker.send = vec!["db".into()];
    let rule = AttachRule {
        name: "cli/*".into(),
        uid: 0,
        send: vec!["*".into()],
        link: vec![],
        may: vec![],
        ask: vec![],
        publish: vec![],
        subscribe: vec![],
    };
    let config = Config { templates: [("worker".into(), worker)].into(), attach: vec![rule], ..Config::default() };
    let lines = |name: &str| config.policy_of(&name.parse().unwrap()).map(|policy| policy.lines());
    assert_eq!(lines("worker"), Some(vec!["send = [\"db\"]".into()]));
    assert_eq!(lines("worker/7"), lines("worker"));
    assert_eq!(lines("cli/1"), Some(vec!["send = [\"*\"]".into()]));
    assert_eq!(lines("other"), None);
}
