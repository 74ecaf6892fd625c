//! The dense layers, in Burn: the user tower and the linear map of item features. Forward, backward, Adam.
//!
//! What it does not do: it has no table and no loss. The loss's gradients at the towers' outputs are computed outside and
//! are led back by the inner product `Σ output · gradient`, whose derivative they are.

use burn::module::{Module, Param};
use burn::nn::Linear as BurnLinear;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use fairway_model::Linear;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::softmax::Scored;

/// Noise on the identity that the user tower begins with.
const NOISE: f32 = 0.02;

#[derive(Module, Debug)]
struct Layers {
    hidden: BurnLinear,
    output: BurnLinear,
    /// Absent without item features.
    content: Option<BurnLinear>,
}

impl Layers {
    fn users(&self, rows: Tensor<2>) -> Tensor<2> {
        self.output.forward(relu(self.hidden.forward(rows)))
    }
}

/// Layers, their optimizer, and where they compute.
pub(super) struct Towers {
    layers: Layers,
    optimizer: ModuleOptimizer,
    device: Device,
    user_width: usize,
    content_width: usize,
    dim: usize,
}

/// Outputs of a batch, with what the way back needs.
pub(super) struct Forward {
    /// `[batch, dim]`, row-major.
    pub(super) users: Vec<f32>,
    /// `[items, dim]`; zeros without item features.
    pub(super) content: Vec<f32>,
    user_rows: Tensor<2>,
    user_vectors: Tensor<2>,
    content_rows: Option<(Tensor<2>, Tensor<2>)>,
}

/// Gradients at the towers' inputs.
pub(super) struct Leaves {
    /// As the rows that went into the user tower.
    pub(super) users: Vec<f32>,
    /// As the rows of item features; empty without any.
    pub(super) content: Vec<f32>,
}

impl Towers {
    /// Layers whose weights come from `random` alone. The user tower begins as the identity on the pooled history (plus
    /// noise) as far as `hidden` allows: x is relu(x) - relu(-x).
    pub(super) fn new(
        dim: usize,
        segment_dim: usize,
        hidden: usize,
        content_width: usize,
        random: &mut ChaCha8Rng,
    ) -> Self {
        let device = Device::flex().autodiff();
        let user_width = dim + segment_dim;
        let mut noise = |n: usize| (0..n).map(|_| random.random_range(-NOISE..=NOISE)).collect::<Vec<f32>>();
        let mut first = noise(user_width * hidden);
        let mut second = noise(hidden * dim);
        for unit in 0..hidden.min(2 * dim) {
            let (axis, sign) = (unit % dim, if unit < dim { 1.0 } else { -1.0 });
            first[axis * hidden + unit] += sign;
            second[unit * dim + axis] += sign;
        }
        let content = (content_width > 0).then(|| {
            let mut weight = noise(content_width * dim);
            (0..dim.min(content_width)).for_each(|axis| weight[axis * dim + axis] += 1.0);
            linear(weight, content_width, dim, &device)
        });
        let layers = Layers {
            hidden: linear(first, user_width, hidden, &device),
            output: linear(second, hidden, dim, &device),
            content,
        };
        Self { layers, optimizer: AdamConfig::new().init(), device, user_width, content_width, dim }
    }

    /// Weights of the user tower as PyTorch lays them out, of the shapes that it has.
    pub(super) fn take_over(&mut self, layers: &[Linear]) {
        let [hidden, output] = layers else { return };
        self.layers.hidden = imported(hidden, &self.device);
        self.layers.output = imported(output, &self.device);
    }

    /// Runs both towers on a batch. `content` are rows of features, one for each of `items` items.
    pub(super) fn forward(&self, users: Vec<f32>, content: Vec<f32>, items: usize) -> Forward {
        let user_rows = self.leaf(users, self.user_width);
        let user_vectors = self.layers.users(user_rows.clone());
        let content_rows = self.layers.content.as_ref().map(|layer| {
            let rows = self.leaf(content, self.content_width);
            (rows.clone(), layer.forward(rows))
        });
        Forward {
            users: values(user_vectors.clone()),
            content: content_rows.as_ref().map_or_else(|| vec![0.0; items * self.dim], |(_, out)| values(out.clone())),
            user_rows,
            user_vectors,
            content_rows,
        }
    }

    /// Leads gradients at the outputs back to the inputs, and takes one step of Adam.
    pub(super) fn backward(&mut self, forward: Forward, scored: &Scored, rate: f64) -> Leaves {
        let against = |output: Tensor<2>, gradient: &[f32]| {
            let shape = output.dims();
            let gradient = Tensor::<2>::from_data(TensorData::new(gradient.to_vec(), shape), &self.device);
            (output * gradient).sum()
        };
        let mut sum = against(forward.user_vectors, &scored.users);
        if let Some((_, output)) = &forward.content_rows {
            sum = sum + against(output.clone(), &scored.items);
        }
        let mut gradients = sum.backward();
        let leaf = |rows: &Tensor<2>, gradients: &mut _| rows.grad_remove(gradients).map(values).unwrap_or_default();
        let leaves = Leaves {
            users: leaf(&forward.user_rows, &mut gradients),
            content: forward.content_rows.as_ref().map(|(rows, _)| leaf(rows, &mut gradients)).unwrap_or_default(),
        };
        let gradients = GradientsParams::from_grads(gradients, &self.layers);
        self.layers = self.optimizer.step(rate, self.layers.clone(), gradients);
        leaves
    }

    /// The linear map of item features, for export.
    pub(super) fn content(&self, rows: Vec<f32>, items: usize) -> Vec<f32> {
        match &self.layers.content {
            Some(layer) => values(layer.forward(self.leaf(rows, self.content_width))),
            None => vec![0.0; items * self.dim],
        }
    }

    /// The user tower's layers as PyTorch lays them out.
    pub(super) fn layers(&self) -> Vec<Linear> {
        [&self.layers.hidden, &self.layers.output].map(exported).into()
    }

    fn leaf(&self, rows: Vec<f32>, width: usize) -> Tensor<2> {
        let count = rows.len() / width;
        Tensor::<2>::from_data(TensorData::new(rows, [count, width]), &self.device).require_grad()
    }
}

/// A layer of `[inputs, outputs]` weights, row-major, without bias yet.
fn linear(weight: Vec<f32>, inputs: usize, outputs: usize, device: &Device) -> BurnLinear {
    layer(TensorData::new(weight, [inputs, outputs]), vec![0.0; outputs], device)
}

fn layer(weight: TensorData, bias: Vec<f32>, device: &Device) -> BurnLinear {
    let outputs = bias.len();
    BurnLinear {
        weight: Param::from_data(weight, device),
        bias: Some(Param::from_data(TensorData::new(bias, [outputs]), device)),
    }
}

/// A layer that was served: the other way round than [`exported`].
fn imported(served: &Linear, device: &Device) -> BurnLinear {
    let Linear { inputs, outputs, .. } = *served;
    let column = |input: usize| (0..outputs).map(move |output| served.weight[output * inputs + input]);
    let weight: Vec<f32> = (0..inputs).flat_map(column).collect();
    layer(TensorData::new(weight, [inputs, outputs]), served.bias.clone(), device)
}

/// A layer as it is served: weights turned to `[outputs, inputs]`.
fn exported(layer: &BurnLinear) -> Linear {
    let [inputs, outputs] = layer.weight.val().dims();
    let bias = layer.bias.as_ref().map_or_else(|| vec![0.0; outputs], |bias| values(bias.val()));
    Linear { inputs, outputs, weight: values(layer.weight.val().transpose()), bias }
}

/// A tensor's numbers, row-major.
fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().expect("tensors here are made of f32 and are read as f32")
}
