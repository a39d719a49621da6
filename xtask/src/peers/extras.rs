//! What a plain Debian has not, so that every kind of entry is in the images.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use testkit::tree::{
    Node, Tree, block_device, char_device, directory, fifo, file, hard_link, noise, sparse, symlink,
};

/// Where it is put.
const PLACE: &str = "opt/exercise";
const MIB: usize = 1 << 20;

/// Adds to the base layer.
pub(super) fn add_to_base(root: &Path, version: &str) -> Result<()> {
    // A file capability, as `setcap cap_net_raw+p` writes it.
    let capability = [&[1, 0, 0, 2, 0, 0x20], &[0; 14][..]].concat();
    let long_name = format!("{}/{}", "n".repeat(120), "m".repeat(200));
    let tree = Tree::new()
        .with("setuid", file("#!/bin/true\n").mode(0o4755).mtime(1_234_567_890, 123_456_789))
        .with("setgid", file("#!/bin/true\n").mode(0o2755))
        .with("sticky", directory().mode(0o1777))
        .with("secret", directory().mode(0o700).owner(12345, 3_000_000))
        .with("secret/file", file("mine\n").mode(0o400).owner(12345, 3_000_000))
        .with("hard/a", file("one inode\n".repeat(1000)))
        .with("hard/b", hard_link("hard/a"))
        .with("far", hard_link("hard/a"))
        .with("capable", file("#!/bin/true\n").mode(0o755).xattr("security.capability", capability))
        .with("commented", file("x").xattr("user.comment", "gr\u{fc}\u{df}e\0\n"))
        .with("commented.d", directory().xattr("user.empty", "").mtime(1, 1))
        .with("char", char_device(1, 3).mode(0o620).mtime(1_500_000_000, 0))
        .with("block", block_device(259, 70_000).mode(0o660))
        .with("fifo", fifo().mode(0o640).mtime(4_000_000_000, 999_999_999))
        .with("link", symlink("../../etc/passwd").owner(1000, 1000).mtime(1_700_000_000, 5))
        .with("dangling", symlink("/no/where"))
        .with("long-link", symlink(&"x".repeat(300)))
        .with(&long_name, file("long name\n"))
        .with("Gr\u{f6}\u{df}e-\u{540d}\u{524d}-\u{1f980}", file("name\n"))
        .with(" leading space", file(""))
        .with("back\\slash", file("b"))
        .with("empty", file("").mtime(0, 0))
        .with("sparse", with_holes())
        .with("database", file(database(version)))
        .with("gone/file", file("deleted by the next layer\n"))
        .with("gone/kept", file("kept\n"))
        .with("gone-directory/x/y", file("z"))
        .with("opaque/below", file("hidden by the next layer\n"))
        .with("changed", file("base\n"))
        .with("to-directory", file("a file\n"))
        .with("to-file/x", file(""));
    tree.write(&root.join(PLACE)).context("add to the base")
}

/// Changes things in the second layer, through the overlay that is being recorded.
///
/// A shell does it inside, where the overlay is mounted.
pub(super) const CHANGES: &str = "
cd /opt/exercise
rm gone/file
rm -r gone-directory
rm -r opaque; mkdir opaque; echo visible >opaque/new
echo second layer >changed
rm to-directory; mkdir to-directory; echo now a directory >to-directory/x
rm -r to-file; echo now a file >to-file
mkdir second; echo two >second/a; ln second/a second/b
chmod 755 setgid
touch -d @1700000000 gone opaque opaque/new changed to-directory to-directory/x to-file second \
    second/a setgid .
";

fn with_holes() -> Node {
    let data = vec![(MIB as u64, noise(10_000, 1)), (5 * MIB as u64 + 123, noise(70_000, 2))];
    sparse(8 * MIB as u64, data)
}

/// A large file that changes little: a few bytes more near its start, and one other bit.
fn database(version: &str) -> Vec<u8> {
    let mut bytes = noise(6 * MIB, 7);
    if version == "v2" {
        bytes[3 * MIB] ^= 1;
        bytes.splice(1000..1000, *b"inserted");
    }
    bytes
}

/// Makes a layer's tar as many blocks longer.
pub(super) fn set_length(tree: &Path, blocks: usize) -> Result<()> {
    let file = tree.join(PLACE).join("length");
    fs::write(&file, noise(512 * blocks, 3)).context("set the length of a layer")?;
    // The same bytes each time.
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let set = || File::options().write(true).open(&file)?.set_modified(time);
    set().context("set the time of a file")
}

/// Removes what only says which machine made the root.
pub(super) fn forget_the_machine(root: &Path) -> Result<()> {
    fs::write(root.join("etc/hostname"), "debian\n").context("name the host")?;
    fs::write(root.join("etc/resolv.conf"), "").context("empty resolv.conf")
}
