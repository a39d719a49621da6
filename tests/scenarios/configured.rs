//! podman and reflayer go by the same configuration files.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::fs_role::Filesystem;
use testkit::peer::Compression;

use crate::needs::on;
use crate::small;
use crate::store::{Store, said};
use crate::world;

pub(crate) fn trials() -> Vec<Trial> {
    vec![on("ext4", "configuration_means_the_same_to_podman", means_the_same)]
}

/// The name that both pull, which leads to a mirror.
const NAME: &str = "registry.example/team/small:v1";

fn means_the_same(filesystem: &Filesystem) -> Result<()> {
    let (ours, theirs) = (Store::new(filesystem)?, Store::new(filesystem)?);
    let form = Compression::Chunked;
    let small = small::make(&ours.room().join("small"), &[form])?;
    let registry = world::registry()?;
    world::push(&world::sid()?, &registry, &small.layout(form), "v1", "mirrored/small:v1")?;
    let podman = theirs.podman()?;
    // podman sees nothing but its store.
    let place = theirs.run_root();
    let registries = write(
        &place.join("registries.conf"),
        &format!(
            "[[registry]]\nprefix = \"registry.example/team\"\nlocation = \"127.0.0.1:1/gone\"\n\
             [[registry.mirror]]\nlocation = \"127.0.0.1:2/digests\"\n\
             pull-from-mirror = \"digest-only\"\n\
             [[registry.mirror]]\nlocation = \"{}/mirrored\"\ninsecure = true\n\
             [[registry]]\nprefix = \"*.blocked.example\"\nblocked = true\n\
             [aliases]\n\"alias/small\" = \"registry.example/team/small\"\n",
            registry.host()
        ),
    )?;
    let pull = |policy: &str, name: &str| -> Result<[std::process::Output; 2]> {
        let run = |mut command: Command| {
            command.env("CONTAINERS_REGISTRIES_CONF", &registries);
            command.output().context("start a pull")
        };
        let arguments = ["pull", "--signature-policy", policy, name];
        let mut of_podman = podman.command();
        of_podman.args(arguments);
        Ok([run(ours.command(&arguments))?, run(of_podman)?])
    };
    let requirement = |name: &str, kind: &str| {
        let text = format!(
            "{{\"default\":[{{\"type\":\"reject\"}}],\"transports\":{{\"docker\":\
             {{\"*.example\":[{{\"type\":\"{kind}\"}}]}}}}}}"
        );
        write(&place.join(name), &text)
    };
    let (any, reject) =
        (requirement("any.json", "insecureAcceptAnything")?, requirement("reject.json", "reject")?);
    for (policy, name, word) in
        [(&reject, NAME, "reject"), (&any, "x.blocked.example/team/small:v1", "block")]
    {
        for out in pull(policy, name)? {
            ensure!(!out.status.success(), "{name} was pulled: {}", said(&out));
            let text = said(&out);
            ensure!(text.contains(word), "{name}: {text}");
        }
    }
    for name in [NAME, "alias/small:v1"] {
        for out in pull(&any, name)? {
            ensure!(out.status.success(), "{name} was not pulled: {}", said(&out));
        }
    }
    let listed =
        podman.run(&["images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}"])?;
    let images = ours.json(&["images"])?;
    let id = images[0]["id"].as_str().context("an image")?;
    ensure!(listed.trim() == format!("sha256:{id} {NAME}"), "podman lists {listed}, we {images}");
    ensure!(images[0]["names"][0] == NAME, "the name of the mirror is kept: {images}");
    ours.expect_clean()
}

/// Writes a file, and gives its path as text.
fn write(path: &Path, text: &str) -> Result<String> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path.to_str().context("a plain path")?.to_owned())
}
