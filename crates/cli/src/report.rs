//! What the command prints.

use std::borrow::Cow;
use std::error::Error;

use reflayer::{ImagePlan, LayerPlan, LayerWay, PullError, PullReport};
use reflayer::{RemoveError, RepairReport, SendAction, SendReport};
use serde::Serialize;
use storage_core::RecordError;

use crate::printable::{printable, say};
use crate::units::{bytes, short};

/// One JSON document on standard output.
#[expect(clippy::print_stdout, reason = "a document, not a line for people")]
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// An error with its causes, a line each, on standard error.
pub(crate) fn failure(error: &anyhow::Error) {
    for line in failure_lines(error) {
        anstream::eprintln!("{line}");
    }
}

/// The lines of a failure; the only escapes in them are ours.
fn failure_lines(error: &anyhow::Error) -> Vec<String> {
    let mut last = error.to_string();
    let mut lines = vec![format!("\x1b[1;31merror\x1b[0m: {}", printable(&last))];
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        if text != last {
            lines.push(format!("  {}", printable(&text)));
        }
        last = text;
    }
    if let Some(hint) = hint(error) {
        lines.push(format!("\x1b[1mhint\x1b[0m: {hint}"));
    }
    lines
}

/// What a person can do about an error.
fn hint(error: &anyhow::Error) -> Option<&'static str> {
    let damaged = |error: &RecordError| error.damaged_file().is_some();
    let lost = |error: &PullError| matches!(error, PullError::LostRecords(_));
    let lost_in_gc = |error: &RemoveError| matches!(error, RemoveError::LostRecords(_));
    if has(error, damaged) || has(error, lost) || has(error, lost_in_gc) {
        return Some("`reflayer check --repair` rebuilds it from what is on disk");
    }
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>())?;
    match io.kind() {
        std::io::ErrorKind::StorageFull => {
            Some("free some space, or remove images with `reflayer rmi` and `reflayer gc`")
        }
        std::io::ErrorKind::PermissionDenied => {
            Some("run as the owner of the store, or name another one with --root and --runroot")
        }
        _ => None,
    }
}

/// The summary of a pull.
pub(crate) fn pull(report: &PullReport) {
    for layer in &report.layers {
        let digest = layer.digest.digest().hex();
        let counts = &layer.bytes.bytes;
        let way = way(layer.path);
        let reason = if layer.reason.is_empty() || layer.path == LayerWay::Present {
            String::new()
        } else {
            format!("  ({})", layer.reason)
        };
        say!(
            "layer {}  {way:<8}fetched {:>8} of {:>8}  reused {:>8}  written {:>8}  {} requests{reason}",
            short(&digest),
            bytes(counts.fetched),
            bytes(layer.bytes.blob),
            bytes(counts.reused_files + counts.reused_chunks),
            bytes(counts.written),
            layer.requests,
        );
        for note in &layer.notes {
            say!("    {note}");
        }
    }
    mended(&report.mended);
    let sum = &report.bytes;
    say!(
        "image {} is {}: fetched {}, reused {} (shared on disk {}), holes {}, written {}, in {}.{:03} s",
        short(report.image_id.as_str()),
        report.name,
        bytes(sum.fetched),
        bytes(sum.reused_files + sum.reused_chunks),
        bytes(sum.shared),
        bytes(sum.holes),
        bytes(sum.written),
        report.duration_ms / 1000,
        report.duration_ms % 1000,
    );
}

/// What became of damaged files, if there were any.
fn mended(report: &RepairReport) {
    let (found, left) = (report.findings.len(), report.left.len());
    if found > 0 {
        say!(
            "{found} damaged files in layers that were there, {left} left; fetched {}",
            bytes(report.fetched)
        );
    }
}

fn way(way: LayerWay) -> &'static str {
    match way {
        LayerWay::Present => "present",
        LayerWay::Partial => "partial",
        _ => "full",
    }
}

/// What a pull would do.
pub(crate) fn plan(plan: &ImagePlan) {
    for layer in &plan.layers {
        plan_of_layer(layer);
    }
    let sum = &plan.bytes;
    say!(
        "{} would be {}: fetch {} of {} ({} of TOC and tar-split), reuse {}, holes {}, write {}; \
         on the disk {} new and {} shared",
        short(plan.digest.digest().hex().as_str()),
        plan.name,
        bytes(sum.to_fetch),
        bytes(sum.blob),
        bytes(sum.metadata),
        bytes(sum.reused_files + sum.reused_chunks),
        bytes(sum.holes),
        bytes(sum.missing),
        bytes(sum.disk),
        bytes(sum.shared),
    );
}

fn plan_of_layer(layer: &LayerPlan) {
    say!(
        "layer {}  {:<8}fetch {:>8} of {:>8}  reuse {:>8} in {} of {} files and {} of chunks  ({})",
        short(layer.digest.digest().hex().as_str()),
        way(layer.path),
        bytes(layer.bytes.to_fetch),
        bytes(layer.bytes.blob),
        bytes(layer.bytes.reused_files),
        layer.reused_files,
        layer.files,
        bytes(layer.bytes.reused_chunks),
        layer.reason,
    );
    for share in &layer.from {
        say!(
            "    from layer {}: {} files of {}, chunks of {}",
            short(share.layer_id.as_str()),
            share.files,
            bytes(share.file_bytes),
            bytes(share.chunk_bytes),
        );
    }
}

/// The summary of a push or conversion.
pub(crate) fn sent(report: &SendReport, target: &impl std::fmt::Display) {
    for layer in &report.layers {
        let what = match layer.action {
            SendAction::Copied => "copied",
            SendAction::Written => "written",
            SendAction::Present => "present",
            SendAction::Mounted => "mounted",
            _ => "sent",
        };
        let of = layer.uncompressed.map(|size| format!(" of {:>8}", bytes(size)));
        let reason = &layer.reason;
        say!(
            "layer {}  {what:<8}{:>8}{}{}",
            short(&layer.diff_id.digest().hex()),
            bytes(layer.size),
            of.unwrap_or_default(),
            if reason.is_empty() { String::new() } else { format!("  (not by TOC: {reason})") },
        );
    }
    say!(
        "image {} is {target}: sent {} of {}, in {}.{:03} s",
        short(report.image_id.as_str()),
        bytes(report.sent),
        bytes(report.size),
        report.duration_ms / 1000,
        report.duration_ms % 1000,
    );
}

/// A table whose columns are as wide as their widest cell.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) {
    for line in table_lines(head, rows) {
        say!("{line}");
    }
}

fn table_lines(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let head = head.iter().map(|&cell| cell.into()).collect();
    // Before they are measured: escapes are longer than what they stand for.
    let rows = rows.iter().map(|row| row.iter().map(printable).collect());
    let rows: Vec<Vec<Cow<'_, str>>> = std::iter::once(head).chain(rows).collect();
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<Cow<'_, str>>| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Whether an error or one of its causes is of a kind.
pub(crate) fn has<E: Error + Send + Sync + 'static>(
    error: &anyhow::Error,
    is: impl Fn(&E) -> bool,
) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<E>()).any(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_error_says_stays_on_its_line() {
        let error = anyhow::anyhow!("no blob\nhint: \x1b[2Jdo this").context("pull \x1b]0;a\x07");
        let lines = [
            "\x1b[1;31merror\x1b[0m: pull \\u{1b}]0;a\\u{7}",
            "  no blob\\nhint: \\u{1b}[2Jdo this",
        ];
        assert_eq!(failure_lines(&error), lines);
    }

    #[test]
    fn columns_have_room_for_escapes() {
        let rows = [vec!["a\nb".into(), "1".into()], vec!["c".into(), String::new()]];
        assert_eq!(table_lines(&["N", "ID"], &rows), ["N     ID", "a\\nb  1", "c"]);
    }
}
