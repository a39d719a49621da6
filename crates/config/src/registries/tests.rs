use super::*;

fn parse(text: &str) -> Result<RegistriesConfig, String> {
    let mut config = RegistriesConfig::default();
    config.overlay(toml::from_str::<file::File>(text).map_err(|e| e.to_string())?.check()?);
    Ok(config)
}

fn config(text: &str) -> RegistriesConfig {
    parse(text).unwrap()
}

/// Places in their order, insecure ones with a `!`; or the prefix that is blocked.
fn places(config: &RegistriesConfig, reference: &str) -> String {
    match config.endpoints(reference) {
        Err(blocked) => format!("blocked {}", blocked.prefix),
        Ok(places) => {
            let shown = |e: Endpoint| if e.insecure { e.location + "!" } else { e.location };
            places.into_iter().map(shown).collect::<Vec<_>>().join(" ")
        }
    }
}

/// The answers are those that podman 5.8.6 gave: `podman pull` named the place that it
/// asked, or the prefix that was blocked.
#[test]
fn a_table_is_chosen_as_podman_chooses() {
    let config = config(
        "[[registry]]\nprefix=\"*.bad.example\"\nblocked=true\n\
         [[registry]]\nlocation=\"a.bad.example\"\n\
         [[registry]]\nprefix=\"b.bad.example/team\"\nlocation=\"127.0.0.1:4/x\"\n",
    );
    for (reference, answer) in [
        ("x.bad.example/a:latest", "blocked *.bad.example"),
        ("x.bad.example:5000/a:latest", "blocked *.bad.example"),
        ("a.bad.example/a:latest", "blocked *.bad.example"),
        ("y.x.bad.example/a@sha256:11", "blocked *.bad.example"),
        ("b.bad.example/team/a:latest", "127.0.0.1:4/x/a"),
        ("xbad.example/a:latest", "xbad.example/a"),
    ] {
        assert_eq!(places(&config, reference), answer, "{reference}");
    }
}

/// The order of places is that of podman's message when all of them had failed.
#[test]
fn mirrors_are_for_the_pulls_that_they_say() {
    let config = config(
        "[[registry]]\nlocation=\"127.0.0.1:4\"\n\
         [[registry.mirror]]\nlocation=\"127.0.0.1:5/m\"\npull-from-mirror=\"digest-only\"\n\
         [[registry.mirror]]\nlocation=\"127.0.0.1:6\"\npull-from-mirror=\"tag-only\"\n\
         [[registry.mirror]]\nlocation=\"127.0.0.1:7\"\ninsecure=true\n",
    );
    let by_digest = "127.0.0.1:5/m/a/b 127.0.0.1:7/a/b! 127.0.0.1:4/a/b";
    for (reference, answer) in [
        ("127.0.0.1:4/a/b:v1", "127.0.0.1:6/a/b 127.0.0.1:7/a/b! 127.0.0.1:4/a/b"),
        ("127.0.0.1:4/a/b@sha256:11", by_digest),
        ("127.0.0.1:4/a/b:v1@sha256:11", by_digest),
    ] {
        assert_eq!(places(&config, reference), answer, "{reference}");
    }
    let by_digest_only = self::config(
        "[[registry]]\nlocation=\"r.example\"\nmirror-by-digest-only=true\n\
         [[registry.mirror]]\nlocation=\"m.example\"\n",
    );
    assert_eq!(places(&by_digest_only, "r.example/a:v1"), "r.example/a");
    assert_eq!(places(&by_digest_only, "r.example/a@sha256:11"), "m.example/a r.example/a");
}

#[test]
fn the_longest_prefix_decides() {
    let config = config(
        "[[registry]]\nlocation = \"a.example\"\ninsecure = true\n\
         [[registry]]\nprefix = \"a.example/team\"\nlocation = \"b.example/x\"\n\
         [[registry.mirror]]\nlocation = \"m.example:5000\"\ninsecure = true\n\
         [[registry]]\nprefix = \"*.plain.example\"\ninsecure = true\n",
    );
    for (reference, answer) in [
        ("a.example/app", "a.example/app!"),
        ("a.example/team/app", "m.example:5000/app! b.example/x/app"),
        ("a.example/teams/app", "a.example/teams/app!"),
        ("a.example.org/app", "a.example.org/app"),
        ("x.plain.example:80/app:v1", "x.plain.example:80/app!"),
        ("other.example/x.plain.example/app", "other.example/x.plain.example/app"),
    ] {
        assert_eq!(places(&config, reference), answer, "{reference}");
    }
}

/// In one file the first table of a prefix counts, in several files the last one.
#[test]
fn tables_of_one_prefix_hide_each_other() {
    let text = "[[registry]]\nlocation=\"a.example\"\nblocked=true\n\
                [[registry]]\nlocation=\"b.example\"\nprefix=\"a.example\"\n";
    let mut merged = config(text);
    assert_eq!(places(&merged, "a.example/app"), "blocked a.example");
    let later: file::File = toml::from_str("[[registry]]\nlocation=\"a.example\"\n").unwrap();
    merged.overlay(later.check().unwrap());
    assert_eq!(places(&merged, "a.example/app"), "a.example/app");
}

#[test]
fn the_first_format_is_understood() {
    let config = config(
        "[registries.search]\nregistries=[\"s.example\"]\n\
         [registries.block]\nregistries=[\"b.example\"]\n\
         [registries.insecure]\nregistries=[\"i.example/\"]\n",
    );
    assert_eq!(places(&config, "b.example/a"), "blocked b.example");
    assert_eq!(places(&config, "i.example/a"), "i.example/a!");
    assert_eq!(config.complete("app:v1").unwrap(), ["s.example/app:v1"]);
}

/// podman 5.8.6 stops at each of these.
#[test]
fn contradictions_are_refused() {
    for text in [
        "[[registry]]\nprefix=\"a.b\"\n",
        "[[registry]]\nblocked=true\n",
        "[[registry]]\nlocation=\"http://a.b\"\n",
        "[[registry]]\nlocation=\"a.b\"\npull-from-mirror=\"all\"\n",
        "[[registry]]\nlocation=\"a.b\"\nmirror-by-digest-only=true\n\
         [[registry.mirror]]\nlocation=\"c.d\"\npull-from-mirror=\"all\"\n",
        "[[registry]]\nlocation=\"a.b\"\n[[registry.mirror]]\npull-from-mirror=\"all\"\n",
        "[[registry]]\nlocation=\"a.b\"\n[[registry.mirror]]\nlocation=\"c\"\npull-from-mirror=\"x\"\n",
        "[[registry]]\nprefix=\"*.a.b/c\"\n",
        "short-name-mode=\"bogus\"\n",
        "[aliases]\n\"a.b/c\"=\"d.e/f\"\n",
        "[aliases]\n\"c\"=\"f\"\n",
        "[aliases]\n\"c\"=\"d.e/f:v1\"\n",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

/// What `podman pull` tried, or said, without a terminal.
#[test]
fn short_names_are_completed_as_podman_does() {
    let two = "unqualified-search-registries=[\"127.0.0.1:1\", \"127.0.0.1:2\"]\n";
    let one = "unqualified-search-registries=[\"127.0.0.1:1\"]\n";
    let alias = "[aliases]\n\"foo/bar\"=\"127.0.0.1:3/al/ias\"\n";
    let mode = |mode: &str| format!("short-name-mode=\"{mode}\"\n");
    for (text, answer) in [
        (two.to_owned(), "127.0.0.1:1/foo/bar:v3 127.0.0.1:2/foo/bar:v3"),
        (mode("disabled") + two, "127.0.0.1:1/foo/bar:v3 127.0.0.1:2/foo/bar:v3"),
        (mode("enforcing") + one, "127.0.0.1:1/foo/bar:v3"),
        (mode("disabled") + two + alias, "127.0.0.1:3/al/ias:v3"),
        (mode("enforcing") + two + alias, "127.0.0.1:3/al/ias:v3"),
    ] {
        assert_eq!(config(&text).complete("foo/bar:v3").unwrap().join(" "), answer, "{text}");
    }
    let refused = config(&(mode("enforcing") + two)).complete("foo/bar").unwrap_err();
    assert!(matches!(refused, ShortNameError::Choice { .. }), "{refused}");
    let nowhere = config("").complete("foo/bar").unwrap_err();
    assert!(matches!(nowhere, ShortNameError::Nowhere { .. }), "{nowhere}");
    for full in ["localhost/a", "a.b/c:v1", "h:5000/a@sha256:11"] {
        assert_eq!(config(two).complete(full).unwrap(), [full]);
    }
}

/// Steps whose outcome podman 5.8.6 showed in the same places, with `/root` as home.
#[test]
fn files_go_on_top_of_each_other_as_in_podman() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let environment =
        Environment::for_tests(home.to_str().unwrap(), 0).with_system_root(dir.path());
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let expect = |environment: &Environment, answer: &str| {
        let config = RegistriesConfig::load(environment).unwrap();
        assert_eq!(places(&config, "127.0.0.1:4/a/b:v1"), answer);
    };
    let blocked = "[[registry]]\nlocation=\"127.0.0.1:4\"\nblocked=true\n";
    write("usr/share/containers/registries.conf", blocked);
    expect(&environment, "127.0.0.1:4/a/b");
    write("etc/containers/registries.conf.d/50.conf", blocked);
    expect(&environment, "blocked 127.0.0.1:4");
    write(
        "home/.config/containers/registries.conf.d/40.conf",
        "[[registry]]\nlocation=\"127.0.0.1:4\"\nblocked=false\n",
    );
    expect(&environment, "127.0.0.1:4/a/b");
    let elsewhere =
        |port| format!("[[registry]]\nlocation=\"127.0.0.1:{port}\"\nprefix=\"127.0.0.1:4\"\n");
    write("home/.config/containers/registries.conf.d/50.conf", &elsewhere(9));
    expect(&environment, "127.0.0.1:9/a/b");
    std::fs::remove_dir_all(home.join(".config/containers/registries.conf.d")).unwrap();
    write("home/.config/containers/registries.conf", &elsewhere(8));
    expect(&environment, "127.0.0.1:8/a/b");
    write("named.conf", &elsewhere(7));
    let named = |name: &str| {
        let path = dir.path().join(name);
        environment.clone().with("CONTAINERS_REGISTRIES_CONF", path.to_str().unwrap())
    };
    // The drop-ins of /etc go on top of a file that a variable names.
    expect(&named("named.conf"), "blocked 127.0.0.1:4");
    assert!(RegistriesConfig::load(&named("missing.conf")).is_err());
}
