//! Names of a model, as a filesystem would resolve them.

use std::collections::BTreeMap;

use storage_core::LayerPath;

/// Links that the kernel follows on one path.
const MAX_LINKS: u32 = 40;

/// Paths, and the numbers of the nodes that they lead to.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<Vec<u8>, usize>);

impl Names {
    pub(super) fn get(&self, path: &[u8]) -> Option<usize> {
        self.0.get(path).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.0.iter().map(|(path, number)| (path.as_slice(), *number))
    }

    pub(super) fn insert(&mut self, path: &[u8], number: usize) {
        self.0.insert(path.into(), number);
    }

    /// Removes a name and all names below it.
    pub(super) fn remove(&mut self, path: &[u8]) {
        if self.0.remove(path).is_none() {
            return;
        }
        // What is below stands between `path/` and `path0`, the next byte.
        let (from, to) = ([path, b"/"].concat(), [path, b"0"].concat());
        let below: Vec<Vec<u8>> = self.0.range(from..to).map(|(name, _)| name.clone()).collect();
        for name in below {
            self.0.remove(&name);
        }
    }

    /// Where a name leads, its last part being taken as it is.
    pub(super) fn resolve<'a>(
        &self,
        path: &LayerPath,
        text: impl Fn(usize) -> Option<&'a [u8]>,
    ) -> Vec<u8> {
        match path.split_last() {
            None => Vec::new(),
            Some((parent, name)) => join(&self.resolve_all(&parent, text), name),
        }
    }

    /// Where a name leads, with all links followed below the root; `text` gives that
    /// of a link. A path that leads round in a circle is left as it is.
    pub(super) fn resolve_all<'a>(
        &self,
        path: &LayerPath,
        text: impl Fn(usize) -> Option<&'a [u8]>,
    ) -> Vec<u8> {
        let mut here = Vec::new();
        let mut to_come: Vec<Vec<u8>> = path.parts().map(<[u8]>::to_vec).collect();
        to_come.reverse();
        let mut links = 0;
        while let Some(part) = to_come.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    here.truncate(here.iter().rposition(|&byte| byte == b'/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = join(&here, &part);
            let Some(target) = self.get(&next).and_then(&text) else {
                here = next;
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return path.as_bytes().into();
            }
            if target.starts_with(b"/") {
                here.clear();
            }
            to_come.extend(target.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec));
        }
        here
    }
}

pub(super) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.into() } else { [parent, b"/", name].concat() }
}
