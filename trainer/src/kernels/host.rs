//! The arithmetic of [`super`] on plain slices, written so that the compiler finds the vectors in it.
//!
//! Every function exists once, and is compiled three times: for AVX-512, for AVX2, and for what every processor has.
//! Sums run in an order that does not depend on threads, so that a repeated step has the same bits on one machine.

use gemm::Parallelism;
use rayon::prelude::*;

use super::Sight;
use crate::spec::{HIDDEN, TOKENS};

/// Rows that one task of [`norm`] and [`norm_backward`] works through.
const ROWS: usize = 256;
/// Multiplications below which a product is left to one thread.
const PRODUCT_ALONE: usize = 1 << 22;
/// Values that one task of [`gelu`] works through.
const VALUES: usize = 16_384;
/// Numbers that are added side by side in a sum.
const LANES: usize = 16;

/// Compiles a generic body for the instruction sets that matter, and calls the best that is there.
macro_rules! fastest {
    ($name:ident = $body:ident($($argument:ident: $type:ty),*)) => {
        fn $name($($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx2,fma")]
                fn wide($($argument: $type),*) {
                    $body::<true>($($argument),*);
                }
                #[target_feature(enable = "avx2,fma")]
                fn middle($($argument: $type),*) {
                    $body::<true>($($argument),*);
                }
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                {
                    // SAFETY: the processor has been asked for these instructions.
                    return unsafe { wide($($argument),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the processor has been asked for these instructions.
                    return unsafe { middle($($argument),*) };
                }
            }
            $body::<false>($($argument),*);
        }
    };
}

/// `a · b + c`, in one instruction where there is one.
#[inline(always)]
fn fma<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// `y += a · x`.
#[inline(always)]
fn axpy<const FUSED: bool>(a: f32, x: &[f32], y: &mut [f32]) {
    let (x, x_rest) = x.as_chunks::<LANES>();
    let (y, y_rest) = y.as_chunks_mut::<LANES>();
    for (y, x) in y.iter_mut().zip(x) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = fma::<FUSED>(a, *x, *y);
        }
    }
    for (y, x) in y_rest.iter_mut().zip(x_rest) {
        *y = fma::<FUSED>(a, *x, *y);
    }
}

/// `y ← y + Σ aᵢ xᵢ` over rows `xᵢ` that lie `stride` apart, all at least as long as `y`.
#[inline(always)]
fn combine<const FUSED: bool>(a: &[f32], x: &[f32], stride: usize, y: &mut [f32]) {
    let (chunks, rest) = y.as_chunks_mut::<LANES>();
    let done = chunks.len() * LANES;
    for (chunk, y) in chunks.iter_mut().enumerate() {
        let mut sum = *y;
        for (a, x) in a.iter().zip(x[chunk * LANES..].chunks(stride)) {
            for (sum, x) in sum.iter_mut().zip(&x[..LANES]) {
                *sum = fma::<FUSED>(*a, *x, *sum);
            }
        }
        *y = sum;
    }
    for (place, y) in rest.iter_mut().enumerate() {
        for (a, x) in a.iter().zip(x[done + place..].chunks(stride)) {
            *y = fma::<FUSED>(*a, x[0], *y);
        }
    }
}

/// `Σ f(a, b)` in lanes.
#[inline(always)]
fn sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f(*a, *b);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| f(*a, *b)).sum();
    lanes.iter().sum::<f32>() + rest
}

/// `eˣ` for `x ≤ 0` to about one unit in the last place, and exactly zero below −87 (the polynomial is that of the
/// Cephes library, Moshier 1989).
#[inline(always)]
fn exp<const FUSED: bool>(x: f32) -> f32 {
    /// Adding this to a small number rounds it to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = fma::<FUSED>(x.max(-87.0), std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FUSED>(n, -0.693_359_4, x.max(-87.0));
    let r = fma::<FUSED>(n, 2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4;
    for c in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        0.166_666_66,
        0.5,
    ] {
        p = fma::<FUSED>(p, r, c);
    }
    let y = fma::<FUSED>(p * r, r, r) + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    if x < -87.0 { 0.0 } else { y * power }
}

/// The normal distribution's `Φ(x)` to 1e-7, and `e^(−x²/2)` (Abramowitz & Stegun 1964, 7.1.26).
#[inline(always)]
fn normal<const FUSED: bool>(x: f32) -> (f32, f32) {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let bell = exp::<FUSED>(-0.5 * x * x);
    let t = 1.0 / fma::<FUSED>(0.327_591_1, z, 1.0);
    let mut p = 1.061_405_4_f32;
    for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = fma::<FUSED>(p, t, c);
    }
    let tail = 0.5 * p * t * bell;
    (if x < 0.0 { tail } else { 1.0 - tail }, bell)
}

#[inline(always)]
fn gelu_body<const FUSED: bool>(x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = *x * normal::<FUSED>(*x).0;
    }
}
fastest!(gelu_part = gelu_body(x: &[f32], y: &mut [f32]));

#[inline(always)]
fn gelu_slope_body<const FUSED: bool>(x: &[f32], slope: &[f32], y: &mut [f32]) {
    /// `1 / √(2π)`.
    const SCALE: f32 = 0.398_942_3;
    for ((y, x), slope) in y.iter_mut().zip(x).zip(slope) {
        let (below, bell) = normal::<FUSED>(*x);
        *y = *slope * fma::<FUSED>(*x * SCALE, bell, below);
    }
}
fastest!(gelu_slope_part = gelu_slope_body(x: &[f32], slope: &[f32], y: &mut [f32]));

/// `x · Φ(x)` (Hendrycks & Gimpel 2016).
pub(super) fn gelu(x: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    y.par_chunks_mut(VALUES)
        .zip(x.par_chunks(VALUES))
        .for_each(|(y, x)| gelu_part(x, y));
    y
}

/// The slope at `x` times that of what follows.
pub(super) fn gelu_backward(x: &[f32], slope: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    y.par_chunks_mut(VALUES)
        .zip(x.par_chunks(VALUES).zip(slope.par_chunks(VALUES)))
        .for_each(|(y, (x, slope))| gelu_slope_part(x, slope, y));
    y
}

/// Mean and one over the standard deviation of a row.
#[inline(always)]
fn moments(x: &[f32], epsilon: f32) -> (f32, f32) {
    #[expect(clippy::cast_precision_loss, reason = "a width of some hundreds")]
    let width = x.len() as f32;
    let mean = sum(x, x, |x, _| x) / width;
    let variance = sum(x, x, |x, _| (x - mean) * (x - mean)) / width;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

#[inline(always)]
fn norm_body<const FUSED: bool>(
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    y: &mut [f32],
) {
    let width = gamma.len();
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
        let (mean, inverse) = moments(x, epsilon);
        for (((y, x), gamma), beta) in y.iter_mut().zip(x).zip(gamma).zip(beta) {
            *y = fma::<FUSED>((*x - mean) * inverse, *gamma, *beta);
        }
    }
}
fastest!(norm_part = norm_body(x: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32, y: &mut [f32]));

/// Layer norm of rows (Ba et al. 2016).
pub(super) fn norm(x: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    let part = ROWS * gamma.len();
    y.par_chunks_mut(part)
        .zip(x.par_chunks(part))
        .for_each(|(y, x)| norm_part(x, gamma, beta, epsilon, y));
    y
}

#[inline(always)]
fn norm_slope_body<const FUSED: bool>(
    x: &[f32],
    gamma: &[f32],
    epsilon: f32,
    slope: &[f32],
    dx: &mut [f32],
    sums: &mut [f32],
) {
    let width = gamma.len();
    #[expect(clippy::cast_precision_loss, reason = "a width of some hundreds")]
    let share = 1.0 / width as f32;
    let (dgamma, dbeta) = sums.split_at_mut(width);
    let mut unit = vec![0.0; width];
    let mut scaled = vec![0.0; width];
    for ((x, slope), dx) in x
        .chunks_exact(width)
        .zip(slope.chunks_exact(width))
        .zip(dx.chunks_exact_mut(width))
    {
        let (mean, inverse) = moments(x, epsilon);
        for i in 0..width {
            unit[i] = (x[i] - mean) * inverse;
            scaled[i] = slope[i] * gamma[i];
            dgamma[i] = fma::<FUSED>(slope[i], unit[i], dgamma[i]);
            dbeta[i] += slope[i];
        }
        let one = share * sum(&scaled, &unit, |scaled, _| scaled);
        let two = share * sum(&scaled, &unit, |scaled, unit| scaled * unit);
        for ((dx, scaled), unit) in dx.iter_mut().zip(&scaled).zip(&unit) {
            *dx = inverse * (*scaled - one - *unit * two);
        }
    }
}
fastest!(
    norm_slope_part = norm_slope_body(
        x: &[f32],
        gamma: &[f32],
        epsilon: f32,
        slope: &[f32],
        dx: &mut [f32],
        sums: &mut [f32]
    )
);

/// Slopes of [`norm`] by `x`, `gamma` and `beta`.
pub(super) fn norm_backward(
    x: &[f32],
    gamma: &[f32],
    epsilon: f32,
    slope: &[f32],
) -> [Vec<f32>; 3] {
    let width = gamma.len();
    let part = ROWS * width;
    let mut dx = vec![0.0; x.len()];
    let sums: Vec<Vec<f32>> = dx
        .par_chunks_mut(part)
        .zip(x.par_chunks(part).zip(slope.par_chunks(part)))
        .map(|(dx, (x, slope))| {
            let mut sums = vec![0.0; 2 * width];
            norm_slope_part(x, gamma, epsilon, slope, dx, &mut sums);
            sums
        })
        .collect();
    let mut dgamma = added(sums, 2 * width);
    let dbeta = dgamma.split_off(width);
    [dx, dgamma, dbeta]
}

/// A matrix in memory: where it begins, and how far apart its rows and its columns are.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    values: &'a [f32],
    row: usize,
    column: usize,
}

impl<'a> Matrix<'a> {
    fn rows_of(values: &'a [f32], width: usize) -> Self {
        let (row, column) = (width, 1);
        Self {
            values,
            row,
            column,
        }
    }

    fn turned(self) -> Self {
        let (row, column) = (self.column, self.row);
        Self {
            row,
            column,
            ..self
        }
    }
}

/// `y ← a b`, or `y ← y + a b`, for `a` `[m, k]`, `b` `[k, n]` and `y` `[m, n]` row by row.
fn product([m, k, n]: [usize; 3], a: Matrix<'_>, b: Matrix<'_>, y: &mut [f32], add: bool) {
    let last = |matrix: Matrix<'_>, rows: usize, columns: usize| {
        (rows - 1) * matrix.row + (columns - 1) * matrix.column
    };
    assert!(last(a, m, k) < a.values.len() && last(b, k, n) < b.values.len() && y.len() == m * n);
    let threads = if m * k * n < PRODUCT_ALONE {
        Parallelism::None
    } else {
        Parallelism::Rayon(0)
    };
    let stride = |value: usize| isize::try_from(value).expect("a stride within memory");
    // SAFETY: the largest index of each of the three matrices has been checked to lie in its slice.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y.as_mut_ptr(),
            1,
            stride(n),
            add,
            a.values.as_ptr(),
            stride(a.column),
            stride(a.row),
            b.values.as_ptr(),
            stride(b.column),
            stride(b.row),
            1.0,
            1.0,
            false,
            false,
            false,
            threads,
        );
    }
}

/// `x w + b`, for `x` `[rows, inputs]`, `w` `[inputs, outputs]` and `b` `[outputs]`.
pub(super) fn linear(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let (outputs, inputs) = (bias.len(), weight.len() / bias.len());
    let rows = x.len() / inputs;
    let mut y = bias.repeat(rows);
    let (x, weight) = (Matrix::rows_of(x, inputs), Matrix::rows_of(weight, outputs));
    product([rows, inputs, outputs], x, weight, &mut y, true);
    y
}

/// Slope of [`linear`] by `x`.
pub(super) fn linear_by_input(weight: &[f32], slope: &[f32], outputs: usize) -> Vec<f32> {
    let (inputs, rows) = (weight.len() / outputs, slope.len() / outputs);
    let mut dx = vec![0.0; rows * inputs];
    let weight = Matrix::rows_of(weight, outputs).turned();
    product(
        [rows, outputs, inputs],
        Matrix::rows_of(slope, outputs),
        weight,
        &mut dx,
        false,
    );
    dx
}

/// Slope of [`linear`] by `w`.
pub(super) fn linear_by_weight(x: &[f32], slope: &[f32], outputs: usize) -> Vec<f32> {
    let rows = slope.len() / outputs;
    let inputs = x.len() / rows;
    let mut dw = vec![0.0; inputs * outputs];
    let x = Matrix::rows_of(x, inputs).turned();
    product(
        [inputs, rows, outputs],
        x,
        Matrix::rows_of(slope, outputs),
        &mut dw,
        false,
    );
    dw
}

/// Slope of [`linear`] by `b`.
pub(super) fn linear_by_bias(slope: &[f32], outputs: usize) -> Vec<f32> {
    let sums = slope
        .par_chunks(ROWS * outputs)
        .map(|part| {
            part.chunks_exact(outputs)
                .fold(vec![0.0; outputs], |mut sum, row| {
                    axpy::<false>(1.0, row, &mut sum);
                    sum
                })
        })
        .collect();
    added(sums, outputs)
}

/// The sum of parts, in their order.
fn added(parts: Vec<Vec<f32>>, width: usize) -> Vec<f32> {
    parts.into_iter().fold(vec![0.0; width], |mut sum, part| {
        axpy::<false>(1.0, &part, &mut sum);
        sum
    })
}

/// One sequence and what surrounds its attention. N keys, Q queries, d wide.
struct Scene<'a> {
    sight: &'a Sight,
    /// Which sequence of the batch it is.
    row: usize,
    /// `[Q, d]`.
    q: &'a [f32],
    /// Keys, then values: `[N, 2d]`.
    kv: &'a [f32],
    /// `[H, 3 · band]`.
    relative: &'a [f32],
    width: usize,
}

/// Space for one head.
struct Space {
    /// Keys and values, transposed: `[d/H, N + LANES]` each, so that the last lanes may reach beyond what is seen.
    keys: Vec<f32>,
    values: Vec<f32>,
    /// Bias by distance, the furthest first: `[3 · band]`.
    bias: Vec<f32>,
    /// Shares of a query's visible keys, zero in the lanes beyond, and their slopes.
    shares: Vec<f32>,
    slopes: Vec<f32>,
    /// A query over the root of its width: `[d/H]`.
    query: Vec<f32>,
}

impl Scene<'_> {
    fn keys(&self) -> usize {
        self.kv.len() / (2 * self.width)
    }

    fn per_head(&self) -> usize {
        self.width / self.sight.heads
    }

    fn space(&self) -> Space {
        let (n, wide) = (self.keys(), self.per_head());
        let padded = n + LANES;
        Space {
            keys: vec![0.0; padded * wide],
            values: vec![0.0; padded * wide],
            bias: vec![0.0; TOKENS * self.sight.band],
            shares: vec![0.0; padded],
            slopes: vec![0.0; padded],
            query: vec![0.0; wide],
        }
    }

    /// Lays out a head.
    #[inline(always)]
    fn prepare(&self, head: usize, space: &mut Space) {
        let (padded, wide, d) = (self.keys() + LANES, self.per_head(), self.width);
        for (key, row) in self.kv.chunks_exact(2 * d).enumerate() {
            for c in 0..wide {
                space.keys[c * padded + key] = row[head * wide + c];
                space.values[c * padded + key] = row[d + head * wide + c];
            }
        }
        let reach = space.bias.len();
        let relative = &self.relative[head * reach..][..reach];
        for (bias, relative) in space.bias.iter_mut().zip(relative.iter().rev()) {
            *bias = *relative;
        }
    }

    /// The keys that a query sees, and where their biases begin.
    #[inline(always)]
    fn visible(&self, query: usize) -> (usize, usize, usize) {
        let every = self.sight.every;
        let at = query * every + every - 1;
        let first = TOKENS * (at / TOKENS + 1).saturating_sub(self.sight.band);
        (first, at + 1, TOKENS * self.sight.band - 1 - (at - first))
    }

    /// Shares that a query gives to the keys it sees, into `space.shares`.
    #[inline(always)]
    fn attend<const FUSED: bool>(&self, head: usize, query: usize, space: &mut Space) {
        let (n, wide) = (self.keys(), self.per_head());
        let (first, end, bias) = self.visible(query);
        let count = end - first;
        #[expect(clippy::cast_precision_loss, reason = "a width of some dozens")]
        let scale = 1.0 / (wide as f32).sqrt();
        let q = &self.q[query * self.width + head * wide..][..wide];
        for (scaled, q) in space.query.iter_mut().zip(q) {
            *scaled = scale * q;
        }
        let scores = &mut space.shares[..count.next_multiple_of(LANES)];
        scores[..count].copy_from_slice(&space.bias[bias..bias + count]);
        combine::<FUSED>(&space.query, &space.keys[first..], n + LANES, scores);
        scores[count..].fill(HIDDEN);
        if let Some(live) = &self.sight.live {
            let own = (end - 1) / TOKENS;
            let live = &live[self.row * n / TOKENS..][..n / TOKENS];
            for step in (first / TOKENS..own).filter(|step| !live[*step]) {
                let key = step * TOKENS - first;
                for score in &mut scores[key..key + TOKENS] {
                    *score += HIDDEN;
                }
            }
        }
        let (chunks, _) = scores.as_chunks_mut::<LANES>();
        let mut most = [f32::NEG_INFINITY; LANES];
        for chunk in &*chunks {
            for (most, score) in most.iter_mut().zip(chunk) {
                *most = most.max(*score);
            }
        }
        let most = most.into_iter().fold(f32::NEG_INFINITY, f32::max);
        let mut sums = [0.0_f32; LANES];
        for chunk in &mut *chunks {
            for (score, sum) in chunk.iter_mut().zip(&mut sums) {
                *score = exp::<FUSED>(*score - most);
                *sum += *score;
            }
        }
        let inverse = 1.0 / sums.iter().sum::<f32>();
        for chunk in chunks {
            for share in chunk {
                *share *= inverse;
            }
        }
    }
}

#[inline(always)]
fn attention_body<const FUSED: bool>(scene: &Scene<'_>, y: &mut [f32]) {
    let (wide, d) = (scene.per_head(), scene.width);
    let mut space = scene.space();
    for head in 0..scene.sight.heads {
        scene.prepare(head, &mut space);
        for query in 0..y.len() / d {
            scene.attend::<FUSED>(head, query, &mut space);
            let (first, end, _) = scene.visible(query);
            let y = &mut y[query * d + head * wide..][..wide];
            for (key, share) in (first..end).zip(&space.shares) {
                axpy::<FUSED>(
                    *share,
                    &scene.kv[key * 2 * d + d + head * wide..][..wide],
                    y,
                );
            }
        }
    }
}
fastest!(attention_part = attention_body(scene: &Scene<'_>, y: &mut [f32]));

/// `softmax(q kᵀ / √d_head + relative + mask) v` over visible keys: `[B, Q, d]`.
pub(super) fn attention(q: &[f32], kv: &[f32], relative: &[f32], sight: &Sight) -> Vec<f32> {
    let mut y = vec![0.0; q.len()];
    let (q_part, kv_part) = (q.len() / sight.rows, kv.len() / sight.rows);
    y.par_chunks_mut(q_part)
        .zip(q.par_chunks(q_part).zip(kv.par_chunks(kv_part)))
        .enumerate()
        .for_each(|(row, (y, (q, kv)))| {
            let width = sight.width;
            let scene = Scene {
                sight,
                row,
                q,
                kv,
                relative,
                width,
            };
            attention_part(&scene, y);
        });
    y
}

#[inline(always)]
fn attention_slope_body<const FUSED: bool>(
    scene: &Scene<'_>,
    slope: &[f32],
    dq: &mut [f32],
    dkv: &mut [f32],
    drelative: &mut [f32],
) {
    let (n, wide, d) = (scene.keys(), scene.per_head(), scene.width);
    let mut space = scene.space();
    let reach = space.bias.len();
    #[expect(clippy::cast_precision_loss, reason = "a width of some dozens")]
    let scale = 1.0 / (wide as f32).sqrt();
    for head in 0..scene.sight.heads {
        scene.prepare(head, &mut space);
        let mut dbias = vec![0.0; reach];
        for query in 0..dq.len() / d {
            scene.attend::<FUSED>(head, query, &mut space);
            let (first, end, bias) = scene.visible(query);
            let count = end - first;
            let at = query * d + head * wide;
            let (q, slope) = (&scene.q[at..][..wide], &slope[at..][..wide]);
            let padded = count.next_multiple_of(LANES);
            let (shares, slopes) = (&space.shares[..padded], &mut space.slopes[..padded]);
            slopes.fill(0.0);
            combine::<FUSED>(slope, &space.values[first..], n + LANES, slopes);
            let mean = sum(shares, slopes, |share, slope| share * slope);
            for (slope, share) in slopes.iter_mut().zip(shares) {
                *slope = *share * (*slope - mean);
            }
            axpy::<FUSED>(1.0, &slopes[..count], &mut dbias[bias..bias + count]);
            for slope in &mut *slopes {
                *slope *= scale;
            }
            let keys = &scene.kv[first * 2 * d + head * wide..];
            combine::<FUSED>(&slopes[..count], keys, 2 * d, &mut dq[at..][..wide]);
            for (key, (share, score)) in (first..end).zip(shares.iter().zip(&*slopes)) {
                let at = key * 2 * d + head * wide;
                axpy::<FUSED>(*score, q, &mut dkv[at..][..wide]);
                axpy::<FUSED>(*share, slope, &mut dkv[at + d..][..wide]);
            }
        }
        let drelative = &mut drelative[head * reach..][..reach];
        for (drelative, dbias) in drelative.iter_mut().zip(dbias.iter().rev()) {
            *drelative = *dbias;
        }
    }
}
fastest!(
    attention_slope_part = attention_slope_body(
        scene: &Scene<'_>,
        slope: &[f32],
        dq: &mut [f32],
        dkv: &mut [f32],
        drelative: &mut [f32]
    )
);

/// Slopes of [`attention`] by `q`, `kv` and `relative`.
pub(super) fn attention_backward(
    q: &[f32],
    kv: &[f32],
    relative: &[f32],
    sight: &Sight,
    slope: &[f32],
) -> [Vec<f32>; 3] {
    let mut dq = vec![0.0; q.len()];
    let mut dkv = vec![0.0; kv.len()];
    let (q_part, kv_part) = (q.len() / sight.rows, kv.len() / sight.rows);
    let parts: Vec<Vec<f32>> = dq
        .par_chunks_mut(q_part)
        .zip(dkv.par_chunks_mut(kv_part))
        .zip(q.par_chunks(q_part).zip(kv.par_chunks(kv_part)))
        .zip(slope.par_chunks(q_part))
        .enumerate()
        .map(|(row, (((dq, dkv), (q, kv)), slope))| {
            let width = sight.width;
            let scene = Scene {
                sight,
                row,
                q,
                kv,
                relative,
                width,
            };
            let mut drelative = vec![0.0; relative.len()];
            attention_slope_part(&scene, slope, dq, dkv, &mut drelative);
            drelative
        })
        .collect();
    [dq, dkv, added(parts, relative.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(points: &[f32], f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> f64 {
        let far = |x: f32| (f64::from(f(x)) - exact(f64::from(x))).abs();
        points.iter().map(|x| far(*x)).fold(0.0, f64::max)
    }

    fn points() -> Vec<f32> {
        (-4_000_i16..4_000).map(|i| f32::from(i) / 400.0).collect()
    }

    #[test]
    fn the_exponential_is_that_of_the_library_and_ends_in_zero() {
        let below: Vec<f32> = points().iter().map(|x| -x.abs()).collect();
        assert!(through(&below, exp::<false>, f64::exp) < 2e-7);
        assert!(through(&below, exp::<true>, f64::exp) < 2e-7);
        let relative = |x: f32| exp::<true>(x) / x.exp() - 1.0;
        assert!(relative(-60.3).abs() < 1e-6 && relative(-1e-6).abs() < 1e-6);
        assert!(exp::<true>(0.0) == 1.0 && exp::<true>(HIDDEN) == 0.0);
    }

    /// Values of Φ from Abramowitz & Stegun (1964), table 26.1.
    #[test]
    fn the_normal_distribution_is_that_of_the_table() {
        for (x, expected) in [
            (0.0, 0.5),
            (0.5, 0.691_462_46),
            (1.0, 0.841_344_75),
            (2.0, 0.977_249_87),
            (-1.5, 0.066_807_2),
            (-3.0, 0.001_349_898),
        ] {
            assert!((normal::<true>(x).0 - expected).abs() < 3e-7, "{x}");
            assert!((normal::<false>(x).0 - expected).abs() < 3e-7, "{x}");
        }
    }
}
