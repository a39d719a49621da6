//! The tools of others on what we pulled, and we on what they pulled and built.
//!
//! Scripts, since root and an ordinary user are to see the same.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testkit::peer::Compression::{Chunked, Gzip};
use testkit::registry::{Registry, Traffic};

use crate::additional::ReadOnly;
use crate::seat::{self, Seat};
use crate::world::{self, VERSIONS};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = seat::trials("r23_tools_use_what_we_pulled", tools_use_ours);
    trials.extend(seat::trials("r23_we_use_what_tools_pulled_and_built", we_use_theirs));
    trials.extend(seat::trials("our_store_serves_two_roots_read_only", serves_two));
    trials
}

/// `$name` is an image that reflayer pulled, `$id` its id, `$copy` a name at a registry.
const USE: &str = r#"
expect "$(podman images -q --no-trunc $name)" sha256:$id
expect "$(podman image inspect --format '{{.Id}}' $name)" $id
expect "$(buildah images -q --no-trunc $name)" sha256:$id
expect "$(skopeo inspect --config --raw containers-storage:$name | sha256sum | cut -c-64)" $id
in_container $name /sbin/ldconfig --version | grep -q ^ldconfig
expect "$(podman_inside "cat \$(podman image mount $name)/etc/os-release; podman image umount $name >&2")" \
    "VERSION=$number, patched"
podman tag $name localhost/tagged:it
reflayer --json images | grep -q localhost/tagged:it
podman rmi localhost/tagged:it
podman push -q --tls-verify=false $name $copy
"#;

/// What podman saves of `$name` and what it finds in it, in files that `$who` names.
///
/// `* layer ID: +/bin(mtime:0x6b050beb→0x6b051391), layer content modified`
const SAVE: &str = r"
podman save -q --format oci-archive -o saved.tar $name
tar -tf saved.tar | grep ^blobs/sha256/. | sort >$who.saved; rm saved.tar
{ podman system check 2>&1 || true; } | sed -n 's/^.*\* //p' | cut -d'(' -f1 | sort -u >$who.found
";

/// The same `$name`, as something to build upon.
const BUILD: &str = r#"
mkdir -p context; echo made >context/made
printf "FROM $name\nCOPY made /etc/made\n" >Containerfile
podman build -q --pull=never -t localhost/built -f Containerfile context
container=$(buildah from --pull-never $name); buildah copy -q $container context/made /etc/made
buildah commit -q $container localhost/by-buildah; buildah rm $container
podman create -q --name it $name /sbin/ldconfig --version
podman cp context/made it:/etc/made; podman commit -q it localhost/changed; podman rm it
for made in built by-buildah changed; do
    podman create -q --name it localhost/$made /sbin/ldconfig; podman cp it:/etc/made got; podman rm it
    expect "$(cat got)" made
done
in_container localhost/built /sbin/ldconfig --version | grep -q ^ldconfig
reflayer check
podman rmi localhost/built localhost/by-buildah localhost/changed
"#;

fn tools_use_ours(seat: &Seat) -> Result<()> {
    let bench = Bench::new(seat, "ours")?;
    // What came as gzip serves podman's next pull, and so does what came by its TOC.
    let [gzip, v1, v2] = [seat.reference(Gzip, "v1"), bench.reference("v1"), bench.reference("v2")];
    for from in [&gzip, &v1] {
        seat.sh(&format!("reflayer pull --name localhost/ours:v1 {from}"))?;
        let pull = format!("podman pull -q --tls-verify=false {v2}");
        bench.expect_reuse("podman", &pull)?;
        seat.sh("podman rmi -a; expect \"$(reflayer --json layers)\" '[]'")?;
    }
    let gzip = seat.reference(Gzip, "v2");
    for (number, version, from, more) in [(1, "v1", &v1, BUILD), (2, "v2", &gzip, "")] {
        let (name, id) = (format!("localhost/ours:{version}"), seat.id(version)?);
        let copy = bench.reference("copy");
        let given = format!("name={name} id={id} number={number} copy={copy}\n");
        let pull = format!("reflayer pull --name {name} {from}\n");
        seat.sh(&[&pull, &*given, USE, "who=we\n", SAVE, more].concat())
            .with_context(|| format!("{version} from {from}"))?;
        // What podman sent is the same image.
        let again = seat.json(&format!("plan {copy}"))?;
        seat.sh(&format!("podman rmi {name}"))?;
        ensure!(again["bytes"]["to_fetch"] == 0, "podman sent other layers: {again}");
        // And what it saves is what it saves after its own pull, and it finds no more.
        let pull = format!(
            "name={name}; who=it
             skopeo --insecure-policy copy -q --src-tls-verify=false {from} containers-storage:$name"
        );
        seat.sh(&[
            &pull,
            SAVE,
            "diff we.saved it.saved; expect \"$(comm -23 we.found it.found)\" ''",
        ]
        .concat())?;
        seat.sh(&format!("podman rmi {name}"))?;
    }
    seat.sh("expect \"$(reflayer --json layers)\" '[]'; reflayer check; podman system check")?;
    Ok(())
}

/// `$name` is an image that podman or buildah pulled or made.
const LOOK: &str = r#"
id=$(podman image inspect --format '{{.Id}}' $name)
reflayer --json images | grep -q $id
reflayer --json inspect $name | grep -q $id
expect "$(inside "mkdir -p m; reflayer mount $name m; cat m/etc/os-release; test ! -e m/gone; reflayer umount m")" "VERSION=$number, patched"
for diff in $(podman image inspect --format '{{range .RootFS.Layers}}{{.}} {{end}}' $name); do
    expect sha256:$(reflayer export $diff | sha256sum | cut -c-64) $diff
done
"#;

fn we_use_theirs(seat: &Seat) -> Result<()> {
    let bench = Bench::new(seat, "theirs")?;
    let [v1, v2] = ["v1", "v2"].map(|version| bench.reference(version));
    seat.sh(&format!("podman pull -q --tls-verify=false {v1}"))?;
    bench.expect_reuse("reflayer", &format!("reflayer pull --name localhost/ours:v2 {v2}"))?;
    let name = v1.trim_start_matches("docker://");
    let gzip = seat.reference(Gzip, "v2");
    seat.sh(&format!(
        "reflayer rmi localhost/ours:v2
         skopeo --insecure-policy copy -q {gzip} containers-storage:localhost/whole:v2
         mkdir context; echo made >context/made
         printf 'FROM localhost/whole:v2\\nCOPY made /etc/made\\n' >Containerfile
         podman build -q --pull=never -t localhost/built -f Containerfile context
         container=$(buildah from --pull-never {name}); buildah copy -q $container context/made /etc/made
         buildah commit -q $container localhost/by-buildah; buildah rm $container"
    ))?;
    let all =
        [(name, 1), ("localhost/whole:v2", 2), ("localhost/built", 2), ("localhost/by-buildah", 1)];
    for (name, number) in all {
        seat.sh(&format!("name={name} number={number}\n{LOOK}"))
            .with_context(|| format!("look at {name}"))?;
    }
    seat.sh("reflayer check")?;
    let plan = seat.json(&format!("plan {v2}"))?;
    ensure!(plan["bytes"]["to_fetch"] == 0, "podman has the layers: {plan}");
    seat.sh(&format!(
        "reflayer push localhost/built oci:sent:it
         expect \"$(skopeo inspect --config --raw oci:sent:it | sha256sum | cut -c-64)\" \
             \"$(podman image inspect --format '{{{{.Id}}}}' localhost/built)\"
         for image in {name} localhost/whole:v2 localhost/built localhost/by-buildah; do reflayer rmi $image; done
         expect \"$(reflayer --json layers)\" '[]'; expect \"$(podman images -q)\" ''
         podman system check"
    ))?;
    Ok(())
}

/// The images at a registry, in repositories of this scenario only.
struct Bench<'a> {
    seat: &'a Seat,
    registry: Arc<Registry>,
    repository: String,
}

impl<'a> Bench<'a> {
    fn new(seat: &'a Seat, name: &str) -> Result<Self> {
        let (registry, repository) = (world::registry()?, format!("{name}/{}", seat.name));
        let bench = Self { seat, registry, repository };
        let layout = seat.images.layout(Chunked);
        for version in VERSIONS {
            let name = format!("{}:{version}", bench.repository);
            world::push(&world::sid()?, &bench.registry, &layout, version, &name)?;
        }
        Ok(bench)
    }

    fn reference(&self, version: &str) -> String {
        self.registry.reference(&format!("{}:{version}", self.repository))
    }

    /// That a pull of v2 fetches less than half of it, as the registry tells.
    fn expect_reuse(&self, who: &str, pull: &str) -> Result<()> {
        let mark = self.registry.mark()?;
        self.seat.sh(pull)?;
        let mut requests = self.registry.since(mark)?;
        requests.retain(|request| request.uri.contains(&self.repository));
        let fetched = Traffic::of_blobs(&requests).bytes;
        let layers = self.seat.images.layout(Chunked).image("v2")?.layers;
        let whole: u64 = layers.iter().map(|layer| layer.size).sum();
        eprintln!("{}: {who} fetched {fetched} of {whole}", self.repository);
        ensure!(fetched < whole / 2, "{who} fetched {fetched} of {whole}: {requests:#?}");
        Ok(())
    }
}

/// A store of ours, as one that nobody can change, beside two stores of podman's at once.
fn serves_two(seat: &Seat) -> Result<()> {
    let v1 = seat.reference(Chunked, "v1");
    seat.sh(&format!(
        "$tools/reflayer --root $PWD/shared --runroot $PWD/shared-run pull --name localhost/app:v1 {v1}"
    ))?;
    let shared = ReadOnly::of(&seat.place().join("shared"), &seat.room().join("read-only"))?;
    let other = shared.path().display();
    seat.sh_beside(&[shared.path()], &format!(
        "beside() {{
             printf '[storage]\\ndriver=\"overlay\"\\ngraphroot=\"%s\"\\nrunroot=\"%s\"\\n[storage.options]\\nadditionalimagestores=[\"%s\"]\\n' \\
                 $PWD/graph-$1 $PWD/run-$1 {other} >conf-$1
             export CONTAINERS_STORAGE_CONF=$PWD/conf-$1
             expect \"$(podman images --format '{{{{.Repository}}}}:{{{{.Tag}}}} {{{{.ReadOnly}}}}')\" 'localhost/app:v1 true'
             for round in 1 2; do in_container app:v1 /sbin/ldconfig --version | grep -q ^ldconfig; done
             expect \"$(skopeo inspect --config --raw containers-storage:localhost/app:v1 | sha256sum | cut -c-64)\" {}
             test ! -s graph-$1/overlay-layers/layers.json || expect \"$(cat graph-$1/overlay-layers/layers.json)\" '[]'
         }}
         beside 1 & first=$!; beside 2 & second=$!; wait $first; wait $second",
        seat.id("v1")?
    ))?;
    drop(shared);
    seat.sh("$tools/reflayer --root $PWD/shared --runroot $PWD/shared-run check")?;
    Ok(())
}
