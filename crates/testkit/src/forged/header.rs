//! Header blocks.

use super::item::Item;

pub(super) const BLOCK: usize = 512;

/// A PAX record.
pub(super) fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let body = [b" ", key, b"=", value, b"\n"].concat();
    let mut length = body.len();
    // The length counts its own digits.
    while length != body.len() + length.to_string().len() {
        length = body.len() + length.to_string().len();
    }
    [length.to_string().as_bytes(), &body].concat()
}

/// All that stands before the content of an item.
pub(super) fn headers(item: &Item) -> Vec<u8> {
    if let Some(bytes) = &item.raw {
        return bytes.clone();
    }
    if item.flag == b'g' {
        return extension(b'g', "pax_global_header", &item.records);
    }
    let mut out = Vec::new();
    let mut records = item.records.clone();
    for (key, value) in &item.xattrs {
        records.extend(record(&[b"SCHILY.xattr.", &key[..]].concat(), value));
    }
    for (text, key, flag) in [(&item.name, "path", b'L'), (&item.link, "linkpath", b'K')] {
        if text.len() <= 100 {
            continue;
        }
        if item.gnu {
            out.extend(extension(flag, "././@LongLink", &[&text[..], b"\0"].concat()));
        } else {
            records.splice(0..0, record(key.as_bytes(), text));
        }
    }
    if !records.is_empty() {
        out.extend(extension(b'x', "PaxHeaders/x", &records));
    }
    out.extend(block(item));
    out
}

fn extension(flag: u8, name: &str, content: &[u8]) -> Vec<u8> {
    let header = super::file(name, content).flag(flag);
    [&block(&header), content, &padding(content.len())].concat()
}

/// Zeros up to the next block.
pub(super) fn padding(length: usize) -> Vec<u8> {
    vec![0; length.next_multiple_of(BLOCK) - length]
}

fn block(item: &Item) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let size = item.size.unwrap_or(item.content.len() as i128);
    put(&mut block, 0, &item.name[..item.name.len().min(100)]);
    put(&mut block, 100, &number(item.mode, 8));
    put(&mut block, 108, &number(item.uid, 8));
    put(&mut block, 116, &number(item.gid, 8));
    put(&mut block, 124, &number(size, 12));
    put(&mut block, 136, &number(item.mtime, 12));
    block[156] = item.flag;
    put(&mut block, 157, &item.link[..item.link.len().min(100)]);
    put(&mut block, 257, if item.gnu { b"ustar  \0" } else { b"ustar\x0000" });
    if let Some((major, minor)) = item.device {
        put(&mut block, 329, &number(major, 8));
        put(&mut block, 337, &number(minor, 8));
    }
    let sum = |block: &mut Vec<u8>| {
        put(block, 148, b"        ");
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        put(block, 148, format!("{sum:06o}\0 ").as_bytes());
    };
    for (at, bytes) in &item.patches {
        put(&mut block, *at, bytes);
    }
    // Unless the sum itself is what is forged.
    if !item.patches.iter().any(|(at, _)| (148..156).contains(at)) {
        sum(&mut block);
    }
    block
}

fn put(block: &mut [u8], at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Octal digits where there is room for them, base 256 elsewhere.
fn number(value: i128, room: usize) -> Vec<u8> {
    let digits = format!("{value:0width$o}", width = room - 1);
    if value >= 0 && digits.len() < room {
        return [digits.as_bytes(), b"\0"].concat();
    }
    let mut bytes = value.to_be_bytes()[16 - room..].to_vec();
    bytes[0] |= 0x80;
    bytes
}
