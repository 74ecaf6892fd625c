//! The arithmetic of small networks: dot products and linear layers, in plain f32.
//!
//! What it does not do: no batches and no gradients. Sums have a fixed order, so that every machine gives one answer.

use crate::error::Error;

/// Partial sums of a dot product: as wide as one AVX register, two of SSE.
const LANES: usize = 8;

/// Σ a·b over the shorter length, in eight interleaved partial sums.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len().min(b.len());
    let (a, a_rest) = a[..n].as_chunks::<LANES>();
    let (b, b_rest) = b[..n].as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (x, y) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    let whole = ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    whole + rest
}

/// `out += factor * row`, over the shorter length.
pub(crate) fn add_scaled(out: &mut [f32], row: &[f32], factor: f32) {
    for (sum, value) in out.iter_mut().zip(row) {
        *sum += factor * value;
    }
}

/// A linear layer as PyTorch keeps it: `y = W x + b`, W of shape `[outputs, inputs]`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Length of x.
    pub inputs: usize,
    /// Length of y.
    pub outputs: usize,
    /// `outputs * inputs` values, row by row.
    pub weight: Vec<f32>,
    /// `outputs` values.
    pub bias: Vec<f32>,
}

impl Linear {
    /// Writes y into `out` (overwritten and resized).
    pub(crate) fn forward(&self, x: &[f32], out: &mut Vec<f32>) {
        out.clear();
        let rows = self.weight.chunks_exact(self.inputs.max(1));
        out.extend(rows.zip(&self.bias).map(|(row, bias)| dot(row, x) + bias));
    }

    /// Checks lengths against the layer's own numbers; `name` is the layer's tensor prefix.
    pub(crate) fn check(&self, name: &str) -> Result<(), Error> {
        if self.inputs == 0 || self.outputs == 0 {
            return Err(Error::Domain {
                name: format!("{name}.weight"),
                value: format!("[{}, {}]", self.outputs, self.inputs),
                domain: "of at least one input and one output",
            });
        }
        let size = self.inputs.saturating_mul(self.outputs);
        Error::expect_len(&format!("{name}.weight"), self.weight.len(), size)?;
        Error::expect_len(&format!("{name}.bias"), self.bias.len(), self.outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_product_of_any_length_is_the_sum_of_products() {
        for n in 0..40 {
            let a: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
            let b: Vec<f32> = (0..n).map(|i| (i as f32 * 0.11).cos()).collect();
            let exact: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            assert!((f64::from(dot(&a, &b)) - exact).abs() < 1e-5, "{n}");
        }
        assert_eq!(dot(&[1.0, 2.0], &[3.0]), 3.0);
    }

    #[test]
    fn a_layer_multiplies_rows() {
        let layer =
            Linear { inputs: 2, outputs: 3, weight: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], bias: vec![0.5, 0.0, -0.5] };
        let mut out = vec![9.0];
        layer.forward(&[1.0, -1.0], &mut out);
        assert_eq!(out, [-0.5, -1.0, -1.5]);
        assert!(layer.check("l").is_ok());
        let wrong = Linear { inputs: 3, ..layer };
        let error = wrong.check("user.layers.0").unwrap_err().to_string();
        assert!(error.contains("user.layers.0.weight has 6 values where 9"), "{error}");
    }
}
