//! Deleted names, from the spelling of a layer's tar to that of overlay.

use super::snapshot::{Kind, Node, Snapshot};

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Puts the names that a layer deletes in the place of the files that say so.
pub(super) fn translate(snapshot: &mut Snapshot) {
    let marks: Vec<Vec<u8>> =
        snapshot.nodes.keys().filter(|path| split(path).1.starts_with(PREFIX)).cloned().collect();
    for path in marks {
        snapshot.nodes.remove(&path);
        let (directory, name) = split(&path);
        if name == OPAQUE {
            if let Some(node) = snapshot.nodes.get_mut(directory) {
                node.xattrs.insert("trusted.overlay.opaque".into(), b"y".to_vec());
            }
            continue;
        }
        let hidden = &name[PREFIX.len()..];
        let place =
            if directory.is_empty() { hidden.to_vec() } else { [directory, b"/", hidden].concat() };
        snapshot.nodes.insert(place, whiteout());
    }
}

fn whiteout() -> Node {
    Node {
        kind: Kind::Whiteout,
        mode: 0,
        owner: (0, 0),
        mtime: (0, 0),
        size: None,
        link: None,
        device: None,
        first_name: None,
        xattrs: std::collections::BTreeMap::new(),
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}
