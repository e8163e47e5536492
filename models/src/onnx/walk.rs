//! Visits every tensor of a model, wherever the format allows one: initializers, sparse
//! initializers, attributes of nodes, graphs inside attributes, functions and their default
//! attributes, training graphs.

use super::DOMAIN;
use super::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto,
};

/// Graphs that may lie within each other. Real models stay below five.
const DEPTH_MAX: usize = 16;

/// What a visit gives: nothing, or what is wrong, in words that name the place.
type Outcome = Result<(), String>;

/// Called with what a tensor is, for messages, and the tensor.
type Visit<'v> = dyn FnMut(&str, &mut TensorProto) -> Outcome + 'v;

/// Visits every tensor of a model. Stops at the first problem.
///
/// # Errors
/// What `visit` gives; graphs that nest too deep; nodes of Sembla's own domain, whose operators
/// trust their graph.
pub(super) fn every_tensor(model: &mut ModelProto, visit: &mut Visit<'_>) -> Outcome {
    if let Some(main) = &mut model.graph {
        graph(main, 0, visit)?;
    }
    for function in &mut model.functions {
        nodes(&mut function.node, 0, visit)?;
        let name = function.name.clone().unwrap_or_default();
        for default in &mut function.attribute_proto {
            attribute(default, &format!("function '{name}'"), 0, visit)?;
        }
    }
    for training in &mut model.training_info {
        for part in [&mut training.initialization, &mut training.algorithm].into_iter().flatten() {
            graph(part, 0, visit)?;
        }
    }
    Ok(())
}

fn graph(graph: &mut GraphProto, depth: usize, visit: &mut Visit<'_>) -> Outcome {
    if depth > DEPTH_MAX {
        return Err(format!("nests graphs more than {DEPTH_MAX} deep"));
    }
    for tensor in &mut graph.initializer {
        let what = format!("initializer '{}'", tensor.name());
        visit(&what, tensor)?;
    }
    for tensor in &mut graph.sparse_initializer {
        sparse(tensor, "sparse initializer", visit)?;
    }
    nodes(&mut graph.node, depth, visit)
}

fn nodes(nodes: &mut [NodeProto], depth: usize, visit: &mut Visit<'_>) -> Outcome {
    for node in nodes {
        let owner = match (node.name(), node.output.first()) {
            ("", Some(output)) => format!("the {} node of '{output}'", node.op_type()),
            (name, _) => format!("node '{name}'"),
        };
        if node.domain() == DOMAIN {
            return Err(format!(
                "{owner} uses the domain {DOMAIN}, which is for Sembla's own graphs"
            ));
        }
        for part in &mut node.attribute {
            attribute(part, &owner, depth, visit)?;
        }
    }
    Ok(())
}

fn attribute(
    attribute: &mut AttributeProto,
    owner: &str,
    depth: usize,
    visit: &mut Visit<'_>,
) -> Outcome {
    let what = format!("attribute '{}' of {owner}", attribute.name());
    for tensor in attribute.t.as_deref_mut().into_iter().chain(&mut attribute.tensors) {
        visit(&what, tensor)?;
    }
    let sparse_tensors = attribute.sparse_tensor.as_deref_mut().into_iter();
    for tensor in sparse_tensors.chain(&mut attribute.sparse_tensors) {
        sparse(tensor, &what, visit)?;
    }
    for inner in attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs) {
        graph(inner, depth + 1, visit)?;
    }
    Ok(())
}

fn sparse(tensor: &mut SparseTensorProto, what: &str, visit: &mut Visit<'_>) -> Outcome {
    let name = tensor.values.as_ref().map(|values| values.name().to_string()).unwrap_or_default();
    if let Some(values) = &mut tensor.values {
        visit(&format!("{what} '{name}' (values)"), values)?;
    }
    if let Some(indices) = &mut tensor.indices {
        visit(&format!("{what} '{name}' (indices)"), indices)?;
    }
    Ok(())
}
