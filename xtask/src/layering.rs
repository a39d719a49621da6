//! Who may depend on whom, and where what only some may do is done.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace;

/// The arrows: a crate, and those that it may know.
const ARROWS: &[(&str, &[&str])] = &[
    ("reflayer-reflink", &[]),
    ("reflayer-storage-core", &[]),
    ("reflayer-config", &[]),
    ("reflayer-tree", &["reflayer-storage-core"]),
    ("reflayer-tarball", &["reflayer-storage-core"]),
    (
        "reflayer-chunked",
        &["reflayer-reflink", "reflayer-storage-core", "reflayer-tarball", "reflayer-tree"],
    ),
    ("reflayer-overlay-driver", &["reflayer-storage-core"]),
    ("reflayer-transport", &["reflayer-storage-core"]),
    (
        "reflayer",
        &[
            "reflayer-chunked",
            "reflayer-config",
            "reflayer-overlay-driver",
            "reflayer-reflink",
            "reflayer-storage-core",
            "reflayer-tarball",
            "reflayer-transport",
            "reflayer-tree",
        ],
    ),
    // `cli` takes types of the crates below from `reflayer`; these three it configures itself.
    (
        "reflayer-cli",
        &["reflayer", "reflayer-config", "reflayer-storage-core", "reflayer-transport"],
    ),
    // The judge shares no code with the judged.
    ("reflayer-testkit", &[]),
    ("reflayer-tests", &["reflayer-testkit"]),
    // Images of a million files are written without the files.
    ("xtask", &["reflayer-chunked", "reflayer-testkit"]),
];

/// What tests and examples may know besides.
const FOR_TESTS: &str = "reflayer-testkit";

/// A word that may stand in the sources of some crates or files only.
struct Privilege {
    word: &'static str,
    reason: &'static str,
    holders: fn(&Path) -> bool,
}

const PRIVILEGES: &[Privilege] = &[
    Privilege {
        word: "(unsafe_code",
        reason: "unsafe code stands in modules called `sys`",
        holders: |file| file.ends_with("sys.rs") || file.iter().any(|part| part == "sys"),
    },
    Privilege {
        word: "FICLONE",
        reason: "only `reflink` issues clone ioctls",
        holders: |file| in_crate(file, "reflink") || in_crate(file, "testkit"),
    },
    Privilege {
        word: "env::var",
        reason: "only `config` reads environment variables",
        holders: |file| {
            ["config", "testkit"].into_iter().any(|name| in_crate(file, name))
                || file.components().any(|part| part.as_os_str() == "tests")
                || file.ends_with("tests.rs")
        },
    },
];

pub(crate) fn run() -> Result<()> {
    let metadata = workspace::metadata(&workspace::shell()?)?;
    let mut wrong = wrong_arrows(&metadata)?;
    wrong.extend(misused_privileges(&workspace::root().join("crates"))?);
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("the layering does not hold:\n  {}", wrong.join("\n  "))
}

fn wrong_arrows(metadata: &Value) -> Result<Vec<String>> {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let packages = metadata["packages"].as_array().context("no packages")?;
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("a package without a name")?;
        let Some(known) = allowed.get(name) else {
            wrong.push(format!("{name} has no place among the arrows"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().context("a dependency without a name")?;
            let for_tests = dependency["kind"] == "dev" && to == FOR_TESTS;
            if allowed.contains_key(to) && !known.contains(&to) && !for_tests {
                wrong.push(format!("{name} must not know {to}"));
            }
        }
    }
    Ok(wrong)
}

fn misused_privileges(crates: &Path) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for file in sources(crates)? {
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        for privilege in PRIVILEGES {
            if text.contains(privilege.word) && !(privilege.holders)(&file) {
                let file = file.strip_prefix(crates).unwrap_or(&file).display();
                wrong.push(format!("{file} says `{}`: {}", privilege.word, privilege.reason));
            }
        }
    }
    Ok(wrong)
}

fn in_crate(file: &Path, name: &str) -> bool {
    file.starts_with(workspace::root().join("crates").join(name))
}

fn sources(top: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut todo = vec![top.to_owned()];
    while let Some(directory) = todo.pop() {
        let list = directory.read_dir();
        for entry in list.with_context(|| format!("list {}", directory.display()))? {
            let path = entry.context("list a directory")?.path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{run, wrong_arrows};

    #[test]
    fn arrows_that_point_up_or_sideways_are_found() {
        let package = |name: &str, to: &str, kind: Option<&str>| json!({"packages": [{"name": name, "dependencies": [{"name": to, "kind": kind}]}]});
        let wrong = |name, to, kind| wrong_arrows(&package(name, to, kind)).expect("understood");
        assert!(wrong("reflayer-chunked", "reflayer-tree", None).is_empty());
        assert!(wrong("reflayer-chunked", "serde", None).is_empty());
        assert!(wrong("reflayer-chunked", "reflayer-testkit", Some("dev")).is_empty());
        assert_eq!(wrong("reflayer-chunked", "reflayer-transport", None).len(), 1);
        assert_eq!(wrong("reflayer-chunked", "reflayer-transport", Some("dev")).len(), 1);
        assert_eq!(wrong("reflayer-chunked", "reflayer-testkit", None).len(), 1);
        assert_eq!(wrong("reflayer-new", "serde", None).len(), 1);
    }

    #[test]
    fn the_workspace_is_layered() {
        run().expect("the layering holds");
    }
}
