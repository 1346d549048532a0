//! Attention within a band, GELU, layer norm and linear maps on the CPU, each as one operation with its own gradient.
//!
//! burn has no gradient for its fused attention, and takes the others apart into operations that each pass over
//! memory, or copy what a matrix product gave. On the CPU that costs more than all matrix products; and a band can be
//! skipped, not only masked. On other devices, and in other formats than f32, burn's own operations run: see
//! [`crate::model`].

mod host;

use std::sync::Arc;

use burn::Tensor;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Device, TensorData};

use crate::spec::LAYER_NORM_EPSILON;

/// Asks the C library to keep what is freed for the next step, instead of giving large blocks back to the system
/// and having every page of them cleared again: a fifth of a step's time. Does nothing where the library is another.
pub(crate) fn hold_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// The largest unused end of the heap that is kept, and the smallest block that is mapped on its own:
        /// `malloc.h`, and the highest values that glibc takes.
        const TRIM_THRESHOLD: (i32, i32) = (-1, i32::MAX);
        const MAP_THRESHOLD: (i32, i32) = (-3, 1 << 25);
        unsafe extern "C" {
            fn mallopt(parameter: i32, value: i32) -> i32;
        }
        for (parameter, value) in [TRIM_THRESHOLD, MAP_THRESHOLD] {
            // SAFETY: the function takes any two numbers, and refuses those it does not know.
            unsafe { mallopt(parameter, value) };
        }
    }
}

/// What attention sees, besides its tensors.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    /// Sequences (B).
    pub(crate) rows: usize,
    /// Width of a token (d).
    pub(crate) width: usize,
    /// Heads (H).
    pub(crate) heads: usize,
    /// Groups that a query sees, its own included.
    pub(crate) band: usize,
    /// 1 where every token asks, 3 where state tokens do.
    pub(crate) every: usize,
    /// Whether a step may be seen by others, where not all may: `[B, T]`.
    pub(crate) live: Option<Arc<[bool]>>,
}

/// Whether these kernels take a tensor.
pub(crate) fn take<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && tensor.device().inner() == Device::flex()
}

/// Attention of `q` `[B, Q, d]` over keys and values `kv` `[B, N, 2d]` with `relative` `[H, 3 · band]`:
/// `[B, Q, d]`.
pub(crate) fn attention(
    q: Tensor<3>,
    kv: Tensor<3>,
    relative: Tensor<2>,
    sight: Sight,
) -> Tensor<3> {
    Tensor::from_dispatch(Dispatch::banded(
        q.into_dispatch(),
        kv.into_dispatch(),
        relative.into_dispatch(),
        sight,
    ))
}

/// `x · Φ(x)`.
pub(crate) fn gelu(x: Tensor<3>) -> Tensor<3> {
    Tensor::from_dispatch(Dispatch::smooth(x.into_dispatch()))
}

/// Layer norm of the last axis with [`LAYER_NORM_EPSILON`].
pub(crate) fn norm(x: Tensor<3>, gamma: Tensor<1>, beta: Tensor<1>) -> Tensor<3> {
    Tensor::from_dispatch(Dispatch::levelled(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
    ))
}

/// `x w + b`, for `x` `[B, Q, inputs]`, `w` `[inputs, outputs]` and `b` `[outputs]`: `[B, Q, outputs]`.
pub(crate) fn linear(x: Tensor<3>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<3> {
    Tensor::from_dispatch(Dispatch::mapped(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    ))
}

/// The operations, and what they hand back through each other. Those whose names end in `backward` have no gradient.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait Kernels: Backend {
    /// See [`attention`].
    fn banded(
        q: FloatTensor<Self>,
        kv: FloatTensor<Self>,
        relative: FloatTensor<Self>,
        sight: Sight,
    ) -> FloatTensor<Self>;

    /// Slopes by `q`, `kv` and `relative`.
    fn banded_backward(
        q: FloatTensor<Self>,
        kv: FloatTensor<Self>,
        relative: FloatTensor<Self>,
        slope: FloatTensor<Self>,
        sight: Sight,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// See [`gelu`].
    fn smooth(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Slope by `x`.
    fn smooth_backward(x: FloatTensor<Self>, slope: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`norm`].
    fn levelled(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Slopes by `x`, `gamma` and `beta`.
    fn levelled_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        slope: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// See [`linear`].
    fn mapped(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Slope by `x`.
    fn mapped_input_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        slope: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Slopes by `weight` and `bias`.
    fn mapped_weight_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        slope: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// The values of a tensor that lies in memory row by row.
fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("made contiguous, and f32")
}

/// A tensor of a shape that another one has.
fn like(values: Vec<f32>, other: &FlexTensor) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, other.shape()))
}

impl Kernels for Flex {
    fn banded(q: FlexTensor, kv: FlexTensor, relative: FlexTensor, sight: Sight) -> FlexTensor {
        let [q, kv, relative] = [q, kv, relative].map(|tensor| tensor.to_contiguous());
        let y = host::attention(values(&q), values(&kv), values(&relative), &sight);
        like(y, &q)
    }

    fn banded_backward(
        q: FlexTensor,
        kv: FlexTensor,
        relative: FlexTensor,
        slope: FlexTensor,
        sight: Sight,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let [q, kv, relative, slope] =
            [q, kv, relative, slope].map(|tensor| tensor.to_contiguous());
        let [dq, dkv, drelative] = host::attention_backward(
            values(&q),
            values(&kv),
            values(&relative),
            &sight,
            values(&slope),
        );
        (like(dq, &q), like(dkv, &kv), like(drelative, &relative))
    }

    fn smooth(x: FlexTensor) -> FlexTensor {
        let x = x.to_contiguous();
        like(host::gelu(values(&x)), &x)
    }

    fn smooth_backward(x: FlexTensor, slope: FlexTensor) -> FlexTensor {
        let [x, slope] = [x, slope].map(|tensor| tensor.to_contiguous());
        like(host::gelu_backward(values(&x), values(&slope)), &x)
    }

    fn levelled(x: FlexTensor, gamma: FlexTensor, beta: FlexTensor) -> FlexTensor {
        let [x, gamma, beta] = [x, gamma, beta].map(|tensor| tensor.to_contiguous());
        let (values_x, scale, shift) = (values(&x), values(&gamma), values(&beta));
        like(host::norm(values_x, scale, shift, LAYER_NORM_EPSILON), &x)
    }

    fn levelled_backward(
        x: FlexTensor,
        gamma: FlexTensor,
        slope: FlexTensor,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let [x, gamma, slope] = [x, gamma, slope].map(|tensor| tensor.to_contiguous());
        let [dx, dgamma, dbeta] = host::norm_backward(
            values(&x),
            values(&gamma),
            LAYER_NORM_EPSILON,
            values(&slope),
        );
        (like(dx, &x), like(dgamma, &gamma), like(dbeta, &gamma))
    }

    fn mapped(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.to_contiguous());
        let y = host::linear(values(&x), values(&weight), values(&bias));
        let mut shape = x.shape();
        let last = shape.num_dims() - 1;
        shape[last] = bias.shape().num_elements();
        FlexTensor::from_data(TensorData::new(y, shape))
    }

    fn mapped_input_backward(x: FlexTensor, weight: FlexTensor, slope: FlexTensor) -> FlexTensor {
        let [weight, slope] = [weight, slope].map(|tensor| tensor.to_contiguous());
        let outputs = weight.shape()[1];
        like(
            host::linear_by_input(values(&weight), values(&slope), outputs),
            &x,
        )
    }

    fn mapped_weight_backward(
        x: FlexTensor,
        weight: FlexTensor,
        slope: FlexTensor,
    ) -> (FlexTensor, FlexTensor) {
        let [x, slope] = [x, slope].map(|tensor| tensor.to_contiguous());
        let outputs = weight.shape()[1];
        let bias = host::linear_by_bias(values(&slope), outputs);
        let bias = FlexTensor::from_data(TensorData::new(bias, [outputs]));
        let dw = host::linear_by_weight(values(&x), values(&slope), outputs);
        (like(dw, &weight), bias)
    }
}

#[derive(Debug)]
struct Banded;
#[derive(Debug)]
struct Smooth;
#[derive(Debug)]
struct Levelled;
#[derive(Debug)]
struct Mapped;

impl<B: Kernels> Backward<B, 3> for Banded {
    type State = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, Sight);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let slope = grads.consume::<B>(&ops.node);
        let (q, kv, relative, sight) = ops.state;
        let (dq, dkv, drelative) = B::banded_backward(q, kv, relative, slope, sight);
        for (parent, slope) in ops.parents.into_iter().zip([dq, dkv, drelative]) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, slope);
            }
        }
    }
}

impl<B: Kernels> Backward<B, 1> for Smooth {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let slope = grads.consume::<B>(&ops.node);
        let [parent] = ops.parents;
        if let Some(node) = parent {
            grads.register::<B>(node.id, B::smooth_backward(ops.state, slope));
        }
    }
}

impl<B: Kernels> Backward<B, 3> for Levelled {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let slope = grads.consume::<B>(&ops.node);
        let (x, gamma) = ops.state;
        let (dx, dgamma, dbeta) = B::levelled_backward(x, gamma, slope);
        for (parent, slope) in ops.parents.into_iter().zip([dx, dgamma, dbeta]) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, slope);
            }
        }
    }
}

impl<B: Kernels> Backward<B, 3> for Mapped {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let slope = grads.consume::<B>(&ops.node);
        let (x, weight) = ops.state;
        let [by_x, by_weight, by_bias] = ops.parents;
        if let Some(node) = by_x {
            let dx = B::mapped_input_backward(x.clone(), weight.clone(), slope.clone());
            grads.register::<B>(node.id, dx);
        }
        if by_weight.is_none() && by_bias.is_none() {
            return;
        }
        let (dw, db) = B::mapped_weight_backward(x, weight, slope);
        for (parent, slope) in [by_weight, by_bias].into_iter().zip([dw, db]) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, slope);
            }
        }
    }
}

impl<B: Kernels, C: CheckpointStrategy> Kernels for Autodiff<B, C> {
    fn banded(
        q: FloatTensor<Self>,
        kv: FloatTensor<Self>,
        relative: FloatTensor<Self>,
        sight: Sight,
    ) -> FloatTensor<Self> {
        let nodes = [q.node(), kv.node(), relative.node()];
        let prepared = Banded.prepare::<C>(nodes).compute_bound().stateful();
        let [q, kv, relative] = [q, kv, relative].map(|tensor| tensor.into_primitive());
        let y = B::banded(q.clone(), kv.clone(), relative.clone(), sight.clone());
        match prepared {
            OpsKind::Tracked(prep) => prep.finish((q, kv, relative, sight), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn banded_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: Sight,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        panic!("a slope has no gradient here")
    }

    fn smooth(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let prepared = Smooth.prepare::<C>([x.node()]).compute_bound().stateful();
        let x = x.into_primitive();
        let y = B::smooth(x.clone());
        match prepared {
            OpsKind::Tracked(prep) => prep.finish(x, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn smooth_backward(_: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
        panic!("a slope has no gradient here")
    }

    fn levelled(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), gamma.node(), beta.node()];
        let prepared = Levelled.prepare::<C>(nodes).compute_bound().stateful();
        let [x, gamma, beta] = [x, gamma, beta].map(|tensor| tensor.into_primitive());
        let y = B::levelled(x.clone(), gamma.clone(), beta);
        match prepared {
            OpsKind::Tracked(prep) => prep.finish((x, gamma), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn levelled_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        panic!("a slope has no gradient here")
    }

    fn mapped(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let prepared = Mapped.prepare::<C>(nodes).compute_bound().stateful();
        let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.into_primitive());
        let y = B::mapped(x.clone(), weight.clone(), bias);
        match prepared {
            OpsKind::Tracked(prep) => prep.finish((x, weight), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn mapped_input_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        panic!("a slope has no gradient here")
    }

    fn mapped_weight_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        panic!("a slope has no gradient here")
    }
}
