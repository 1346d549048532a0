//! What one training step reads, as plain numbers on the host.

/// `size` sequences of `steps` steps, row by row: index `[b, t, …]` lies at `(b · steps + t) · … `.
///
/// B sequences, T steps, S features, A classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Sequences (B).
    pub size: usize,
    /// Steps of each (T).
    pub steps: usize,
    /// Raw features, zero where unknown: `[B, T, S]`.
    pub states: Vec<f32>,
    /// One where a feature is known, else zero: `[B, T, S]`.
    pub valid: Vec<f32>,
    /// Class of the action before the step, `A` for none: `[B, T]`.
    pub previous: Vec<u32>,
    /// Its size: `[B, T]`.
    pub previous_size: Vec<f32>,
    /// Return-to-go in raw units; zero where it is not shown: `[B, T]`.
    pub returns: Vec<f32>,
    /// One where the return-to-go is shown to the model: `[B, T]`.
    pub known: Vec<f32>,
    /// One where the step may be attended to; zero where it is padded or masked: `[B, T]`.
    pub live: Vec<f32>,
    /// Class of the action taken at the step: `[B, T]`.
    pub action: Vec<u32>,
    /// Weight of the step's action, size and risk losses; zero where nothing may be learned: `[B, T]`.
    pub weight: Vec<f32>,
    /// Position size taken, in `[0, 1]`: `[B, T]`.
    pub position: Vec<f32>,
    /// Weight of the position loss; zero for an action without size: `[B, T]`.
    pub position_weight: Vec<f32>,
    /// Risk met, in `[0, 1]`: `[B, T]`.
    pub risk: Vec<f32>,
    /// Return-to-go of each action in raw units, where it is known: `[B, T, A]`.
    pub value: Vec<f32>,
    /// One where `value` is known and may be learned: `[B, T, A]`.
    pub value_weight: Vec<f32>,
}

impl Batch {
    /// Sequences in which nothing is live yet: states unknown, no previous action, no weight.
    #[must_use]
    pub fn empty(size: usize, steps: usize, state: usize, actions: usize) -> Self {
        let cells = size * steps;
        let none = u32::try_from(actions).expect("a handful of actions");
        Self {
            size,
            steps,
            states: vec![0.0; cells * state],
            valid: vec![0.0; cells * state],
            previous: vec![none; cells],
            previous_size: vec![0.0; cells],
            returns: vec![0.0; cells],
            known: vec![0.0; cells],
            live: vec![0.0; cells],
            action: vec![0; cells],
            weight: vec![0.0; cells],
            position: vec![0.0; cells],
            position_weight: vec![0.0; cells],
            risk: vec![0.0; cells],
            value: vec![0.0; cells * actions],
            value_weight: vec![0.0; cells * actions],
        }
    }

    /// Some of its sequences.
    #[must_use]
    pub fn rows(&self, rows: std::ops::Range<usize>) -> Self {
        let part = |values: &[f32]| {
            let wide = values.len() / self.size;
            values[rows.start * wide..rows.end * wide].to_vec()
        };
        let classes =
            |values: &[u32]| values[rows.start * self.steps..rows.end * self.steps].to_vec();
        Self {
            size: rows.len(),
            steps: self.steps,
            states: part(&self.states),
            valid: part(&self.valid),
            previous: classes(&self.previous),
            previous_size: part(&self.previous_size),
            returns: part(&self.returns),
            known: part(&self.known),
            live: part(&self.live),
            action: classes(&self.action),
            weight: part(&self.weight),
            position: part(&self.position),
            position_weight: part(&self.position_weight),
            risk: part(&self.risk),
            value: part(&self.value),
            value_weight: part(&self.value_weight),
        }
    }
}
