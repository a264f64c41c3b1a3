//! Mistakes are named, and found at their line and column.

use super::*;

/// The first mistake as its line, column, message and hint.
fn mistake(text: &str) -> (usize, usize, String, String) {
    let mistake = parse(text).expect_err("a mistake");
    let before = &text[..mistake.span.start];
    let line = before.matches('\n').count() + 1;
    let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
    (line, column, mistake.message, mistake.hint.unwrap_or_default())
}

/// `[worlds.a]` with `rest` from line 3 on.
fn world(rest: &str) -> (usize, usize, String, String) {
    mistake(&format!("[worlds.a]\ncommand = [\"true\"]\n{rest}\n"))
}

#[test]
fn a_file_becomes_a_plan() {
    let plan = parse(
        r#"
        socket = "/run/x.sock"
        uids = { first = 2000, count = 10 }
        state = "/srv/states"
        state_bytes = "1 GiB"
        [[attach]]
        name = "cli/*"
        uid = 1000
        may = ["start worker", "list"]
        [templates.worker]
        command = ["worker"]
        [worlds.zebra]
        command = ["z"]
        stdio = "inherit"
        limits = { files = 7 }
        [worlds.ant]
        command = ["a"]
        may = ["start worker"]
        "#,
    )
    .unwrap();
    assert_eq!(plan.config.socket.as_deref(), Some(Path::new("/run/x.sock")));
    assert_eq!(plan.config.uids.first, 2000);
    assert_eq!((plan.config.state, plan.config.state_bytes), (Some("/srv/states".into()), 1 << 30));
    assert_eq!(plan.config.attach[0].name, "cli/*");
    let names: Vec<&str> = plan.worlds.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["zebra", "ant"]);
    assert_eq!(plan.worlds[0].1.limits.files, Some(7));
}

#[test]
fn start_gives_the_order_and_leaves_out_the_rest() {
    let text = "start = [\"b\", \"a\"]\n[worlds]\na.command = [\"x\"]\nc.command = [\"x\"]\nb.command = [\"x\"]\n";
    let plan = parse(text).unwrap();
    let names: Vec<&str> = plan.worlds.iter().map(|(name, _)| &**name).collect();
    assert_eq!((names, plan.idle), (vec!["b", "a"], vec!["c".to_owned()]));
}

#[test]
fn an_unknown_key_has_a_nearest_one() {
    let (line, column, message, hint) = mistake("socket = \"/x\"\n[worlds.a]\ncomand = [\"true\"]\n");
    assert_eq!((line, column, &*message), (3, 1, "unknown key `comand`"));
    assert!(hint.starts_with("did you mean `command`? (there are: command, env, dir, "), "{hint}");
    let (line, column, message, hint) = world("[worlds.a.limits]\nfile = 3");
    assert_eq!((line, column, &*message), (4, 1, "unknown key `file`"));
    assert!(hint.starts_with("did you mean `files`?"), "{hint}");
    let (line, column, message, hint) = mistake("\n[world.a]\ncommand = [\"true\"]\n");
    assert_eq!((line, column, &*message), (2, 2, "unknown key `world`"));
    assert!(hint.starts_with("did you mean `worlds`?"), "{hint}");
}

#[test]
fn a_limit_outside_of_limits_is_told_where_it_belongs() {
    let (line, column, message, hint) = world("memory = \"1M\"");
    assert_eq!((line, column, &*message), (3, 1, "unknown key `memory`"));
    assert_eq!(hint, "`memory` is a limit: limits = { memory = ... }");
    let (.., message, hint) = mistake("[worlds.a]\ncommand = \"sleep 1\"\n");
    assert_eq!(message, "invalid type: string \"sleep 1\", expected a sequence");
    assert_eq!(hint, "a list is written in brackets: [\"one\", \"two\"]");
}

#[test]
fn unknown_and_mistyped_values_are_found() {
    let (line, column, message, hint) = world("stdio = \"inherited\"");
    assert_eq!((line, column, &*message), (3, 9, "unknown value `inherited`"));
    assert!(hint.starts_with("did you mean `inherit`?"), "{hint}");
    let (line, column, message, _) = world("grace = true");
    assert_eq!((line, column, &*message), (3, 9, "invalid type: boolean `true`, expected a time such as \"30s\""));
    let (line, column, message, _) = world("grace = -1");
    assert_eq!((line, column), (3, 9), "{message}");
}

#[test]
fn what_has_another_form_is_told_how_it_is_written() {
    for (text, hint) in [
        ("limits = 3", "a table is written {"),
        ("env = [\"A=b\"]", "a table is written {"),
        ("wake = true", "a text is written in quotes"),
        ("system = \"no\"", "write true or false"),
        ("snapshots = -1", "write a whole number"),
        ("read = \"/a\"", "a list is written in brackets"),
        ("command = [\"x\"]", "it stands above already"),
        ("[attach]\nname = \"x\"", "a head in two brackets"),
    ] {
        let (.., told) = world(text);
        assert!(told.contains(hint), "{text}: {told}");
    }
}

#[test]
fn quantities_are_read_as_people_write_them() {
    let text = "[worlds.a]\ncommand = [\"x\"]\nslice = \"1 MiB\"\ngrace = \"2s\"\nlimits = { memory = \"64 MiB\", cpu = 0.5, time = \"1m\", tmp = 4096, pids = 9 }\n";
    let plan = parse(text).unwrap();
    let World { slice, grace_ms, limits, .. } = plan.worlds[0].1;
    assert_eq!((slice, grace_ms, limits.pids), (1 << 20, 2000, Some(9)));
    assert_eq!((limits.memory, limits.cpu), (Some(64 << 20), Some(500)));
    assert_eq!((limits.time_ms, limits.tmp), (Some(60_000), Some(4096)));
    let (line, column, message, _) = world("[worlds.a.limits]\nmemory = \"64 MB\"");
    assert_eq!((line, column), (4, 10), "{message}");
    assert!(message.starts_with("`MB` is no unit of size"), "{message}");
    let (line, column, message, _) = world("[worlds.a.limits]\ntime = 30");
    assert_eq!((line, column, &*message), (4, 8, "a time needs a unit: 30ms, 30s, 30m or 30h"));
    let (line, column, message, _) = world("limits = { pids = 1 }");
    assert_eq!((line, column, &*message), (3, 19, "`pids`: at least 2 is needed"));
    let (line, column, message, hint) = world("[worlds.a.limits]\nmemroy = 5");
    assert_eq!((line, column, &*message), (4, 1, "unknown key `memroy`"));
    assert!(hint.starts_with("did you mean `memory`?"), "{hint}");
}

#[test]
fn a_missing_key_is_found_at_its_table() {
    let (line, _, message, _) = mistake("\n[worlds.a]\nread = []\n");
    assert_eq!((line, &*message), (2, "`command` is missing here"));
    let (line, _, message, _) = mistake("\n[[attach]]\nname = \"x\"\n");
    assert_eq!((line, &*message), (2, "`uid` is missing here"));
}

#[test]
fn bad_toml_is_found() {
    let (line, _, message, _) = mistake("[worlds.a]\ncommand = [\"true\"\n[worlds.b]\n");
    assert!(line >= 2 && !message.is_empty(), "{line} {message}");
    let (line, _, message, _) = mistake("[worlds.a]\ncommand = [\"x\"]\n[worlds.a]\n");
    assert_eq!(line, 3, "{message}");
    let (line, _, message, _) = mistake("start = [\"a");
    assert_eq!(line, 1, "{message}");
}

#[test]
fn what_the_broker_refuses_is_found_at_its_key() {
    let (line, column, message, _) = mistake("[worlds.a]\nenv = { A = \"b\" }\ncommand = []\n");
    assert!(message.starts_with("`command` is empty"), "{message}");
    assert_eq!((line, column), (3, 1));
    let (line, column, message, _) = world("env = {}\nslice = 1000");
    assert!(message.starts_with("`slice`: ") && message.contains("1000"), "{message}");
    assert_eq!((line, column), (4, 9));
    let (line, column, message, _) = world("send = [\n  \"b\",\n  \"c*d\",\n]");
    assert_eq!((line, column, &*message), (5, 3, "`c*d`: a pattern can have one `*`, at its end"));
    let (line, column, message, _) = world("publish = [\n  \"b\",\n  \"c..d\",\n]");
    assert_eq!((line, column, &*message), (5, 3, "`c..d`: a topic has something on both sides of each dot"));
    let (line, column, message, _) = world("grace = \"1s\"\nidle = \"3s\"");
    assert_eq!((line, column), (4, 1), "{message}");
    let (line, column, message, _) = world("read = [\"/a:/../b\"]");
    assert_eq!((line, column), (3, 9), "{message}");
    let (line, column, message, _) = mistake("state = \"x\"\n");
    assert_eq!((line, column, &*message), (1, 9, "`state`: x isn't absolute"));
    let (line, column, message, _) = world("read = [\"/a\"]\nwrite = [\"/b\", \"c\"]");
    assert_eq!(
        (line, column, &*message),
        (4, 16, "`c`: a granted path is absolute, without `..` inside: `/path` or `/path:/inside`")
    );
}

#[test]
fn more_patterns_than_the_switch_can_be_told_of_are_found() {
    let names: Vec<String> = (0..3000).map(|n| format!("\"peer-number-{n}\"")).collect();
    let (line, column, message, _) = world(&format!("link = [\"x\"]\nsend = [{}]", names.join(", ")));
    assert_eq!((line, column), (4, 1), "{message}");
    assert!(message.starts_with("`send`: `send` and `link` have ") && message.contains("32768"), "{message}");
    let rule = format!("[[attach]]\nname = \"x\"\nuid = 0\nlink = [{}]\n", names.join(", "));
    let (line, _, message, _) = mistake(&rule);
    assert_eq!(line, 4, "{message}");
}

#[test]
fn profiles_are_found() {
    let (line, column, message, hint) = world("profile = \"strickt\"");
    assert_eq!((line, column, &*message), (3, 11, "unknown value `strickt`"));
    assert!(hint.starts_with("did you mean `strict`?"), "{hint}");
    let (line, column, message, hint) = world("allow_syscalls = [\"inotify_init1\", \"opneat\"]");
    assert_eq!((line, column, &*message), (3, 36, "`opneat` is no system call of this machine"));
    assert_eq!(hint, "did you mean `openat`?");
    let (line, _, message, _) = world("deny_syscalls = [\"execve\"]");
    assert!(line == 3 && message.starts_with("`execve` can't be denied"), "{message}");
}

#[test]
fn permissions_are_found_and_mended() {
    let (line, column, message, hint) = world("may = [\"list\", \"inspekt a\"]");
    assert_eq!((line, column), (3, 16));
    assert!(message.starts_with("`inspekt a` is no permission"), "{message}");
    assert!(hint.starts_with("did you mean `inspect NAME`?"), "{hint}");
    let text = "[templates.worker]\ncommand = [\"w\"]\n[worlds.a]\ncommand = [\"x\"]\nmay = [\"start wroker\"]\n";
    let (line, column, message, hint) = mistake(text);
    assert_eq!((line, column), (5, 8));
    assert_eq!(message, "`start wroker`: there is no template `wroker` in [templates]");
    assert!(hint.starts_with("did you mean `worker`?"), "{hint}");
    let (line, column, message, _) =
        mistake("[[attach]]\nname = \"a\"\nuid = 0\n[[attach]]\nname = \"b c\"\nuid = 0\n");
    assert_eq!((line, column), (5, 8), "{message}");
}

#[test]
fn places_in_the_network_are_checked() {
    let (line, column, message, _) =
        mistake("[worlds.a]\ncommand = [\"x\"]\nnetwork = [\"a.example:443\", \"127.1:80\"]\n");
    assert!(message.contains("`127.1` is no host"), "{message}");
    assert_eq!((line, column), (3, 29));
    let (line, _, message, _) =
        mistake("[worlds.a]\ncommand = [\"x\"]\nallow_syscalls = [\"connect\"]\nnetwork = [\"a.example:443\"]\n");
    assert!(message.contains("could connect them anew"), "{message}");
    assert_eq!(line, 3);
}

#[test]
fn names_are_checked() {
    let (line, column, message, _) =
        mistake("[worlds.ok]\ncommand=[\"x\"]\n[worlds.\"strait.gate\"]\ncommand = [\"x\"]\n");
    assert!(message.contains("belong to the system"), "{message}");
    assert_eq!((line, column), (3, 9));
    let (line, _, message, _) = mistake("[worlds.\"a b\"]\ncommand = [\"x\"]\n");
    assert!(message.starts_with("`a b`: "), "{message}");
    assert_eq!(line, 1);
    let (_, _, message, _) = mistake("[worlds.host]\ncommand = [\"x\"]\n");
    assert!(message.starts_with("`host` is the name of"), "{message}");
}

#[test]
fn start_names_worlds() {
    let (line, column, message, hint) =
        mistake("start = [\"a\", \"greter\"]\n[worlds]\na.command = [\"x\"]\ngreeter.command = [\"x\"]\n");
    assert_eq!((line, column), (1, 15));
    assert_eq!(message, "`start` names the world `greter`, which isn't in [worlds]");
    assert!(hint.starts_with("did you mean `greeter`?"), "{hint}");
    let (line, column, message, _) = mistake("start = [\"a\", \"a\"]\n[worlds]\na.command = [\"x\"]\n");
    assert_eq!((line, column, &*message), (1, 15, "`start` names the world `a` twice"));
}

#[test]
fn other_places_are_checked() {
    let (line, column, message, _) = mistake("\nsocket = \"x.sock\"\n");
    assert_eq!((line, column, &*message), (2, 10, "`socket`: x.sock isn't absolute"));
    let (line, column, message, _) = mistake("\n[uids]\nfirst = 0\ncount = 1\n");
    assert_eq!((line, column), (2, 2), "{message}");
}

#[test]
fn the_example_is_right() {
    let plan = parse(include_str!("../../../examples/two-worlds.toml")).unwrap();
    assert_eq!(plan.worlds.len(), 2);
}

#[test]
fn groups_are_read_and_their_mistakes_found() {
    let group = |rest: &str| format!("[templates.worker]\ncommand = [\"w\"]\n[groups.pool]\n{rest}\n");
    let plan = parse(&group("template = \"worker\"\nmax = 8\nidle = \"5s\"")).unwrap();
    let pool = &plan.config.groups["pool"];
    assert_eq!((pool.min, pool.max, pool.idle_ms, pool.outstanding), (0, 8, 5000, 1));
    assert_eq!(plan.world("pool/7").map(|world| &world.command[..]), Some(&["w".to_owned()][..]));
    let (line, column, message, hint) = mistake(&group("template = \"wroker\""));
    assert_eq!((line, column), (4, 12));
    assert_eq!(message, "`template`: there is no template `wroker` (there are: worker)");
    assert!(hint.contains("worker"), "{hint}");
    let (line, _, message, _) = mistake(&group("template = \"worker\"\nmin = 9"));
    assert_eq!((line, &message[..]), (5, "`min`: 9 is more than `max`, 4"));
    let (line, _, message, _) = mistake(&group("template = \"worker\"\nmembers = \"worker\""));
    assert_eq!((line, &message[..]), (5, "`members`: `worker` isn't the beginning of names, such as `pool/*`"));
}

#[test]
fn what_may_be_asked_for_is_read_where_it_stands() {
    let world = |rest: &str| format!("[worlds.a]\ncommand = [\"x\"]\n{rest}\n");
    let plan = parse(&world("ask = [\"send db/*\", \"memory 2 GiB\"]\nrole = \"control\"")).unwrap();
    assert_eq!(plan.worlds[0].1.ask, ["send db/*", "memory 2 GiB"]);
    let (line, column, message, _) = mistake(&world("ask = [\"send db\", \"fly away\"]"));
    assert_eq!((line, column), (3, 19));
    assert!(message.starts_with("`fly away` can't be asked for: there are `send NAME`"), "{message}");
    let (line, _, message, hint) = mistake(&world("role = \"king\""));
    assert_eq!((line, &*message, &*hint), (3, "unknown value `king`", "there are: control"));
}
