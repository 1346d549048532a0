//! Returns that luck has no part in: what was earned, replaced by what could be expected.
//!
//! Who conditions on the return that was realised learns from the lucky, and in a world of chance luck is no skill
//! (Paster et al. 2022, ESPER). The cure has three phases. A network is taught with the return hidden
//! ([`Draw::unconditioned`](crate::corpus::Draw) = 1), so that its value head learns the expected return-to-go of each
//! action from the past alone. [`relabel`] then writes, for every step of every episode, what that head expects of the
//! action that was taken. A network taught on this is asked for a return that can be expected: its own value head,
//! with the return hidden, says what that is.

use crate::batch::Batch;
use crate::corpus::{Corpus, Episode};
use crate::model::DecisionTransformer;
use crate::spec::Spec;

/// How the estimates are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relabelling {
    /// Windows in one forward pass.
    pub rows: usize,
    /// Steps from one window of an episode to the next, at most a window's steps. An estimate is read from the first
    /// window that contains its step, so that it knows at least `steps − stride` steps of the past wherever the
    /// episode has as many; each window costs one forward pass, so that a longer stride is cheaper.
    pub stride: usize,
}

/// A window of an episode, and the steps whose estimates are read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    episode: usize,
    /// First step of the window.
    from: usize,
    /// First step that is read; the last is the window's end.
    read: usize,
}

/// What an estimate is measured from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// From nothing: what the action is expected to earn.
    Nothing,
    /// From the best action of the step: what the action is expected to earn less than that. It is never
    /// positive, and zero can be asked for at every step, whatever the market offers.
    Best,
}

/// Gives the corpus with each return-to-go replaced by the value head's estimate, in raw units, for the action that
/// was taken, from the steps up to it with the return hidden. Everything else stays, `values` too.
///
/// A step that is masked, or whose estimate is not finite, keeps its return.
///
/// # Panics
/// When a stride is zero or longer than a window, or a pass has no rows: defects of the caller.
#[must_use]
pub fn relabel(
    corpus: &Corpus,
    model: &DecisionTransformer,
    spec: &Spec,
    how: Relabelling,
) -> Corpus {
    relabel_against(corpus, model, spec, how, Against::Nothing)
}

/// As [`relabel`], with the estimate measured from something else.
///
/// # Panics
/// As [`relabel`].
#[must_use]
pub fn relabel_against(
    corpus: &Corpus,
    model: &DecisionTransformer,
    spec: &Spec,
    how: Relabelling,
    against: Against,
) -> Corpus {
    assert!(
        (1..=spec.steps).contains(&how.stride) && how.rows > 0,
        "a stride of 1 to {} steps and at least one row",
        spec.steps
    );
    let mut relabelled = corpus.clone();
    let windows: Vec<Window> = corpus
        .episodes
        .iter()
        .enumerate()
        .flat_map(|(episode, lived)| windows(episode, lived.actions.len(), spec.steps, how.stride))
        .collect();
    for chunk in windows.chunks(how.rows) {
        let mut batch = Batch::empty(chunk.len(), spec.steps, corpus.state, corpus.actions);
        for (row, window) in chunk.iter().enumerate() {
            fill(&mut batch, row, corpus, window);
        }
        let values = model.predict(&batch, &corpus.statistics, spec).value;
        for (row, window) in chunk.iter().enumerate() {
            let episode = &mut relabelled.episodes[window.episode];
            let live = &corpus.paths[episode.path].live[episode.first..];
            let end = (window.from + spec.steps).min(episode.actions.len());
            let steps = live.iter().enumerate().take(end).skip(window.read);
            for (step, live) in steps {
                let cell = row * spec.steps + step - window.from;
                let class = usize::from(episode.actions[step]);
                let estimates = &values[cell * corpus.actions..][..corpus.actions];
                let origin = match against {
                    Against::Nothing => 0.0,
                    Against::Best => estimates.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                };
                let value = (estimates[class] - origin) * corpus.statistics.return_scale;
                if *live && value.is_finite() {
                    episode.returns[step] = value;
                }
            }
        }
    }
    relabelled
}

/// Windows over `length` steps that read each of them once.
fn windows(episode: usize, length: usize, steps: usize, stride: usize) -> Vec<Window> {
    let mut windows = Vec::new();
    let (mut from, mut read) = (0, 0);
    while read < length {
        windows.push(Window {
            episode,
            from,
            read,
        });
        read = from + steps;
        from += stride;
    }
    windows
}

/// Writes a window into a row, with the return hidden. Unlike a sequence in training, it knows the action before its
/// first step when there was one: the more of the past is known, the better.
fn fill(batch: &mut Batch, row: usize, corpus: &Corpus, window: &Window) {
    let episode: &Episode = &corpus.episodes[window.episode];
    let (path, wide) = (&corpus.paths[episode.path], corpus.state);
    let end = (window.from + batch.steps).min(episode.actions.len());
    for step in window.from..end {
        let (cell, seen) = (row * batch.steps + step - window.from, episode.first + step);
        batch.states[cell * wide..][..wide].copy_from_slice(&path.states[seen * wide..][..wide]);
        batch.valid[cell * wide..][..wide].copy_from_slice(&path.valid[seen * wide..][..wide]);
        batch.live[cell] = f32::from(u8::from(path.live[seen]));
        if let Some(before) = step.checked_sub(1) {
            batch.previous[cell] = u32::from(episode.actions[before]);
            let size = episode.sizes[before];
            batch.previous_size[cell] = if size.is_finite() { size } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::corpus::{Draw, Path};
    use crate::spec::Statistics;

    #[test]
    fn every_step_is_read_once_and_knows_enough_of_the_past() {
        for (length, steps, stride) in [(0, 4, 1), (3, 4, 2), (4, 4, 4), (11, 4, 3), (30, 8, 1)] {
            let mut read = vec![0; length];
            for window in windows(0, length, steps, stride) {
                let end = (window.from + steps).min(length);
                for (step, times) in read.iter_mut().enumerate().take(end).skip(window.read) {
                    *times += 1;
                    assert!(step - window.from >= step.min(steps - stride));
                }
            }
            assert!(read.iter().all(|times| *times == 1), "{length} {read:?}");
        }
    }

    fn corpus(length: usize) -> Corpus {
        let mut live = vec![true; length];
        live[1] = false;
        let episode = |action| Episode {
            path: 0,
            first: 0,
            actions: vec![action; length],
            sizes: vec![f32::NAN; length],
            returns: vec![7.0; length],
            risks: vec![f32::NAN; length],
            values: vec![f32::NAN; length * 2],
        };
        Corpus {
            state: 1,
            actions: 2,
            paths: vec![Path {
                states: (0..length).map(|step| step as f32 / 4.0).collect(),
                valid: vec![1.0; length],
                live,
            }],
            episodes: vec![episode(0), episode(1)],
            statistics: Statistics {
                return_scale: 0.5,
                ..Statistics::identity(1)
            },
            draw: Draw {
                whole: false,
                unconditioned: 0.0,
            },
        }
    }

    #[test]
    fn a_return_becomes_the_estimate_for_the_action_taken_and_masked_steps_keep_theirs() {
        let spec = Spec {
            state: 1,
            actions: 2,
            steps: 4,
            d_model: 8,
            heads: 2,
            d_ff: 16,
            bands: vec![2, 2],
        };
        let model = DecisionTransformer::new(&spec, 3, &Device::flex());
        let corpus = corpus(4);
        let relabelled = relabel(&corpus, &model, &spec, Relabelling { rows: 3, stride: 4 });
        for (episode, lived) in relabelled.episodes.iter().enumerate() {
            let mut batch = Batch::empty(1, 4, 1, 2);
            batch.states.copy_from_slice(&corpus.paths[0].states);
            batch.valid.fill(1.0);
            batch.live = vec![1.0, 0.0, 1.0, 1.0];
            batch.previous[1..].fill(u32::try_from(episode).expect("two"));
            let values = model.predict(&batch, &corpus.statistics, &spec).value;
            for step in 0..4 {
                let expected = if step == 1 {
                    7.0
                } else {
                    values[step * 2 + episode] * 0.5
                };
                let close = (lived.returns[step] - expected).abs() <= 1e-6;
                assert!(close, "{} {expected}", lived.returns[step]);
            }
        }
    }

    #[test]
    fn windows_that_slide_agree_with_one_window_while_the_past_that_matters_is_known() {
        let spec = |steps| Spec {
            state: 1,
            actions: 2,
            steps,
            d_model: 8,
            heads: 2,
            d_ff: 16,
            bands: vec![2, 2],
        };
        let model = DecisionTransformer::new(&spec(12), 3, &Device::flex());
        let corpus = corpus(12);
        let one = relabel(
            &corpus,
            &model,
            &spec(12),
            Relabelling {
                rows: 8,
                stride: 12,
            },
        );
        // Three groups matter to an answer, and a window of four that moves by one knows them all.
        let many = relabel(
            &corpus,
            &model,
            &spec(4),
            Relabelling { rows: 5, stride: 1 },
        );
        for (one, many) in one.episodes.iter().zip(&many.episodes) {
            for (one, many) in one.returns.iter().zip(&many.returns) {
                assert!((one - many).abs() <= 1e-6, "{one} {many}");
            }
        }
    }
}
