//! A corpus as rows of a table: what a step shows, and what it teaches.

use crate::corpus::{Corpus, Path};

use super::{BaselineError, Terms};

/// The best episodes: one in so many.
const BEST_SHARE: usize = 4;

/// N rows of L steps of S features, and their targets; NaN where nothing is known.
pub(super) struct Rows {
    /// Rows (N).
    pub(super) count: usize,
    /// Numbers of a row's states: L · S.
    pub(super) wide: usize,
    /// Classes (A).
    pub(super) actions: usize,
    /// Raw features, zero where unknown: `[N, L · S]`.
    pub(super) states: Vec<f32>,
    /// One where a feature is known: `[N, L · S]`.
    pub(super) valid: Vec<f32>,
    /// The class to choose, where it is known: `[N]`.
    pub(super) class: Vec<Option<usize>>,
    /// Size, risk and values over the return scale: `[N, 2 + A]`.
    pub(super) targets: Vec<f32>,
}

/// What the episodes say of each step of a path: T steps of A classes.
struct Gathered {
    value: Vec<Mean>,
    size: Vec<Mean>,
    risk: Vec<Mean>,
    votes: Vec<u32>,
    seen: Vec<bool>,
}

#[derive(Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, value: f32) {
        if value.is_finite() {
            self.sum += f64::from(value);
            self.count += 1;
        }
    }

    fn get(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

impl Rows {
    /// The rows of a corpus.
    ///
    /// # Errors
    /// When it is empty, inconsistent, or teaches one class only.
    pub(super) fn of(corpus: &Corpus, terms: &Terms) -> Result<Self, BaselineError> {
        let (state, actions) = (corpus.state, corpus.actions);
        let gathered = gather(corpus)?;
        let all: Vec<(usize, usize)> = gathered
            .iter()
            .enumerate()
            .flat_map(|(path, one)| {
                let live = &corpus.paths[path].live;
                (0..live.len())
                    .filter(move |step| live[*step] && one.seen[*step])
                    .map(move |step| (path, step))
            })
            .collect();
        if all.is_empty() {
            return Err(BaselineError(
                "the corpus has no step to learn from; import more history, or check what masks it"
                    .to_owned(),
            ));
        }
        let count = all.len().min(terms.rows);
        let scale = f64::from(corpus.statistics.return_scale);
        let mut rows = Self {
            count,
            wide: terms.look_back * state,
            actions,
            states: Vec::with_capacity(count * terms.look_back * state),
            valid: Vec::with_capacity(count * terms.look_back * state),
            class: Vec::with_capacity(count),
            targets: Vec::with_capacity(count * (2 + actions)),
        };
        for row in 0..count {
            let (path, step) = all[row * all.len() / count];
            let (states, valid) = seen(&corpus.paths[path], step, terms.look_back, state);
            if states.iter().chain(&valid).any(|one| !one.is_finite()) {
                return Err(BaselineError(format!(
                    "a feature of step {step} on path {path} is not finite; give zero, with a flag of zero, where it is \
                     unknown"
                )));
            }
            rows.states.extend(states);
            rows.valid.extend(valid);
            let one = &gathered[path];
            let class = one.class(step, actions);
            rows.class.push(class);
            let size = class.and_then(|class| one.size[step * actions + class].get());
            let values = one.value[step * actions..][..actions]
                .iter()
                .map(|value| value.get().map(|value| value / scale));
            let targets = [size, one.risk[step].get()].into_iter().chain(values);
            rows.targets.extend(targets.map(single));
        }
        rows.check()?;
        Ok(rows)
    }

    /// Refuses what no classifier can learn.
    fn check(&self) -> Result<(), BaselineError> {
        let mut classes: Vec<usize> = self.class.iter().flatten().copied().collect();
        let known = classes.len();
        classes.sort_unstable();
        classes.dedup();
        match classes[..] {
            [] => Err(BaselineError(format!(
                "none of {} steps says which action is best; give episodes with values or returns",
                self.count
            ))),
            [only] => Err(BaselineError(format!(
                "all {known} steps teach class {only}: one class only cannot be learned; replay other policies or \
                 more history"
            ))),
            _ => Ok(()),
        }
    }

    /// One of the targets of all rows: size, risk, then the values.
    pub(super) fn target(&self, index: usize) -> impl Iterator<Item = f32> + '_ {
        let wide = 2 + self.actions;
        (0..self.count).map(move |row| self.targets[row * wide + index])
    }
}

impl Gathered {
    /// The class that a step teaches.
    fn class(&self, step: usize, actions: usize) -> Option<usize> {
        let values: Vec<(usize, f64)> = self.value[step * actions..][..actions]
            .iter()
            .enumerate()
            .filter_map(|(class, value)| value.get().map(|value| (class, value)))
            .collect();
        if values.len() >= 2 {
            return first_greatest(values.into_iter());
        }
        let votes = &self.votes[step * actions..][..actions];
        first_greatest(
            votes
                .iter()
                .enumerate()
                .filter(|(_, votes)| **votes > 0)
                .map(|(class, votes)| (class, f64::from(*votes))),
        )
    }
}

/// The class of the greatest number; the first of equals.
fn first_greatest(all: impl Iterator<Item = (usize, f64)>) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (class, value) in all {
        if best.is_none_or(|(_, most)| value > most) {
            best = Some((class, value));
        }
    }
    best.map(|(class, _)| class)
}

/// What the episodes of each path say.
fn gather(corpus: &Corpus) -> Result<Vec<Gathered>, BaselineError> {
    let actions = corpus.actions;
    let mut gathered: Vec<Gathered> = corpus
        .paths
        .iter()
        .map(|path| {
            let steps = path.live.len();
            Gathered {
                value: vec![Mean::default(); steps * actions],
                size: vec![Mean::default(); steps * actions],
                risk: vec![Mean::default(); steps],
                votes: vec![0; steps * actions],
                seen: vec![false; steps],
            }
        })
        .collect();
    let bar = best_return(corpus);
    for (index, episode) in corpus.episodes.iter().enumerate() {
        let steps = episode.actions.len();
        let fits = episode.path < gathered.len()
            && episode.first + steps <= gathered[episode.path].seen.len()
            && episode
                .actions
                .iter()
                .all(|class| usize::from(*class) < actions);
        if !fits {
            return Err(BaselineError(format!(
                "episode {index} of the corpus does not fit its path or has an unknown action; make the corpus again"
            )));
        }
        let best = episode.returns.first().is_some_and(|start| *start >= bar);
        let one = &mut gathered[episode.path];
        for at in 0..steps {
            let step = episode.first + at;
            let taken = step * actions + usize::from(episode.actions[at]);
            one.seen[step] = true;
            one.size[taken].add(episode.sizes[at]);
            one.risk[step].add(episode.risks[at]);
            one.votes[taken] += u32::from(best);
            for class in 0..actions {
                one.value[step * actions + class].add(episode.values[at * actions + class]);
            }
        }
    }
    Ok(gathered)
}

/// The return from the start on that the best episodes reach.
fn best_return(corpus: &Corpus) -> f32 {
    let mut starts: Vec<f32> = corpus
        .episodes
        .iter()
        .filter_map(|episode| episode.returns.first().copied())
        .filter(|start| start.is_finite())
        .collect();
    starts.sort_by(|a, b| b.total_cmp(a));
    starts
        .get(starts.len().div_ceil(BEST_SHARE).saturating_sub(1))
        .copied()
        .unwrap_or(f32::INFINITY)
}

/// The last `look_back` steps of a path that end with `step`; zeros before its start and where it is masked.
pub(super) fn seen(
    path: &Path,
    step: usize,
    look_back: usize,
    state: usize,
) -> (Vec<f32>, Vec<f32>) {
    let mut states = vec![0.0; look_back * state];
    let mut valid = states.clone();
    for back in 0..look_back.min(step + 1) {
        let (from, to) = (step - back, look_back - 1 - back);
        if path.live[from] || back == 0 {
            states[to * state..][..state].copy_from_slice(&path.states[from * state..][..state]);
            valid[to * state..][..state].copy_from_slice(&path.valid[from * state..][..state]);
        }
    }
    (states, valid)
}

/// A target as a float; NaN where it is not known.
#[expect(
    clippy::cast_possible_truncation,
    reason = "targets are learned in single precision"
)]
fn single(value: Option<f64>) -> f32 {
    value.map_or(f32::NAN, |value| value as f32)
}
