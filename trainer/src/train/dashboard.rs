//! A training seen from a terminal: one bar, with what matters now. Says nothing where nobody looks.

use indicatif::{ProgressBar, ProgressStyle};

use super::Progress;

/// Shows the progress of one training.
#[derive(Debug)]
pub struct Dashboard {
    bar: ProgressBar,
    held_out: String,
}

impl Dashboard {
    /// For so many steps. Draws on standard error, and only when that is a terminal.
    #[must_use]
    pub fn new(steps: u64) -> Self {
        let style = ProgressStyle::with_template(
            "{bar:30} {pos}/{len} {elapsed_precise} left {eta_precise}\n{msg}",
        )
        .expect("a template without faults")
        .progress_chars("=> ");
        Self {
            bar: ProgressBar::new(steps).with_style(style),
            held_out: String::new(),
        }
    }

    /// Shows a step.
    pub fn show(&mut self, progress: &Progress) {
        if let Some(losses) = &progress.held_out {
            self.held_out = format!(
                "\nheld out: loss {:.4}  action {:.4} ({:.1} % right)  position {:.4}  risk {:.4}  value {:.4}",
                losses.total,
                losses.action,
                100.0 * losses.accuracy,
                losses.position,
                losses.risk,
                losses.value,
            );
        }
        let losses = &progress.losses;
        self.bar.set_position(progress.step);
        self.bar.set_message(format!(
            "training: loss {:.4}  action {:.4} ({:.1} % right)  position {:.4}  risk {:.4}  value {:.4}\nlearning rate {:.2e}  gradient {:.3}  {:.0} tokens/s{}",
            losses.total,
            losses.action,
            100.0 * losses.accuracy,
            losses.position,
            losses.risk,
            losses.value,
            progress.learning_rate,
            progress.gradient_norm,
            progress.tokens_per_second,
            self.held_out,
        ));
    }

    /// Leaves the last state on the screen.
    pub fn finish(&self) {
        self.bar.abandon();
    }
}
