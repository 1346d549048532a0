//! Credit over a long time: the key-to-door task (Mesnard et al. 2020; Chen et al. 2021, section 5).
//!
//! An episode leads through three rooms: one with a key, an empty one, and one with a door. Reaching the door earns 1
//! when the key was picked up, else nothing, and nothing else is ever earned. The key is seen in its room alone, so
//! that afterwards only the past tells whether one has it. The data are episodes of a policy that moves at random,
//! of which as many are kept that failed as succeeded, because success is rare.
//! Asked for a return of 1 the network must fetch the key and go to the door; its value head must know, while nothing
//! is seen in the empty room, what the key is worth.

use tickerml_shared::rand::Rng;

use super::rollout::{
    Aim, Choice, Learned, Lesson, Run, World, corpus, play, predicted, small, teach,
};
use super::{Bar, Proof, TaskError, below, mean, share};

/// Up, down, left, right.
const MOVES: usize = 4;
/// Rooms of an episode.
const ROOMS: usize = 3;

/// One unit of the return token.
const RETURN_SCALE: f32 = 0.25;

/// How big a house is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct House {
    /// Cells along each side of a room.
    side: usize,
    /// Steps spent in each room; the last may end earlier, at the door.
    steps: [usize; ROOMS],
}

impl House {
    const fn features(self) -> usize {
        ROOMS + 3 * 2 * self.side
    }

    fn limit(self) -> usize {
        self.steps.iter().sum()
    }

    /// Cells of a room.
    const fn cells(self) -> usize {
        self.side * self.side
    }

    /// Two different cells of a room: where one enters, and where something lies.
    fn two(self, rng: &mut Rng) -> (usize, usize) {
        let enter = below(rng, self.cells());
        let other = below(rng, self.cells() - 1);
        (enter, other + usize::from(other >= enter))
    }
}

/// Somebody on the way through a house.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Visit {
    house: House,
    room: usize,
    /// Steps taken in this room.
    taken: usize,
    cell: usize,
    /// Where the key lies, while it does.
    key: Option<usize>,
    door: usize,
    has_key: bool,
    over: bool,
}

impl Visit {
    fn new(house: House, rng: &mut Rng) -> Self {
        let (cell, key) = house.two(rng);
        Self {
            house,
            room: 0,
            taken: 0,
            cell,
            key: Some(key),
            door: 0,
            has_key: false,
            over: false,
        }
    }

    /// Goes into the next room, to a random cell of it.
    fn enter(&mut self, rng: &mut Rng) {
        (self.room, self.taken, self.key) = (self.room + 1, 0, None);
        (self.cell, self.door) = self.house.two(rng);
        self.over = self.room == ROOMS;
    }
}

impl World for Visit {
    fn observe(&self, state: &mut [f32]) {
        let side = self.house.side;
        state[self.room] = 1.0;
        let door = (self.room == ROOMS - 1).then_some(self.door);
        for (index, cell) in [Some(self.cell), self.key, door].into_iter().enumerate() {
            if let Some(cell) = cell {
                let from = ROOMS + index * 2 * side;
                state[from + cell / side] = 1.0;
                state[from + side + cell % side] = 1.0;
            }
        }
    }

    fn act(&mut self, action: usize, rng: &mut Rng) -> f32 {
        let side = self.house.side;
        let (row, column) = (self.cell / side, self.cell % side);
        self.cell = match action {
            0 if row > 0 => self.cell - side,
            1 if row + 1 < side => self.cell + side,
            2 if column > 0 => self.cell - 1,
            3 if column + 1 < side => self.cell + 1,
            _ => self.cell,
        };
        if self.key == Some(self.cell) {
            (self.key, self.has_key) = (None, true);
        }
        if self.room == ROOMS - 1 && self.cell == self.door {
            self.over = true;
            return f32::from(u8::from(self.has_key));
        }
        self.taken += 1;
        if self.taken == self.house.steps[self.room] {
            self.enter(rng);
        }
        0.0
    }

    fn over(&self) -> bool {
        self.over
    }
}

/// An episode of moving at random, and whether the key was picked up.
fn wandered(house: House, rng: &mut Rng) -> (Run, bool) {
    let world = Visit::new(house, rng);
    let mut key = false;
    let run = Run::recorded(world, house.features(), house.limit(), rng, |visit, rng| {
        key |= visit.has_key;
        below(rng, MOVES)
    });
    (run, key)
}

/// Episodes of moving at random, as many that failed as succeeded, out of so many that were tried.
fn balanced(house: House, tries: usize, rng: &mut Rng) -> Vec<(Run, bool)> {
    let (mut kept, failed): (Vec<_>, Vec<_>) = (0..tries)
        .map(|_| wandered(house, rng))
        .partition(|(run, _)| run.earned() > 0.0);
    let as_many = kept.len();
    kept.extend(failed.into_iter().take(as_many));
    kept
}

/// What the value head expects of moving at random, and what that is worth, at the first step in the empty room.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Credit {
    /// Expected and earned with the key.
    with: [f64; 2],
    /// Expected and earned without.
    without: [f64; 2],
}

fn credit(house: House, learned: &Learned, episodes: &[(Run, bool)]) -> Credit {
    let runs: Vec<Run> = episodes.iter().map(|(run, _)| run.clone()).collect();
    let values = predicted(learned, &runs);
    let at = house.steps[0];
    let of = |wanted: bool| {
        let chosen = || {
            episodes
                .iter()
                .zip(&values)
                .filter(move |((_, key), _)| *key == wanted)
        };
        [
            mean(chosen().map(|(_, values)| {
                mean(
                    values[at * MOVES..][..MOVES]
                        .iter()
                        .map(|value| f64::from(*value)),
                )
            })),
            mean(chosen().map(|((run, _), _)| f64::from(run.earned()))),
        ]
    };
    Credit {
        with: of(true),
        without: of(false),
    }
}

/// Runs the proof.
///
/// # Errors
/// When training stops.
pub fn prove(seed: u64, short: bool, report: &mut impl FnMut(&str)) -> Result<Proof, TaskError> {
    let (house, tries, steps, width, asked) = if short {
        let house = House {
            side: 3,
            steps: [4, 2, 4],
        };
        (house, 20_000, 1_000, 32, 400)
    } else {
        let house = House {
            side: 4,
            steps: [6, 4, 6],
        };
        (house, 200_000, 1_500, 48, 1_000)
    };
    let mut rng = Rng::new(seed, 200);
    let data: Vec<Run> = balanced(house, tries, &mut rng)
        .into_iter()
        .map(|(run, _)| run)
        .collect();
    let corpus = corpus(&data, house.features(), MOVES, RETURN_SCALE, 0.25);
    let lesson = Lesson {
        steps,
        batch: 64,
        rate: 3e-3,
        seed,
    };
    let spec = small(&corpus, house.limit(), width, 2);
    let learned = teach(&spec, &corpus, lesson, report)?;
    let mut ask = |aim: Aim, choice: Choice| {
        let worlds: Vec<Visit> = (0..asked).map(|_| Visit::new(house, &mut rng)).collect();
        let runs = play(&learned, worlds, &vec![aim; asked], choice, &mut rng);
        share(runs.iter().map(|run| run.earned() > 0.0))
    };
    let success = ask(Aim::Return(1.0), Choice::Greedy);
    let cloned = ask(Aim::Hidden, Choice::Sampled);
    let held_out = balanced(house, tries / 4, &mut rng);
    let Credit { with, without } = credit(house, &learned, &held_out);
    let at_random = share((0..asked).map(|_| wandered(house, &mut rng).0.earned() > 0.0));
    let mut proof = Proof::new("key-to-door");
    proof.add(
        "share of episodes that earn 1 when asked for it",
        success,
        Bar::AtLeast(if short { 0.9 } else { 0.95 }),
    );
    proof.add("... of moving at random", at_random, Bar::Shown);
    proof.add(
        "... of cloned behaviour",
        cloned,
        Bar::AtMost(0.75 * success),
    );
    proof.add(
        "earned in held-out episodes with the key",
        with[1],
        Bar::Shown,
    );
    proof.add(
        "... expected in the empty room by the value head",
        with[0],
        Bar::Shown,
    );
    proof.add(
        "earned in held-out episodes without the key",
        without[1],
        Bar::Shown,
    );
    proof.add(
        "... expected in the empty room by the value head",
        without[0],
        Bar::Shown,
    );
    proof.add(
        "expected gain of the key over its real one",
        (with[0] - without[0]) / (with[1] - without[1]),
        Bar::AtLeast(if short { 0.4 } else { 0.7 }),
    );
    Ok(proof)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUSE: House = House {
        side: 3,
        steps: [4, 2, 4],
    };

    #[test]
    fn the_door_pays_only_who_has_the_key() {
        for (has_key, reward) in [(false, 0.0), (true, 1.0)] {
            let mut visit = Visit {
                house: HOUSE,
                room: 2,
                taken: 0,
                cell: 0,
                key: None,
                door: 1,
                has_key,
                over: false,
            };
            assert_eq!(visit.act(3, &mut Rng::new(1, 1)), reward);
            assert!(visit.over());
        }
    }

    #[test]
    fn nothing_that_is_seen_after_the_first_room_tells_of_the_key() {
        let mut rng = Rng::new(5, 1);
        let mut visit = Visit::new(HOUSE, &mut rng);
        while visit.room == 0 {
            visit.act(0, &mut rng);
        }
        let seen = |has_key: bool| {
            let mut state = vec![0.0; HOUSE.features()];
            Visit { has_key, ..visit }.observe(&mut state);
            state
        };
        assert_eq!(seen(true), seen(false));
        assert_eq!(visit.key, None);
    }

    #[test]
    fn an_episode_ends_at_the_latest_with_its_steps() {
        let mut rng = Rng::new(6, 1);
        for _ in 0..200 {
            let (run, key) = wandered(HOUSE, &mut rng);
            assert!((7..=HOUSE.limit()).contains(&run.actions.len()));
            assert!(key || run.earned() == 0.0);
        }
    }

    #[test]
    fn the_key_is_fetched_for_a_reward_that_comes_much_later() {
        let proof = prove(1, true, &mut |_: &str| ()).expect("a proof");
        assert!(proof.passed(), "\n{proof}");
    }
}
