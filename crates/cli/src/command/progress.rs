//! A progress bar per layer, where standard error is a terminal.

use std::io::IsTerminal as _;
use std::sync::{Arc, OnceLock};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use reflayer::{LayerWay, Progress, SendAction, SendProgress};
use storage_core::{BlobDigest, DiffId, Digest};

use crate::units::short;

/// Bars on a terminal, nothing elsewhere.
pub(crate) fn on_terminal() -> Arc<dyn Progress + Send + Sync> {
    if std::io::stderr().is_terminal() { Arc::new(Bars::default()) } else { Arc::new(()) }
}

/// The same, for what goes out.
pub(crate) fn of_sending() -> Arc<dyn SendProgress> {
    if std::io::stderr().is_terminal() { Arc::new(Bars::default()) } else { Arc::new(()) }
}

#[derive(Default)]
struct Bars {
    screen: MultiProgress,
    bars: OnceLock<Vec<ProgressBar>>,
}

impl Bars {
    fn bar(&self, index: usize) -> Option<&ProgressBar> {
        self.bars.get()?.get(index)
    }
}

impl Bars {
    fn start<'l>(&self, layers: impl Iterator<Item = (&'l Digest, u64)>) {
        let style = ProgressStyle::with_template(
            "{prefix}  {wide_bar} {bytes:>10} / {total_bytes:<10} {msg}",
        );
        let bar = |(digest, size): (&Digest, u64)| {
            let bar = self.screen.add(ProgressBar::new(size));
            if let Ok(style) = &style {
                bar.set_style(style.clone());
            }
            bar.set_prefix(short(&digest.hex()).to_owned());
            bar
        };
        drop(self.bars.set(layers.map(bar).collect()));
    }

    fn set(&self, index: usize, message: &'static str, bytes: u64, of: u64) {
        if let Some(bar) = self.bar(index) {
            bar.set_message(message);
            bar.set_length(of.max(bytes));
            bar.set_position(bytes);
        }
    }

    fn finish(&self, index: usize, present: bool) {
        if let Some(bar) = self.bar(index) {
            bar.finish_with_message(if present { "present" } else { "done" });
        }
    }
}

impl Progress for Bars {
    fn layers(&self, layers: &[(BlobDigest, u64)]) {
        self.start(layers.iter().map(|(digest, size)| (digest.digest(), *size)));
    }

    fn waiting(&self, index: usize) {
        if let Some(bar) = self.bar(index) {
            bar.set_message("waiting for another pull");
        }
    }

    fn fetched(&self, index: usize, bytes: u64, expected: u64) {
        self.set(index, "", bytes, expected);
    }

    fn done(&self, index: usize, way: LayerWay) {
        self.finish(index, way == LayerWay::Present);
    }
}

impl SendProgress for Bars {
    fn layers(&self, layers: &[(DiffId, u64)]) {
        self.start(layers.iter().map(|(diff_id, size)| (diff_id.digest(), *size)));
    }

    fn read(&self, index: usize, bytes: u64, expected: u64) {
        self.set(index, "reading", bytes, expected);
    }

    fn sent(&self, index: usize, bytes: u64, size: u64) {
        self.set(index, "sending", bytes, size);
    }

    fn done(&self, index: usize, action: SendAction) {
        self.finish(index, !action.sends());
    }
}
