//! The pieces that every architecture is made of: inputs, constants, linear layers, tables, norms.
//!
//! Values are named by strings. Each piece writes its nodes at once and gives back the name of its
//! result. In a dry run tensors are checked but not read, and the graph is thrown away.

use std::collections::HashMap;

use super::{BuiltGraph, Form, Fused, GraphPooling, Task, fused};
use crate::Result;
use crate::config::{HiddenActivation, TransformerConfig};
use crate::onnx::DOMAIN;
use crate::onnx::proto::{AttributeProto, data_type};
use crate::onnx::writer::{Dim, ModelWriter, float, int, text};
use crate::weights::{Embedding, Linear, Matrix, Weights};

/// The version of ONNX's operators that graphs are written for.
const OPSET: i64 = 17;

/// A graph that is being built.
pub(crate) struct Builder<'a> {
    pub(crate) config: &'a TransformerConfig,
    pub(crate) form: Form,
    pub(crate) weights: &'a Weights,
    writer: ModelWriter,
    quantised: bool,
    dry: bool,
    linears: Vec<Linear>,
    embeddings: Vec<Embedding>,
    /// Names of the tensors that went into `linears` and `embeddings`.
    quantisable: Vec<String>,
    /// Values that are made once and used by many layers.
    shared: HashMap<String, String>,
    next: usize,
}

/// One part of a linear layer: the name of its tensors without `.weight`, and its outputs.
pub(crate) type Part<'a> = (&'a str, usize);

/// A layer normalisation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Norm<'a> {
    /// The name of its tensors, without `.weight` and `.bias`.
    pub(crate) name: &'a str,
    /// Components that are normalised together.
    pub(crate) width: usize,
    /// Whether something is added after the multiplication.
    pub(crate) shift: bool,
}

impl<'a> Builder<'a> {
    /// A graph of that form with its inputs and nothing else. With `dry`, no weights are read.
    ///
    /// # Errors
    /// [`ModelError::Bug`](crate::ModelError::Bug) for another graph than a packed one in 8 bits or
    /// of images.
    pub(crate) fn new(
        config: &'a TransformerConfig,
        weights: &'a Weights,
        form: Form,
        quantised: bool,
        dry: bool,
    ) -> Result<Self> {
        if config.patch_width.is_some() && form != Form::Packed {
            return Err(crate::ModelError::Bug("images have a packed graph only".into()));
        }
        if quantised && form != Form::Packed {
            return Err(crate::ModelError::Bug("only a packed graph can be quantised".into()));
        }
        let opsets: &[(&str, i64)] = match form {
            Form::Padded => &[("", OPSET)],
            Form::Packed => &[("", OPSET), (DOMAIN, 1)],
            Form::Fused(_) => &[("", OPSET), (fused::DOMAIN, 1)],
        };
        let mut builder = Self {
            config,
            form,
            weights,
            writer: ModelWriter::new(&config.model_type, opsets),
            quantised,
            dry,
            linears: Vec::new(),
            embeddings: Vec::new(),
            quantisable: Vec::new(),
            shared: HashMap::new(),
            next: 0,
        };
        builder.inputs();
        Ok(builder)
    }

    /// Declares the inputs of the form.
    fn inputs(&mut self) {
        if let Some(width) = self.config.patch_width {
            let dims = [Dim::Named("patches"), Dim::Known(width)];
            self.writer.input("patches", data_type::FLOAT, &dims);
            let dims = [Dim::Named("images_and_one")];
            self.writer.input("offsets", data_type::INT64, &dims);
            return;
        }
        let names = match self.form {
            Form::Padded => ["input_ids", "attention_mask"],
            Form::Packed | Form::Fused(_) => ["input_ids", "position_ids"],
        };
        for name in names {
            self.per_token(name);
        }
        match self.form {
            Form::Padded => {}
            Form::Packed => {
                self.writer.input("offsets", data_type::INT64, &[Dim::Named("texts_and_one")]);
            }
            Form::Fused(fused) => fused::inputs(self, fused.layout),
        }
    }

    /// Declares an input.
    pub(super) fn input(&mut self, name: &str, element: i32, dims: &[Dim<'_>]) {
        self.writer.input(name, element, dims);
    }

    /// Declares an input of one whole number for each token.
    fn per_token(&mut self, name: &str) {
        let (element, dims): (_, &[Dim<'_>]) = match self.form {
            Form::Padded => (data_type::INT64, &[Dim::Named("batch"), Dim::Named("tokens")]),
            Form::Packed => (data_type::INT64, &[Dim::Named("tokens")]),
            Form::Fused(fused) => (data_type::INT32, fused::token_dims(fused.layout)),
        };
        self.writer.input(name, element, dims);
    }

    /// The segment of each token, which is an input of those graphs only that ask for it.
    pub(crate) fn segments(&mut self) -> Result<String> {
        self.shared("segments", |builder| {
            builder.per_token("token_type_ids");
            Ok("token_type_ids".to_string())
        })
    }

    /// Names the output and gives the finished graph.
    pub(crate) fn finish(mut self, output: &str, task: Task) -> Result<BuiltGraph> {
        let hidden = self.config.hidden;
        let labels = if task == Task::Classify { self.config.labels.len() } else { 0 };
        let batch = Dim::Named("batch");
        let output = match self.form {
            Form::Fused(form) => fused::output(&mut self, form, task, output)?,
            Form::Padded | Form::Packed => output.to_string(),
        };
        let (name, dims) = match (task, self.form) {
            (Task::Embed, Form::Fused(Fused { pooling: GraphPooling::Weighted { modes }, .. })) => {
                ("sentence_embedding", vec![batch, Dim::Known(modes * hidden)])
            }
            (Task::Embed, Form::Fused(Fused { pooling: GraphPooling::Picked, .. })) => {
                ("sentence_embedding", vec![batch, Dim::Known(hidden)])
            }
            (Task::Pool, _) => ("pooler_output", vec![batch, Dim::Known(hidden)]),
            (Task::Classify, _) => ("logits", vec![batch, Dim::Known(labels)]),
            (Task::Embed, Form::Padded) => {
                ("last_hidden_state", vec![batch, Dim::Named("tokens"), Dim::Known(hidden)])
            }
            (Task::Embed, Form::Packed | Form::Fused(_)) => {
                ("last_hidden_state", vec![Dim::Named("tokens"), Dim::Known(hidden)])
            }
        };
        self.writer.node(("", "Identity"), &[&output], &[name], Vec::new());
        self.writer.output(name, data_type::FLOAT, &dims);
        Ok(BuiltGraph {
            bytes: self.writer.finish()?,
            linears: self.linears,
            embeddings: self.embeddings,
            hidden,
            labels,
        })
    }

    /// The names that a quantised graph takes in 8 bits.
    pub(crate) fn into_quantisable(self) -> Vec<String> {
        self.quantisable
    }

    /// Adds one of ONNX's operators with one output.
    pub(crate) fn op(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        self.op_of(("", op_type), inputs, attributes)
    }

    /// Adds an operator of a domain with one output.
    pub(crate) fn op_of(
        &mut self,
        operator: (&str, &str),
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        let [output] = self.node(operator, inputs, attributes);
        output
    }

    /// Adds an operator of a domain.
    pub(super) fn node<const N: usize>(
        &mut self,
        operator: (&str, &str),
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> [String; N] {
        let outputs = std::array::from_fn(|_| self.fresh(operator.1));
        let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
        self.writer.node(operator, inputs, &names, attributes);
        outputs
    }

    /// Adds a split into equal parts along the last axis.
    pub(crate) fn split<const N: usize>(&mut self, x: &str, width: usize) -> Result<[String; N]> {
        let sizes = self.ints(&[width as i64; N])?;
        Ok(self.node(("", "Split"), &[x, &sizes], vec![int("axis", -1)]))
    }

    /// A value that is made at the first call and shared by later ones with the same key.
    pub(crate) fn shared(
        &mut self,
        key: &str,
        make: impl FnOnce(&mut Self) -> Result<String>,
    ) -> Result<String> {
        if let Some(name) = self.shared.get(key) {
            return Ok(name.clone());
        }
        let name = make(self)?;
        self.shared.insert(key.to_string(), name.clone());
        Ok(name)
    }

    /// A constant list of whole numbers.
    pub(crate) fn ints(&mut self, values: &[i64]) -> Result<String> {
        self.shared(&format!("ints {values:?}"), |builder| {
            let name = builder.fresh("ints");
            builder.writer.ints(&name, &[values.len()], values)?;
            Ok(name)
        })
    }

    /// A constant whole number.
    pub(crate) fn int(&mut self, value: i64) -> Result<String> {
        self.shared(&format!("int {value}"), |builder| {
            let name = builder.fresh("int");
            builder.writer.ints(&name, &[], &[value])?;
            Ok(name)
        })
    }

    /// A constant float.
    pub(crate) fn float(&mut self, value: f32) -> Result<String> {
        self.shared(&format!("float {}", value.to_bits()), |builder| {
            let name = builder.fresh("float");
            builder.writer.floats(&name, &[], std::iter::once(value))?;
            Ok(name)
        })
    }

    /// A constant tensor of floats, in 16 bits where the graph's are; nothing is written in a dry
    /// run.
    ///
    /// # Errors
    /// [`ModelError::BadOption`](crate::ModelError::BadOption) for a weight that f16 can't hold.
    pub(crate) fn constant(
        &mut self,
        name: &str,
        dims: &[usize],
        values: impl Iterator<Item = f32>,
    ) -> Result<String> {
        match self.form {
            _ if self.dry => {}
            Form::Fused(Fused { half: true, .. }) => {
                fused::halves(&mut self.writer, name, dims, values)?;
            }
            _ => self.writer.floats(name, dims, values)?,
        }
        Ok(name.to_string())
    }

    /// The values of a tensor, checked; zeros in a dry run.
    pub(crate) fn values(&self, name: &str, dims: &[usize]) -> Result<Vec<f32>> {
        if self.dry {
            self.weights.check_floats(name, dims)?;
            return Ok(vec![0.0; dims.iter().product()]);
        }
        self.weights.floats(name, dims)
    }

    /// A tensor of the model as a constant of the graph.
    pub(crate) fn tensor(&mut self, name: &str, dims: &[usize]) -> Result<String> {
        let values = self.values(name, dims)?;
        self.constant(name, dims, values.into_iter())
    }

    /// A linear layer whose outputs are those of `parts`, one after another, and its activation.
    pub(crate) fn linear(
        &mut self,
        x: &str,
        parts: &[Part<'_>],
        inputs: usize,
        bias: bool,
        activation: Option<HiddenActivation>,
    ) -> Result<String> {
        if !self.quantised {
            return self.float_linear(x, parts, inputs, bias, activation);
        }
        let mut loaded = Vec::new();
        for part in parts {
            self.quantisable.push(format!("{}.weight", part.0));
            loaded.push(self.load(*part, inputs, bias)?);
        }
        let index = self.linears.len() as i64;
        self.linears.push(if loaded.len() == 1 {
            loaded.remove(0)
        } else {
            Linear::concat(loaded)?
        });
        let activation = activation.map_or("none", HiddenActivation::name);
        let attributes = vec![int("index", index), text("activation", activation)];
        Ok(self.op_of((DOMAIN, "QLinear"), &[x], attributes))
    }

    /// A linear layer that stays in floats in every precision.
    pub(crate) fn float_linear(
        &mut self,
        x: &str,
        parts: &[Part<'_>],
        inputs: usize,
        bias: bool,
        activation: Option<HiddenActivation>,
    ) -> Result<String> {
        let (matrix, bias) = self.matrix_and_bias(parts, inputs, bias)?;
        if let (Form::Fused(_), Some(bias), Some(activation)) = (self.form, &bias, activation) {
            return fused::activated(self, x, (&matrix, bias), activation);
        }
        let y = match (bias, self.form) {
            // Gemm takes matrices only, and adds the bias on the way.
            (Some(bias), Form::Packed | Form::Fused(_)) => {
                self.op("Gemm", &[x, &matrix, &bias], Vec::new())
            }
            (Some(bias), Form::Padded) => {
                let product = self.op("MatMul", &[x, &matrix], Vec::new());
                self.op("Add", &[&product, &bias], Vec::new())
            }
            (None, _) => self.op("MatMul", &[x, &matrix], Vec::new()),
        };
        match activation {
            Some(activation) => self.activation(&y, activation),
            None => Ok(y),
        }
    }

    /// The constants of a linear layer: its weights as `inputs × outputs`, and its bias.
    pub(super) fn matrix_and_bias(
        &mut self,
        parts: &[Part<'_>],
        inputs: usize,
        bias: bool,
    ) -> Result<(String, Option<String>)> {
        let mut loaded = Vec::new();
        for part in parts {
            loaded.push(self.load(*part, inputs, bias)?);
        }
        let Linear { name, outputs, weight, bias, .. } =
            if loaded.len() == 1 { loaded.remove(0) } else { Linear::concat(loaded)? };
        let weight = weight.into_f32();
        // MatMul takes `inputs × outputs`, PyTorch keeps `outputs × inputs`.
        let transposed = (0..inputs * outputs)
            .map(|place| weight.get((place % outputs) * inputs + place / outputs))
            .map(|value| value.copied().unwrap_or_default());
        let matrix = self.constant(&name, &[inputs, outputs], transposed)?;
        let bias = bias
            .map(|bias| self.constant(&format!("{name}.bias"), &[outputs], bias.into_iter()))
            .transpose()?;
        Ok((matrix, bias))
    }

    /// Reads one linear layer.
    fn load(&self, (name, outputs): Part<'_>, inputs: usize, bias: bool) -> Result<Linear> {
        let weight_name = format!("{name}.weight");
        let weight = self.matrix(&weight_name, outputs, inputs)?;
        let bias = bias.then(|| self.values(&format!("{name}.bias"), &[outputs])).transpose()?;
        Ok(Linear { name: weight_name, outputs, inputs, weight, bias })
    }

    pub(super) fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Matrix> {
        if self.dry {
            self.weights.check_matrix(name, rows, columns)?;
            return Ok(Matrix::F32(Vec::new()));
        }
        self.weights.matrix(name, rows, columns)
    }

    /// The vectors of the tokens in `input_ids`, from the table `name`.
    pub(crate) fn words(&mut self, name: &str, width: usize) -> Result<String> {
        let rows = self.config.vocabulary;
        let table = self.matrix(name, rows, width)?;
        if self.quantised {
            self.quantisable.push(name.to_string());
            let index = int("index", self.embeddings.len() as i64);
            self.embeddings.push(Embedding { name: name.to_string(), rows, width, table });
            return Ok(self.op_of((DOMAIN, "QEmbedding"), &["input_ids"], vec![index]));
        }
        let table = self.constant(name, &[rows, width], table.into_f32().into_iter())?;
        Ok(self.op("Gather", &[&table, "input_ids"], Vec::new()))
    }

    /// Layer normalisation over the last axis.
    pub(crate) fn norm(&mut self, x: &str, norm: &Norm<'_>) -> Result<String> {
        let mut inputs = vec![x.to_string()];
        inputs.extend(self.norm_parameters(norm)?);
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let attributes = vec![int("axis", -1), float("epsilon", self.config.norm_epsilon)];
        Ok(self.op("LayerNormalization", &inputs, attributes))
    }

    /// A linear layer with a bias, whose outputs are added to `y` and normalised.
    pub(crate) fn linear_add_norm(
        &mut self,
        x: &str,
        part: Part<'_>,
        inputs: usize,
        y: &str,
        norm: &Norm<'_>,
    ) -> Result<String> {
        if let Form::Fused(_) = self.form {
            let (matrix, bias) = self.matrix_and_bias(&[part], inputs, true)?;
            let product = self.op("MatMul", &[x, &matrix], Vec::new());
            return fused::add_norm(self, (&product, y), norm, bias.as_deref());
        }
        let x = self.linear(x, &[part], inputs, true, None)?;
        self.add_norm(&x, y, norm)
    }

    /// The normalised sum of two values.
    pub(crate) fn add_norm(&mut self, x: &str, y: &str, norm: &Norm<'_>) -> Result<String> {
        if self.form == Form::Padded {
            let sum = self.op("Add", &[x, y], Vec::new());
            return self.norm(&sum, norm);
        }
        if let Form::Fused(_) = self.form {
            return fused::add_norm(self, (x, y), norm, None);
        }
        let parameters = self.norm_parameters(norm)?;
        let mut inputs = vec![x, y];
        inputs.extend(parameters.iter().map(String::as_str));
        let attributes = vec![float("epsilon", self.config.norm_epsilon)];
        Ok(self.op_of((DOMAIN, "AddNorm"), &inputs, attributes))
    }

    /// A norm's gain, and its shift where it has one.
    pub(super) fn norm_parameters(&mut self, norm: &Norm<'_>) -> Result<Vec<String>> {
        let Norm { name, width, shift: has_shift } = *norm;
        // Checkpoints that were converted from TensorFlow keep its names.
        let old = self.weights.contains(&format!("{name}.gamma"));
        let (gain, shift) = if old { ("gamma", "beta") } else { ("weight", "bias") };
        let mut parameters = vec![self.tensor(&format!("{name}.{gain}"), &[width])?];
        if has_shift {
            parameters.push(self.tensor(&format!("{name}.{shift}"), &[width])?);
        }
        Ok(parameters)
    }

    /// The vector of each text's first token, `[batch, hidden]`.
    pub(crate) fn first_tokens(&mut self, x: &str) -> Result<String> {
        match self.form {
            Form::Fused(_) => fused::picked(self, x),
            Form::Padded => {
                let zero = self.int(0)?;
                Ok(self.op("Gather", &[x, &zero], vec![int("axis", 1)]))
            }
            Form::Packed => {
                let starts = self.starts()?;
                Ok(self.op("Gather", &[x, &starts], vec![int("axis", 0)]))
            }
        }
    }

    /// The first token of each text in the packed form, `[batch]`.
    pub(crate) fn starts(&mut self) -> Result<String> {
        self.shared("starts", |builder| {
            let (from, to) = (builder.ints(&[0])?, builder.ints(&[-1])?);
            Ok(builder.op("Slice", &["offsets", &from, &to], Vec::new()))
        })
    }

    fn fresh(&mut self, what: &str) -> String {
        self.next += 1;
        format!("{what}_{}", self.next)
    }
}
