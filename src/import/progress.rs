//! A bar for the person at the terminal.

use indicatif::{ProgressBar, ProgressStyle};

use crate::config::Progress;

/// One bar per kind of work, on standard error, drawn only if that is a terminal.
#[derive(Clone, Debug)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn start(progress: Progress, what: &'static str, length: usize) -> Bar {
        let bar = match progress {
            Progress::Auto => ProgressBar::new(length as u64),
            Progress::Never => ProgressBar::hidden(),
        };
        let template = "{msg:<18} {wide_bar} {pos}/{len}  {per_sec}  {eta} left";
        let style = ProgressStyle::with_template(template).expect("the template is a constant");
        bar.set_style(style);
        bar.set_message(what);
        Bar(bar)
    }

    pub(super) fn step(&self) {
        self.0.inc(1);
    }

    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
