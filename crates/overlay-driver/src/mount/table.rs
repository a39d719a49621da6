//! The kernel's table of mounts, as text.

use std::path::PathBuf;

use crate::mounts::path_of;

/// A line of the table, as far as it concerns layers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Where it is mounted.
    pub(crate) point: PathBuf,
    /// Of an overlay: its lower and upper directories, as whoever mounted it spelled them.
    pub(crate) layer_paths: Vec<PathBuf>,
}

/// Parses `/proc/self/mountinfo`; lines that are not what they should be are left out.
pub(crate) fn parse(table: &[u8]) -> impl Iterator<Item = Mount> {
    table.split(|&b| b == b'\n').filter_map(parse_line)
}

/// `36 35 98:0 /root /point rw,noatime shared:1 - overlay source rw,lowerdir=…`
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    let point = path_of(unescape(fields.nth(4)?));
    // Optional fields end with a dash.
    fields.find(|field| *field == b"-")?;
    let layer_paths = match fields.next()? {
        b"overlay" | b"fuse.fuse-overlayfs" => layer_paths(fields.nth(1)?),
        _ => Vec::new(),
    };
    Some(Mount { point, layer_paths })
}

fn layer_paths(options: &[u8]) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for option in options.split(|&b| b == b',') {
        let Some(equals) = option.iter().position(|&b| b == b'=') else { continue };
        // A name with a comma in it has it escaped.
        let value = unescape(&option[equals + 1..]);
        match &option[..equals] {
            b"lowerdir" => paths.extend(split_lowers(&value)),
            // One layer each, without escapes of overlayfs's own.
            b"lowerdir+" | b"datadir+" | b"upperdir" | b"workdir" => paths.push(path_of(value)),
            _ => {}
        }
    }
    paths
}

/// Takes `a:b::c` apart, where `\` protects the next byte.
fn split_lowers(value: &[u8]) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let mut path = Vec::new();
    let mut bytes = value.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b':' => paths.push(std::mem::take(&mut path)),
            b'\\' => path.extend(bytes.next()),
            _ => path.push(byte),
        }
    }
    paths.push(path);
    paths.into_iter().filter(|path| !path.is_empty()).map(path_of).collect()
}

/// Turns `\040` and its like into the bytes they stand for.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let (byte, after) = octal(rest).map_or((first, after), |byte| (byte, &rest[4..]));
        bytes.push(byte);
        rest = after;
    }
    bytes
}

/// The byte that `\ooo` at the start of `text` stands for.
fn octal(text: &[u8]) -> Option<u8> {
    let [b'\\', digits @ ..] = text.get(..4)? else { return None };
    let text = std::str::from_utf8(digits).ok()?;
    digits.iter().all(u8::is_ascii_digit).then(|| u8::from_str_radix(text, 8).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(line: &str) -> Mount {
        let mounts: Vec<_> = parse(line.as_bytes()).collect();
        assert_eq!(mounts.len(), 1, "{line}");
        mounts.into_iter().next().unwrap()
    }

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn both_spellings_of_lower_layers_are_read() {
        let old = "44 27 0:39 / /m\\040x rw,relatime shared:7 master:1 - overlay overlay \
                   rw,lowerdir=/s/a:/s/b\\134:c,upperdir=/u\\054v,workdir=/w,redirect_dir=on";
        let mount = only(old);
        assert_eq!(mount.point, PathBuf::from("/m x"));
        assert_eq!(mount.layer_paths, paths(&["/s/a", "/s/b:c", "/u,v", "/w"]));

        let new = "45 27 0:39 / /m ro - overlay none \
                   ro,lowerdir+=/s/a,lowerdir+=/s/sp\\040ace\\054:x,datadir+=/d,redirect_dir=on";
        assert_eq!(only(new).layer_paths, paths(&["/s/a", "/s/sp ace,:x", "/d"]));
    }

    #[test]
    fn data_only_layers_of_the_old_spelling_are_layers() {
        let line = "45 27 0:39 / /m ro - overlay none ro,lowerdir=/a:/b::/c::/d";
        assert_eq!(only(line).layer_paths, paths(&["/a", "/b", "/c", "/d"]));
    }

    #[test]
    fn other_filesystems_have_a_mount_point_only() {
        let mount = only("22 27 0:20 / /proc rw - proc proc rw,lowerdir=/a");
        assert_eq!(mount, Mount { point: "/proc".into(), layer_paths: vec![] });
    }

    /// As the kernel writes an option's value: `seq_escape` of these bytes.
    fn escaped(value: &[u8]) -> Vec<u8> {
        let special = |b: u8| b", \t\n\\=".contains(&b);
        let each = |&b: &u8| if special(b) { format!("\\{b:03o}").into_bytes() } else { vec![b] };
        value.iter().flat_map(each).collect()
    }

    proptest::proptest! {
        #[test]
        fn any_name_survives_the_table(
            names in proptest::collection::vec("[a-z/:,\\\\ \t\n=0-7\u{e4}]{1,12}", 1..5),
        ) {
            let wanted: Vec<_> = names.iter().map(PathBuf::from).collect();
            let line = |options: Vec<u8>| {
                [b"44 27 0:39 / /m rw - overlay overlay rw".as_slice(), &options].concat()
            };
            let new = names.iter().flat_map(|name| {
                [b",lowerdir+=".as_slice(), &escaped(name.as_bytes())].concat()
            });
            let old = names.iter().map(|name| {
                name.replace('\\', "\\\\").replace(':', "\\:")
            });
            let old = escaped(old.collect::<Vec<_>>().join(":").as_bytes());
            for options in [new.collect(), [b",lowerdir=".as_slice(), &old].concat()] {
                let mount = parse(&line(options)).next().unwrap();
                proptest::prop_assert_eq!(&mount.layer_paths, &wanted);
            }
        }

        #[test]
        fn no_table_makes_it_panic(table in proptest::collection::vec(0u8..128, 0..200)) {
            parse(&table).for_each(drop);
        }
    }

    #[test]
    fn a_cut_line_is_left_out() {
        for line in ["", "1 2 3", "22 27 0:20 / /proc rw proc proc rw", "22 27 0:20 / /proc rw -"] {
            assert_eq!(parse(line.as_bytes()).count(), 0, "{line}");
        }
    }

    #[test]
    fn a_backslash_without_three_octal_digits_stays() {
        assert_eq!(unescape(b"a\\12"), b"a\\12");
        assert_eq!(unescape(b"a\\999"), b"a\\999");
        assert_eq!(unescape(b"\\134\\134"), b"\\\\");
    }
}
