//! Where reflayer and the tools of others share one store: root's, or an ordinary user's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use libtest_mimic::Trial;
use serde_json::Value;
use testkit::fs_role::Filesystem;
use testkit::judge;
use testkit::peer::user::User;
use testkit::peer::{Compression, Podman, Sid};

use crate::built::Built;
use crate::needs::on;
use crate::small;
use crate::store::Store;
use crate::world;

/// One scenario by root and by an ordinary user, on two filesystems.
pub(crate) fn trials(title: &str, scenario: fn(&Seat) -> Result<()>) -> Vec<Trial> {
    let by = |who: &'static str, name| {
        on(name, &format!("{title}::by_{who}"), move |filesystem| {
            scenario(&Seat::new(filesystem, who)?)
        })
    };
    ["xfs", "ext4"].into_iter().flat_map(|name| ["root", "user"].map(|who| by(who, name))).collect()
}

/// What every script begins with.
const TOOLS: &str = "
podman() { command podman --log-level=error \"$@\"; }
in_container() { podman run --rm --network=none --cgroups=disabled --pull=never \"$@\"; }
expect() { [ \"$1\" = \"$2\" ] || { echo \"expected '$2', got '$1'\" >&2; exit 1; }; }
";
/// Where mounts are seen by those who make them.
const INSIDE: [&str; 2] = [
    "inside() { sh -euc \"$1\"; }; podman_inside() { sh -euc \"$1\"; }\n",
    "inside() { reflayer unshare sh -euc \"$1\"; }; podman_inside() { podman unshare sh -euc \"$1\"; }\n",
];

/// The store, its owner, and small images with a program that can be run.
pub(crate) struct Seat {
    store: Store,
    pub(crate) images: Built,
    /// Who is not root.
    user: Option<User>,
    /// A name for this one only, for repositories.
    pub(crate) name: String,
}

const FORMS: [Compression; 2] = [Compression::Gzip, Compression::Chunked];

impl Seat {
    /// Of "root" or of a "user", with images as gzip and zstd:chunked.
    pub(crate) fn new(filesystem: &Filesystem, who: &str) -> Result<Self> {
        let store = Store::new(filesystem)?;
        // podman sees its two roots only, and what it does not know there does not trouble it.
        let tools = store.run_root().join("seat");
        fs::create_dir_all(&tools).context("make a place for the command")?;
        fs::copy(world::binary(), tools.join("reflayer")).context("copy the command")?;
        let images = small::runnable(&FORMS)?;
        let mut user = None;
        if who == "user" {
            user = Some(User::new(&world::sid()?, &store.room().join("home"))?);
            // A room is its maker's alone.
            judge::run(Command::new("chmod").args(["-R", "a+rX"]).arg(store.room()))?;
        }
        Ok(Self { store, images, user, name: format!("{who}-{}", filesystem.name) })
    }

    /// Runs a script where the tools are, in a directory that stays, and gives what it prints.
    /// `$tools/reflayer` is the command without a store of its own.
    pub(crate) fn sh(&self, script: &str) -> Result<String> {
        self.sh_beside(&[], script)
    }

    /// The same with more directories to be seen.
    pub(crate) fn sh_beside(&self, more: &[&Path], script: &str) -> Result<String> {
        self.sh_among(&world::sid()?, more, script)
    }

    /// The same among other tools; reflayer itself may not run there.
    pub(crate) fn sh_among(&self, sid: &Sid, more: &[&Path], script: &str) -> Result<String> {
        let tools = self.tools();
        let shared = [&[&*tools, self.images.place()][..], more].concat();
        let tools = tools.display();
        let (root, run) = (self.store.root(), self.store.run_root());
        if let Some(user) = &self.user {
            let path = format!("tools={tools}; PATH=$tools:$PATH\n");
            let script = [&path, TOOLS, INSIDE[1], script].concat();
            return judge::output(&mut user.among(sid).shell(&shared, &script));
        }
        let wrap = format!(
            "tools={tools}; mkdir /tmp/bin; cd $tools; export PATH=/tmp/bin:$PATH
             printf '#!/bin/sh\\nexec {tools}/reflayer --root {} --runroot {} \"$@\"\\n' >/tmp/bin/reflayer
             chmod +x /tmp/bin/reflayer\n",
            root.display(),
            run.display(),
        );
        let script = [&wrap, TOOLS, INSIDE[0], script].concat();
        judge::output(&mut Podman::new(sid, &root, &run)?.shell_beside(&shared[1..], &script))
    }

    /// Runs `reflayer --json` with these arguments, and gives the document that it prints.
    pub(crate) fn json(&self, arguments: &str) -> Result<Value> {
        let text = self.sh(&format!("reflayer --json {arguments}"))?;
        serde_json::from_str(&text).with_context(|| format!("{arguments} printed {text}"))
    }

    /// The store, if it is root's.
    pub(crate) fn roots(&self) -> Option<&Store> {
        self.user.is_none().then_some(&self.store)
    }

    /// The graph root, as root of the machine sees it.
    pub(crate) fn graph_root(&self) -> PathBuf {
        self.user.as_ref().map_or_else(|| self.store.root(), User::graph_root)
    }

    /// The directory in which scripts begin, as root of the machine sees it.
    pub(crate) fn place(&self) -> PathBuf {
        if self.user.is_some() { self.store.room().join("home") } else { self.tools() }
    }

    /// Room on the same filesystem.
    pub(crate) fn room(&self) -> &Path {
        self.store.room()
    }

    /// How a version is named as something to pull.
    pub(crate) fn reference(&self, form: Compression, version: &str) -> String {
        self.images.reference(form, version)
    }

    /// The id of a version.
    pub(crate) fn id(&self, version: &str) -> Result<String> {
        Ok(self.images.layout(Compression::Chunked).image(version)?.config)
    }

    fn tools(&self) -> PathBuf {
        self.store.run_root().join("seat")
    }
}
