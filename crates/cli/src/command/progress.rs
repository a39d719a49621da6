//! A progress bar per layer, where standard error is a terminal.

use std::io::IsTerminal as _;
use std::sync::{Arc, OnceLock};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use reflayer::{LayerWay, Progress};
use storage_core::BlobDigest;

use crate::units::short;

/// Bars on a terminal, nothing elsewhere.
pub(crate) fn on_terminal() -> Arc<dyn Progress + Send + Sync> {
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

impl Progress for Bars {
    fn layers(&self, layers: &[(BlobDigest, u64)]) {
        let style = ProgressStyle::with_template(
            "{prefix}  {wide_bar} {bytes:>10} / {total_bytes:<10} {msg}",
        );
        let bar = |(digest, size): &(BlobDigest, u64)| {
            let bar = self.screen.add(ProgressBar::new(*size));
            if let Ok(style) = &style {
                bar.set_style(style.clone());
            }
            bar.set_prefix(short(&digest.digest().hex()).to_owned());
            bar
        };
        drop(self.bars.set(layers.iter().map(bar).collect()));
    }

    fn waiting(&self, index: usize) {
        if let Some(bar) = self.bar(index) {
            bar.set_message("waiting for another pull");
        }
    }

    fn fetched(&self, index: usize, bytes: u64, expected: u64) {
        if let Some(bar) = self.bar(index) {
            bar.set_message("");
            bar.set_length(expected.max(bytes));
            bar.set_position(bytes);
        }
    }

    fn done(&self, index: usize, way: LayerWay) {
        if let Some(bar) = self.bar(index) {
            bar.finish_with_message(if way == LayerWay::Present { "present" } else { "done" });
        }
    }
}
