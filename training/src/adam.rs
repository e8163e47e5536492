//! AdamW as PyTorch has it: moments of the gradient, decay apart from them.
//!
//! The table of words is most of a small model, and a batch touches few of its rows. Rows without a
//! gradient still move (their moments fade, weights decay), but only when they are looked at again:
//! what they missed is made up for step by step, with the learning rates of those steps. The result
//! is that of moving all rows in each step.

use rayon::prelude::*;

use crate::parameters::{Gradient, Gradients, Parameter, ParameterId, Parameters, RowGradients};

/// Tables of at least so many rows are moved row by row.
const LAZY_ROWS: usize = 2048;

/// Missed steps after which a row's momentum is nothing: 0.9 to this power is 2e-12.
const MISSED_MAX: usize = 256;

/// The constants of Adam.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Constants {
    pub(crate) beta1: f32,
    pub(crate) beta2: f32,
    pub(crate) epsilon: f32,
    pub(crate) decay: f32,
}

/// Moments of one parameter.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    pub(crate) first: Vec<f32>,
    pub(crate) second: Vec<f32>,
    /// Up to which step each row is moved; empty where all rows always are.
    pub(crate) moved: Vec<u32>,
}

/// The optimiser with its state.
#[derive(Clone, Debug)]
pub(crate) struct Adam {
    constants: Constants,
    pub(crate) moments: Vec<Moments>,
    /// The learning rate of each step so far.
    rates: Vec<f32>,
    /// The factors of each step so far, for tables, whose rows decay.
    history: Vec<Factors>,
}

/// What one step multiplies with.
#[derive(Clone, Copy, Debug)]
struct Factors {
    keep: f32,
    step: f32,
    root: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
}

impl Factors {
    fn new(constants: &Constants, rate: f32, step: usize, decays: bool) -> Self {
        let power = |beta: f32| f64::from(beta).powi(step as i32);
        let decay = if decays { constants.decay } else { 0.0 };
        Self {
            keep: (1.0 - f64::from(rate) * f64::from(decay)) as f32,
            step: (f64::from(rate) / (1.0 - power(constants.beta1))) as f32,
            root: (1.0 - power(constants.beta2)).sqrt() as f32,
            beta1: constants.beta1,
            beta2: constants.beta2,
            epsilon: constants.epsilon,
        }
    }

    /// Moves one value.
    #[inline(always)]
    fn one(&self, value: &mut f32, first: &mut f32, second: &mut f32, gradient: f32) {
        *first = self.beta1 * *first + (1.0 - self.beta1) * gradient;
        *second = self.beta2 * *second + (1.0 - self.beta2) * gradient * gradient;
        let width = second.sqrt() / self.root + self.epsilon;
        *value = self.keep * *value - self.step * *first / width;
    }
}

/// One row of a table with its moments.
struct Row<'a> {
    values: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    moved: &'a mut u32,
}

impl Row<'_> {
    /// Makes up for the steps in which the row had no gradient. `factors` has those of every step
    /// so far.
    fn catch_up(&mut self, factors: &[Factors]) {
        let until = factors.len();
        let from = *self.moved as usize;
        if from >= until {
            return;
        }
        let missed = &factors[from..until];
        *self.moved = until as u32;
        let was_never_touched = self.second.iter().all(|second| *second == 0.0);
        let (moving, resting) = match was_never_touched {
            true => missed.split_at(0),
            false => missed.split_at(missed.len().min(MISSED_MAX)),
        };
        for factors in moving {
            let state = self.values.iter_mut().zip(&mut *self.first).zip(&mut *self.second);
            state.for_each(|((value, first), second)| factors.one(value, first, second, 0.0));
        }
        for factors in resting.iter().filter(|factors| factors.keep != 1.0) {
            self.values.iter_mut().for_each(|value| *value *= factors.keep);
        }
        if let (false, Some(factors)) = (was_never_touched, resting.first()) {
            let power = |beta: f32| f64::from(beta).powi(resting.len() as i32) as f32;
            let (fade1, fade2) = (power(factors.beta1), power(factors.beta2));
            self.first.iter_mut().for_each(|first| *first *= fade1);
            self.second.iter_mut().for_each(|second| *second *= fade2);
        }
    }
}

impl Adam {
    pub(crate) fn new(parameters: &Parameters, constants: Constants) -> Self {
        Self::with_lazy_rows(parameters, constants, LAZY_ROWS)
    }

    fn with_lazy_rows(parameters: &Parameters, constants: Constants, lazy: usize) -> Self {
        let one = |parameter: &Parameter| {
            let size = parameter.values.len();
            let rows = parameter.row_width.map_or(0, |width| size / width);
            let moved = if rows >= lazy { vec![0; rows] } else { Vec::new() };
            Moments { first: vec![0.0; size], second: vec![0.0; size], moved }
        };
        let moments = parameters.all.iter().map(one).collect();
        Self { constants, moments, rates: Vec::new(), history: Vec::new() }
    }

    /// The learning rate of each step so far.
    pub(crate) fn rates(&self) -> &[f32] {
        &self.rates
    }

    /// Takes up the steps of an earlier run; the moments are set apart.
    pub(crate) fn set_rates(&mut self, rates: Vec<f32>) {
        self.history.clear();
        for (step, rate) in rates.iter().enumerate() {
            self.history.push(Factors::new(&self.constants, *rate, step + 1, true));
        }
        self.rates = rates;
    }

    /// Brings rows of a table up to date before they are used.
    pub(crate) fn prepare(&mut self, parameters: &mut Parameters, id: ParameterId, ids: &[u32]) {
        let rows = self.moments[id].moved.len();
        if rows == 0 {
            return;
        }
        let mut is_wanted = vec![false; rows];
        ids.iter().for_each(|id| is_wanted[*id as usize] = true);
        self.catch_up(parameters, id, |row| is_wanted[row]);
    }

    /// Brings all rows of all tables up to date.
    pub(crate) fn finish(&mut self, parameters: &mut Parameters) {
        for id in 0..self.moments.len() {
            if !self.moments[id].moved.is_empty() {
                self.catch_up(parameters, id, |_| true);
            }
        }
    }

    fn catch_up(
        &mut self,
        parameters: &mut Parameters,
        id: ParameterId,
        is_wanted: impl Fn(usize) -> bool + Sync,
    ) {
        let Parameter { values, row_width, .. } = &mut parameters.all[id];
        let history = &self.history;
        let width = row_width.unwrap_or(1);
        let Moments { first, second, moved } = &mut self.moments[id];
        let rows = values
            .par_chunks_mut(width)
            .zip(first.par_chunks_mut(width))
            .zip(second.par_chunks_mut(width))
            .zip(moved);
        rows.enumerate().for_each(|(row, (((values, first), second), moved))| {
            if is_wanted(row) {
                Row { values, first, second, moved }.catch_up(history);
            }
        });
    }

    /// One step with a learning rate. Rows that have a gradient must be up to date.
    pub(crate) fn step(&mut self, parameters: &mut Parameters, gradients: &Gradients, rate: f32) {
        self.rates.push(rate);
        let step = self.rates.len();
        self.history.push(Factors::new(&self.constants, rate, step, true));
        let all = parameters.all.iter_mut().zip(&gradients.0).zip(&mut self.moments);
        for ((parameter, gradient), moments) in all {
            let factors = Factors::new(&self.constants, rate, step, parameter.decays);
            match gradient {
                Gradient::Whole(gradient) => {
                    move_all(&factors, parameter, moments, &|piece| &gradient[piece]);
                }
                Gradient::Rows(rows) if moments.moved.is_empty() => {
                    let mut gradient = vec![0f32; parameter.values.len()];
                    for (row, place) in &rows.places {
                        gradient[*row as usize * rows.width..][..rows.width]
                            .copy_from_slice(&rows.values[*place..place + rows.width]);
                    }
                    move_all(&factors, parameter, moments, &|piece| &gradient[piece]);
                }
                Gradient::Rows(rows) => move_rows(&factors, parameter, moments, rows, step),
            }
        }
    }
}

/// Moves all values of a parameter.
fn move_all<'a>(
    factors: &Factors,
    parameter: &mut Parameter,
    moments: &mut Moments,
    gradient: &(dyn Fn(std::ops::Range<usize>) -> &'a [f32] + Sync),
) {
    const PIECE: usize = 1 << 14;
    let pieces = parameter
        .values
        .par_chunks_mut(PIECE)
        .zip(moments.first.par_chunks_mut(PIECE))
        .zip(moments.second.par_chunks_mut(PIECE))
        .enumerate();
    pieces.for_each(|(piece, ((values, first), second))| {
        let gradient = gradient(piece * PIECE..piece * PIECE + values.len());
        sembla_processor::level::run(
            sembla_processor::Level::active(),
            #[inline(always)]
            || {
                let state = values.iter_mut().zip(first).zip(second).zip(gradient);
                state.for_each(|(((value, first), second), gradient)| {
                    factors.one(value, first, second, *gradient);
                });
            },
        );
    });
}

/// Moves the rows that have a gradient; the others wait.
fn move_rows(
    factors: &Factors,
    parameter: &mut Parameter,
    moments: &mut Moments,
    gradient: &RowGradients,
    step: usize,
) {
    let width = gradient.width;
    let mut places = vec![usize::MAX; moments.moved.len()];
    gradient.places.iter().for_each(|(row, place)| places[*row as usize] = *place);
    let rows = parameter
        .values
        .par_chunks_mut(width)
        .zip(moments.first.par_chunks_mut(width))
        .zip(moments.second.par_chunks_mut(width))
        .zip(&mut moments.moved)
        .zip(&places);
    rows.for_each(|((((values, first), second), moved), place)| {
        if *place == usize::MAX {
            return;
        }
        let gradient = &gradient.values[*place..place + width];
        let state = values.iter_mut().zip(first).zip(second).zip(gradient);
        state.for_each(|(((value, first), second), gradient)| {
            factors.one(value, first, second, *gradient);
        });
        *moved = step as u32;
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;
    use crate::tests::{expected, floats};

    const ROWS: usize = 4;
    const WIDTH: usize = 3;

    fn parameters() -> Parameters {
        let mut parameters = Parameters::default();
        let value = |place: usize| (1.0 + (place / WIDTH + place % WIDTH) as f64).sin() as f32;
        parameters.push(Parameter {
            parts: vec![("table".into(), vec![ROWS, WIDTH])],
            values: (0..ROWS * WIDTH).map(value).collect(),
            decays: true,
            row_width: Some(WIDTH),
        });
        parameters.push(Parameter {
            parts: vec![("bias".into(), vec![2])],
            values: vec![0.5, -0.5],
            decays: false,
            row_width: None,
        });
        parameters
    }

    /// Runs the steps of the fixture, and gives the learning rates and the parameters.
    fn run(schedule: Schedule, lazy: usize) -> (Vec<f32>, Parameters) {
        let mut parameters = parameters();
        let constants = Constants { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.1 };
        let mut adam = Adam::with_lazy_rows(&parameters, constants, lazy);
        let mut rates = Vec::new();
        for step in 0..12usize {
            let touched: Vec<u32> =
                (0..3).filter(|row| !(step + *row as usize).is_multiple_of(3)).collect();
            adam.prepare(&mut parameters, 0, &touched);
            let value = |row: u32, place: usize| {
                (step as f64 + 2.0 * f64::from(row) + place as f64).cos() as f32
            };
            let row = |row: u32| (0..WIDTH).map(move |place| value(row, place));
            let of_rows: Vec<f32> = touched.iter().flat_map(|r| row(*r)).collect();
            let mut gradients = parameters.gradients();
            gradients.add_rows(0, &touched, &of_rows);
            let step_f = step as f64;
            gradients.whole(1).copy_from_slice(&[step_f.cos() as f32, (3.0 * step_f.sin()) as f32]);
            let norm = gradients.norm();
            gradients.scale((1.0 / (norm + 1e-6)).min(1.0) as f32);
            let rate = schedule.rate(0.05, step, 3, 12);
            rates.push(rate);
            adam.step(&mut parameters, &gradients, rate);
        }
        adam.finish(&mut parameters);
        (rates, parameters)
    }

    #[test]
    fn steps_are_those_of_pytorch_whether_rows_wait_or_not() {
        let cases = expected("optimiser.json");
        for (name, schedule) in [("linear", Schedule::Linear), ("cosine", Schedule::Cosine)] {
            for lazy in [1, 1000] {
                let (rates, parameters) = run(schedule, lazy);
                let close = |own: &[f32], key: &str| {
                    let want = floats(&cases[name][key]);
                    assert_eq!(own.len(), want.len());
                    for (own, want) in own.iter().zip(want) {
                        assert!((own - want).abs() < 2e-6, "{name} {key}: {own} {want}");
                    }
                };
                close(&rates, "rates");
                close(parameters.values(0), "values");
                close(parameters.values(1), "bias");
            }
        }
    }
}
