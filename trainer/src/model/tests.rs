//! What the network must do, whatever its weights.

use super::*;

fn small() -> Spec {
    Spec {
        state: 3,
        actions: 3,
        steps: 12,
        d_model: 16,
        heads: 2,
        d_ff: 32,
        bands: vec![2, 3, 4],
    }
}

fn share(rng: &mut Rng) -> f32 {
    f32::from(u8::try_from(rng.below(200)).expect("below 200")) / 100.0 - 1.0
}

/// Sequences with every input drawn, all steps live.
fn drawn(spec: &Spec, size: usize, steps: usize, seed: u64) -> Batch {
    let mut rng = Rng::new(seed, 1);
    let mut batch = Batch::empty(size, steps, spec.state, spec.actions);
    batch.states.fill_with(|| 3.0 * share(&mut rng));
    batch
        .valid
        .fill_with(|| f32::from(u8::from(rng.below(8) > 0)));
    batch
        .previous
        .fill_with(|| u32::try_from(rng.below(3)).expect("a class"));
    batch.previous_size.fill_with(|| share(&mut rng).abs());
    batch.returns.fill_with(|| share(&mut rng));
    batch
        .known
        .fill_with(|| f32::from(u8::from(rng.below(4) > 0)));
    batch.live.fill(1.0);
    batch
}

/// Fresh weights made so large, and biases so uneven, that nothing hides behind small numbers.
fn loud(spec: &Spec, seed: u64) -> DecisionTransformer {
    let mut rng = Rng::new(seed, 99);
    let tensors = fresh(spec, seed)
        .iter()
        .map(|(name, tensor)| {
            let mut tensor = tensor.clone();
            for value in &mut tensor.values {
                *value = 3.0 * *value + 0.1 * share(&mut rng);
            }
            (name.to_owned(), tensor)
        })
        .collect();
    let weights = Weights::new(spec, tensors).expect("the same shapes");
    DecisionTransformer::from_weights(spec, &weights, &Device::flex())
}

fn ask(model: &DecisionTransformer, spec: &Spec, batch: &Batch) -> HostOutputs {
    model.predict(batch, &Statistics::identity(spec.state), spec)
}

/// All answers at a step of the first sequence, as bits.
fn at(answer: &HostOutputs, spec: &Spec, step: usize) -> Vec<u32> {
    let classes = step * spec.actions..(step + 1) * spec.actions;
    answer.action[classes.clone()]
        .iter()
        .chain(&answer.value[classes])
        .chain([&answer.size[step], &answer.risk[step]])
        .map(|value| value.to_bits())
        .collect()
}

fn furthest(one: &HostOutputs, other: &HostOutputs) -> f32 {
    let all = |answer: &HostOutputs| {
        [&answer.action, &answer.size, &answer.risk, &answer.value]
            .into_iter()
            .flatten()
            .copied()
            .collect::<Vec<f32>>()
    };
    all(one)
        .iter()
        .zip(all(other))
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

#[test]
fn a_step_sees_neither_the_future_nor_beyond_the_bands() {
    let spec = small();
    assert_eq!(spec.receptive_steps(), 7);
    let (model, batch) = (loud(&spec, 1), drawn(&spec, 1, 12, 2));
    let before = ask(&model, &spec, &batch);
    let mut changed = batch.clone();
    changed.states[3 * 3] += 1.0;
    changed.valid[3 * 3] = 1.0;
    changed.returns[3] += 1.0;
    changed.known[3] = 1.0;
    changed.previous[3] = (batch.previous[3] + 1) % 3;
    let after = ask(&model, &spec, &changed);
    for step in 0..12 {
        let same = at(&before, &spec, step) == at(&after, &spec, step);
        assert_eq!(same, !(3..10).contains(&step), "step {step}");
    }
}

#[test]
fn the_references_window_answers_as_an_endless_stream_does() {
    let spec = Spec::reference();
    let (model, long) = (loud(&spec, 3), drawn(&spec, 1, 100, 4));
    let mut window = Batch::empty(1, 60, spec.state, spec.actions);
    window
        .states
        .copy_from_slice(&long.states[40 * spec.state..]);
    window.valid.copy_from_slice(&long.valid[40 * spec.state..]);
    window.previous[1..].copy_from_slice(&long.previous[41..]);
    window.previous_size[1..].copy_from_slice(&long.previous_size[41..]);
    window.returns.copy_from_slice(&long.returns[40..]);
    window.known.copy_from_slice(&long.known[40..]);
    window.live.fill(1.0);
    let (stream, window) = (ask(&model, &spec, &long), ask(&model, &spec, &window));
    let classes = spec.actions;
    let pairs = stream.action[99 * classes..]
        .iter()
        .zip(&window.action[59 * classes..])
        .chain(
            stream.value[99 * classes..]
                .iter()
                .zip(&window.value[59 * classes..]),
        )
        .chain([(&stream.size[99], &window.size[59])])
        .chain([(&stream.risk[99], &window.risk[59])]);
    for (long, short) in pairs {
        assert!((long - short).abs() < 1e-5, "{long} {short}");
    }
}

#[test]
fn what_lies_in_a_masked_step_moves_no_other() {
    let spec = small();
    let model = loud(&spec, 5);
    let mut batch = drawn(&spec, 1, 12, 6);
    let whole = ask(&model, &spec, &batch);
    batch.live[4] = 0.0;
    let before = ask(&model, &spec, &batch);
    batch.states[4 * 3..5 * 3].fill(7.0);
    batch.valid[4 * 3..5 * 3].fill(1.0);
    batch.previous[4] = (batch.previous[4] + 1) % 3;
    let after = ask(&model, &spec, &batch);
    for step in 0..12 {
        let same = at(&before, &spec, step) == at(&after, &spec, step);
        assert_eq!(same, step != 4, "step {step}");
    }
    assert_ne!(at(&whole, &spec, 5), at(&before, &spec, 5));
}

#[test]
fn rows_of_a_batch_do_not_see_each_others_masks() {
    let spec = small();
    let model = loud(&spec, 7);
    let mut both = drawn(&spec, 2, 12, 8);
    both.live[12 + 5] = 0.0;
    let mut first = drawn(&spec, 1, 12, 8);
    first.states.copy_from_slice(&both.states[..36]);
    first.valid.copy_from_slice(&both.valid[..36]);
    first.previous.copy_from_slice(&both.previous[..12]);
    first
        .previous_size
        .copy_from_slice(&both.previous_size[..12]);
    first.returns.copy_from_slice(&both.returns[..12]);
    first.known.copy_from_slice(&both.known[..12]);
    let (both, first) = (ask(&model, &spec, &both), ask(&model, &spec, &first));
    for step in 0..12 {
        let one: Vec<f32> = at(&both, &spec, step)
            .into_iter()
            .map(f32::from_bits)
            .collect();
        let other: Vec<f32> = at(&first, &spec, step)
            .into_iter()
            .map(f32::from_bits)
            .collect();
        let far = one.iter().zip(&other).map(|(a, b)| (a - b).abs());
        assert!(far.fold(0.0, f32::max) < 1e-6, "step {step}");
    }
}

#[test]
fn an_empty_history_has_an_answer_the_same_at_every_step() {
    let spec = small();
    let answer = ask(&loud(&spec, 9), &spec, &Batch::empty(1, 12, 3, 3));
    assert!(answer.action.iter().all(|logit| logit.is_finite()));
    for step in 1..12 {
        assert_eq!(at(&answer, &spec, 0), at(&answer, &spec, step));
    }
}

/// Values that are drawn, on a device with gradients.
fn leaf<const D: usize>(shape: [usize; D], rng: &mut Rng) -> Tensor<D> {
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| share(rng)).collect();
    let device = Device::flex().autodiff();
    Tensor::from_data(TensorData::new(values, shape), &device).require_grad()
}

fn far<const D: usize>(one: Tensor<D>, other: Tensor<D>) -> f32 {
    assert_eq!(one.dims(), other.dims());
    let pairs = host(one).into_iter().zip(host(other));
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// A loss whose slope is another number everywhere.
fn uneven<const D: usize>(y: Tensor<D>) -> Tensor<1> {
    let (shape, mut rng) = (y.dims(), Rng::new(77, 1));
    (y * leaf(shape, &mut rng).inner()).sum()
}

/// The kernel of the CPU, burn's fused attention and the plain form, with their gradients: two heads, masked steps,
/// queries at all tokens and at state tokens alone.
#[test]
fn fused_attention_equals_the_plain_form_and_so_do_its_gradients() {
    let (spec, mut rng) = (small(), Rng::new(10, 1));
    let layer = DecisionTransformer::new(&spec, 1, &Device::flex())
        .layers
        .remove(1);
    let (b, n, d, band) = (3, 36, 40, 3);
    for (every, dead) in [(1, false), (1, true), (3, false), (3, true)] {
        let mut batch = drawn(&spec, b, 12, 11);
        if dead {
            batch.live[13..16].fill(0.0);
            batch.live[0] = 0.0;
        }
        let device = Device::flex();
        let inputs = Inputs::new(&batch, &Statistics::identity(3), &spec, &device);
        let q = leaf([b, n / every, d], &mut rng);
        let kv = leaf([b, n, 2 * d], &mut rng);
        let relative = leaf([2, 3 * band], &mut rng);

        let sight = Sight {
            rows: b,
            width: d,
            heads: 2,
            band,
            every,
            live: inputs.live.clone(),
        };
        let kernel = kernels::attention(q.clone(), kv.clone(), relative.clone(), sight);
        let (k, v) = (
            kv.clone().slice_dim(2, 0..d),
            kv.clone().slice_dim(2, d..2 * d),
        );
        let parts = [&q, &k, &v].map(|part| layer.split(part.clone()));
        let sees = Band::new(band, 12, every, &device);
        let bias = layer.bias(relative.clone(), &sees, inputs.dead(every));
        let [q4, k4, v4] = parts.clone();
        let plain = attend_plainly(q4, k4, v4, bias.clone(), Precision::F32);
        let plain = plain.swap_dims(1, 2).reshape([b, n / every, d]);
        let [q4, k4, v4] = parts.map(Tensor::inner);
        let fused = attend(q4, k4, v4, bias.inner(), Precision::F32);
        let fused = fused.swap_dims(1, 2).reshape([b, n / every, d]);

        assert!(far(kernel.clone().inner(), plain.clone().inner()) < 2e-6);
        assert!(far(fused, plain.clone().inner()) < 2e-6);
        let (kernel, plain) = (uneven(kernel).backward(), uneven(plain).backward());
        let slopes = |gradients| {
            let found = "a leaf has a gradient";
            (
                q.grad(gradients).expect(found),
                kv.grad(gradients).expect(found),
                relative.grad(gradients).expect(found),
            )
        };
        let (kernel, plain) = (slopes(&kernel), slopes(&plain));
        assert!(far(kernel.0, plain.0) < 5e-6);
        assert!(far(kernel.1, plain.1) < 5e-6);
        assert!(far(kernel.2.clone(), plain.2) < 5e-5);
        assert!(host(kernel.2).iter().all(|slope| slope.abs() > 1e-3));
    }
}

#[test]
fn the_kernels_of_the_cpu_equal_burns_operations_and_so_do_their_gradients() {
    let mut rng = Rng::new(12, 1);
    let x = leaf([2, 300, 20], &mut rng);
    let wide = || x.clone().mul_scalar(5.0);
    let (one, other) = (kernels::gelu(wide()), gelu(wide()));
    assert!(far(one.clone().inner(), other.clone().inner()) < 2e-6);
    let slope = |y: Tensor<3>| {
        x.grad(&uneven(y).backward())
            .expect("a leaf has a gradient")
    };
    assert!(far(slope(one), slope(other)) < 5e-6);

    let (weight, bias) = (leaf([20, 7], &mut rng), leaf([7], &mut rng));
    let one = kernels::linear(x.clone(), weight.clone(), bias.clone());
    let other = linear(x.clone(), weight.clone(), Some(bias.clone()));
    assert!(far(one.clone().inner(), other.clone().inner()) < 2e-6);
    let (one, other) = (uneven(one).backward(), uneven(other).backward());
    let found = "a leaf has a gradient";
    assert!(far(x.grad(&one).expect(found), x.grad(&other).expect(found)) < 5e-6);
    assert!(
        far(
            weight.grad(&one).expect(found),
            weight.grad(&other).expect(found)
        ) < 1e-4
    );
    assert!(
        far(
            bias.grad(&one).expect(found),
            bias.grad(&other).expect(found)
        ) < 1e-4
    );

    let (gamma, beta) = (leaf([20], &mut rng), leaf([20], &mut rng));
    let one = kernels::norm(x.clone(), gamma.clone(), beta.clone());
    let epsilon = f64::from(LAYER_NORM_EPSILON);
    let other = layer_norm(x.clone(), gamma.clone(), Some(beta.clone()), epsilon);
    assert!(far(one.clone().inner(), other.clone().inner()) < 2e-6);
    let (one, other) = (uneven(one).backward(), uneven(other).backward());
    let of = |leaf: &Tensor<3>| {
        far(
            leaf.grad(&one).expect(found),
            leaf.grad(&other).expect(found),
        )
    };
    assert!(of(&x) < 1e-5);
    for leaf in [&gamma, &beta] {
        let off = far(
            leaf.grad(&one).expect(found),
            leaf.grad(&other).expect(found),
        );
        assert!(off < 1e-4, "{off}");
    }
}

#[test]
fn bfloat16_is_used_and_stays_within_five_hundredths() {
    let spec = small();
    let (model, batch) = (loud(&spec, 13), drawn(&spec, 4, 12, 14));
    let exact = ask(&model, &spec, &batch);
    for device in [Device::flex(), Device::flex().autodiff()] {
        let model = DecisionTransformer::from_weights(&spec, &model.weights(&spec), &device);
        let inputs = Inputs::new(&batch, &Statistics::identity(3), &spec, &device);
        let rough = model.forward_with(&inputs, &mut Pass::plain(Precision::Bf16));
        let far = furthest(&exact, &rough.to_host());
        assert!((1e-4..5e-2).contains(&far), "{far}");
    }
}

#[test]
fn weights_go_in_and_come_out_by_name() {
    let spec = small();
    let weights = fresh(&spec, 15);
    let model = DecisionTransformer::from_weights(&spec, &weights, &Device::flex());
    assert_eq!(model.weights(&spec), weights);
    assert_ne!(fresh(&spec, 16), weights);
}

#[test]
fn fresh_weights_are_spread_as_gpt2_says() {
    let spec = Spec::reference();
    let weights = fresh(&spec, 17);
    let spread = |name: &str| {
        let values = &weights.get(name).values;
        let squares: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        (squares / values.len() as f64).sqrt()
    };
    assert!((spread("layer.0.qkv.weight") / 0.02 - 1.0).abs() < 0.02);
    assert!((spread("layer.5.down.weight") * 12_f64.sqrt() / 0.02 - 1.0).abs() < 0.02);
    assert!((spread("norm.gamma") - 1.0).abs() < 1e-9);
    assert!(spread("layer.3.relative") == 0.0 && spread("head.value.bias") == 0.0);
}

#[test]
fn dropout_drops_its_share_and_keeps_the_mean() {
    let mut pass = Pass {
        precision: Precision::F32,
        dropout: 0.25,
        rng: Rng::new(18, 0),
    };
    let ones = Tensor::<3>::ones([10, 100, 10], &Device::flex());
    let kept = host(pass.dropped(ones));
    let gone = kept.iter().filter(|value| **value == 0.0).count();
    assert!((2_300..2_700).contains(&gone), "{gone}");
    assert!(
        kept.iter()
            .all(|v| *v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-6)
    );
}
