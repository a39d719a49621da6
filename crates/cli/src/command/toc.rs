//! `toc`

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context as _, ensure};
use reflayer::{BlobToc, Chunk, FoundBy, Frame, FrameKind, TocFile};
use storage_core::{BlobDigest, Entry, EntryKind};
use transport::LayerDescriptor;

use super::toc_json;
use crate::args::TocArgs;
use crate::printable::printable;
use crate::units::bytes;
use crate::{exit, origin};

/// One layer, and its TOC if it has one.
pub(super) struct Look {
    /// The blob's digest, where a manifest names it.
    pub(super) digest: Option<BlobDigest>,
    pub(super) size: Option<u64>,
    pub(super) toc: Option<BlobToc>,
}

pub(crate) fn run(args: &TocArgs, json: bool) -> anyhow::Result<u8> {
    let looks =
        if Path::new(&args.subject).is_file() { look_at_file(args) } else { look_at_image(args) };
    let looks = looks?;
    let mut out = BufWriter::new(io::stdout().lock());
    let written = if json {
        toc_json::write(&mut out, &looks, args.chunks, args.frames)
    } else {
        looks.iter().try_for_each(|look| text(&mut out, look, args))
    };
    match written.and_then(|()| out.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit::SUCCESS),
        written => written.map(|()| exit::SUCCESS).context("write to standard output"),
    }
}

fn look_at_file(args: &TocArgs) -> anyhow::Result<Vec<Look>> {
    ensure!(args.layer.is_none(), "{} is a file: it has no layers to choose from", args.subject);
    let opened = File::open(&args.subject);
    let file = opened.with_context(|| format!("open {}", args.subject))?;
    let toc = BlobToc::of_file(file).with_context(|| format!("look into {}", args.subject))?;
    Ok(vec![Look { digest: None, size: toc.blob_size, toc: Some(toc) }])
}

fn look_at_image(args: &TocArgs) -> anyhow::Result<Vec<Look>> {
    let platform = origin::platform(&args.origin)?;
    let (source, image) = origin::first(&origin::references(&args.subject)?, |reference| {
        let source = origin::open(reference, &args.origin)?;
        let image = source.resolve(&platform)?;
        Ok((source, image))
    })?;
    let layers = match &args.layer {
        None => image.layers,
        Some(text) => vec![choose(image.layers, text)?],
    };
    let looks = layers.iter().map(|layer| {
        let toc = BlobToc::of_layer(&*source, layer);
        let toc = toc.with_context(|| format!("look into layer {}", layer.digest))?;
        ensure!(toc.is_some() || args.layer.is_none(), "layer {} has no TOC", layer.digest);
        Ok(Look { digest: Some(layer.digest), size: Some(layer.size), toc })
    });
    looks.collect()
}

/// The layer that a number, a digest or the beginning of one names.
fn choose(mut layers: Vec<LayerDescriptor>, text: &str) -> anyhow::Result<LayerDescriptor> {
    let number = text.parse().ok().filter(|&number: &usize| number < layers.len());
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let named = |layer: &LayerDescriptor| layer.digest.digest().hex().starts_with(hex);
    let index = number.or_else(|| layers.iter().position(named).filter(|_| !hex.is_empty()));
    let count = layers.len();
    let index = index.with_context(|| format!("no layer {text} among {count}"))?;
    let chosen = layers.swap_remove(index);
    // The same blob may stand there twice; another one with such a digest is a riddle.
    let other = layers.iter().any(|layer| layer.digest != chosen.digest && named(layer));
    ensure!(number.is_some() || !other, "several layers begin with {text}");
    Ok(chosen)
}

fn text(out: &mut impl Write, look: &Look, args: &TocArgs) -> io::Result<()> {
    if let Some(digest) = &look.digest {
        write!(out, "layer {digest}: ")?;
    }
    let Some(blob) = &look.toc else { return writeln!(out, "no TOC") };
    head(out, blob)?;
    for (index, entry) in blob.toc.entries().enumerate() {
        line(out, &entry)?;
        if let Some(file) = blob.toc.file(index).filter(|_| args.chunks) {
            file.chunks().try_for_each(|chunk| chunk_line(out, &file, &chunk))?;
        }
    }
    if args.frames {
        blob.frames().try_for_each(|frame| frame_line(out, blob, &frame))?;
    }
    Ok(())
}

fn head(out: &mut impl Write, blob: &BlobToc) -> io::Result<()> {
    if let Some(size) = blob.blob_size {
        write!(out, "{}, ", bytes(size))?;
    }
    write!(out, "{} entries", blob.toc.len())?;
    if let Some(location) = &blob.location {
        let (span, digest) = (location.toc, location.toc_digest);
        write!(out, "; TOC {digest} at {}+{}", span.offset, span.length)?;
    }
    writeln!(
        out,
        "{}",
        match blob.found_by {
            FoundBy::Annotations => ", proved by the manifest",
            FoundBy::Footer => ", found by the footer: not proved",
            _ => "; a TOC without its blob: not proved",
        }
    )
}

fn line(out: &mut impl Write, entry: &Entry) -> io::Result<()> {
    let owner = format!("{}:{}", entry.uid, entry.gid);
    let size = match entry.kind {
        EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
            format!("{major},{minor}")
        }
        _ => entry.size.to_string(),
    };
    write!(out, "{}  {owner:<11} {size:>12}  {}", mode(entry), printable(&entry.name))?;
    match &entry.kind {
        EntryKind::Symlink { target } => writeln!(out, " -> {}", printable(target)),
        EntryKind::HardLink { target } => writeln!(out, " link to {}", printable(target)),
        _ => writeln!(out),
    }
}

fn chunk_line(out: &mut impl Write, file: &TocFile<'_>, chunk: &Chunk) -> io::Result<()> {
    write!(out, "    {}+{}", chunk.file_offset, chunk.size)?;
    if chunk.end > chunk.offset {
        write!(out, " at {}+{}", chunk.offset, chunk.end - chunk.offset)?;
    }
    // The only chunk of a file is all of it.
    match chunk.digest.or((chunk.size == file.size()).then(|| file.digest())) {
        Some(digest) => write!(out, " {digest}")?,
        None => write!(out, " no digest")?,
    }
    writeln!(out, "{}", if chunk.hole { " hole" } else { "" })
}

fn frame_line(out: &mut impl Write, blob: &BlobToc, frame: &Frame) -> io::Result<()> {
    write!(out, "{}+{} {}", frame.offset, frame.length, frame_kind(frame.kind))?;
    match frame.kind {
        FrameKind::Chunk { entry, chunk } => {
            writeln!(out, " {chunk} of {}", printable(&blob.toc.entry(entry).name))
        }
        _ => writeln!(out),
    }
}

/// The word for what a frame is.
pub(super) fn frame_kind(kind: FrameKind) -> &'static str {
    match kind {
        FrameKind::Headers => "headers",
        FrameKind::Chunk { .. } => "chunk",
        FrameKind::Toc => "toc",
        FrameKind::TarSplit => "tar-split",
        FrameKind::Footer => "footer",
        _ => "unknown",
    }
}

/// As `ls` writes it.
fn mode(entry: &Entry) -> String {
    let kind = match entry.kind {
        EntryKind::Regular => '-',
        EntryKind::Directory => 'd',
        EntryKind::Symlink { .. } => 'l',
        EntryKind::HardLink { .. } => 'h',
        EntryKind::CharDevice { .. } => 'c',
        EntryKind::BlockDevice { .. } => 'b',
        EntryKind::Fifo => 'p',
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = entry.mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (entry.mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use storage_core::Time;

    use super::*;

    #[test]
    fn modes_are_as_ls_writes_them() {
        let of = |kind, bits| {
            let entry = Entry {
                name: b"x".into(),
                kind,
                mode: bits,
                uid: 0,
                gid: 0,
                size: 0,
                mtime: Time::EPOCH,
                atime: None,
                ctime: None,
                xattrs: vec![],
            };
            mode(&entry)
        };
        assert_eq!(of(EntryKind::Regular, 0o4755), "-rwsr-xr-x");
        assert_eq!(of(EntryKind::Regular, 0o2640), "-rw-r-S---");
        assert_eq!(of(EntryKind::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(of(EntryKind::Directory, 0o1770), "drwxrwx--T");
        assert_eq!(of(EntryKind::Fifo, 0), "p---------");
    }
}
