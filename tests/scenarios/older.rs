//! Older podmans on a store that reflayer wrote, by root and by an ordinary user.
//!
//! Only where their roots are: `REFLAYER_OLD_PODMANS=1 cargo xtask peers` makes them.

use anyhow::{Context, Result};
use libtest_mimic::Trial;
use testkit::peer::Compression::{Chunked, Gzip};
use testkit::peer::Sid;

use crate::needs::on;
use crate::seat::Seat;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for release in Sid::OLDER {
        let Some(sid) = Sid::find_older(release) else { continue };
        let who: &[&'static str] = if sid.has_users() { &["root", "user"] } else { &["root"] };
        for (who, name) in who.iter().flat_map(|who| ["xfs", "ext4"].map(|name| (*who, name))) {
            let title = format!("the_podman_of_{release}_opens_our_store::by_{who}");
            let sid = sid.clone();
            trials.push(on(name, &title, move |filesystem| {
                opens(&Seat::new(filesystem, who)?, &sid)
            }));
        }
    }
    trials
}

/// `$name` is an image that reflayer pulled, `$id` its id. podman 4.3 raises limits, which
/// root may not do everywhere.
const USE: &str = r#"
expect "$(podman images -q --no-trunc $name)" sha256:$id
size=$(podman image inspect --format '{{.Size}}' $name); [ $size -gt 500000 ]
podman create --pull=never --name it $name /sbin/ldconfig
podman export it | tar -tf - >list; podman rm it
for file in usr/bin/tool opt/new; do grep -qx $file list; done
for file in gone opt/owned; do if grep -qx $file list; then exit 1; fi; done
limits='--ulimit nofile=1000:1000 --ulimit nproc=1000:1000'
in_container $limits $name /sbin/ldconfig --version | grep -q ^ldconfig
podman save -q --uncompressed --format oci-archive -o saved.tar $name; tar -tf saved.tar >list; rm saved.tar
for diff in $(podman image inspect --format '{{range .RootFS.Layers}}{{.}} {{end}}' $name); do
    grep -q ${diff#sha256:} list
done
"#;

fn opens(seat: &Seat, sid: &Sid) -> Result<()> {
    let images = [("localhost/small:v1", "v1", Chunked), ("localhost/small:v2", "v2", Gzip)];
    for (name, version, form) in images {
        let from = seat.reference(form, version);
        seat.sh(&format!("reflayer pull --name {name} {from}"))?;
    }
    let version = seat.sh_among(sid, &[], "podman --version")?;
    eprintln!("{} {}", seat.name, version.trim());
    for (name, version, _) in images {
        let given = format!("name={name} id={}\n", seat.id(version)?);
        seat.sh_among(sid, &[], &[&*given, USE].concat()).with_context(|| name.to_owned())?;
    }
    seat.sh("reflayer check")?;
    seat.sh_among(sid, &[], "podman rmi small:v1")?;
    seat.sh("reflayer check; reflayer rmi small:v2; expect \"$(reflayer --json layers)\" '[]'")?;
    Ok(())
}
