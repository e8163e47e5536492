//! Bodies of calls, as the description of the interface has them: which fields there are, and of
//! which type. Fields that it does not have are wrong.

use serde_json::{Map, Value};

/// What came of looking at a body: what is wrong with it, if something is.
pub(super) type Checked<T> = Result<T, String>;

/// The object that a body is, whose fields must be among these; the first ones must be there.
pub(super) fn object<'a>(
    what: &str,
    value: &'a Value,
    required: &[&str],
    optional: &[&str],
) -> Checked<&'a Map<String, Value>> {
    let object = value.as_object().ok_or_else(|| format!("{what} must be an object: {value}"))?;
    let unknown = object
        .keys()
        .find(|key| !required.contains(&key.as_str()) && !optional.contains(&key.as_str()));
    if let Some(unknown) = unknown {
        return Err(format!("{what} has no field '{unknown}'"));
    }
    match required.iter().find(|key| !object.contains_key(**key)) {
        Some(missing) => Err(format!("{what} lacks the field '{missing}'")),
        None => Ok(object),
    }
}

/// A field that is a list.
pub(super) fn list<'a>(object: &'a Map<String, Value>, field: &str) -> Checked<&'a Vec<Value>> {
    let list = object.get(field).and_then(Value::as_array);
    list.ok_or_else(|| format!("'{field}' must be a list"))
}

/// An id (`ExtendedPointId`): an unsigned number of 64 bits, or a UUID.
pub(super) fn id(value: &Value) -> Checked<String> {
    let is_uuid = |text: &str| {
        let parts: Vec<_> = text.split('-').collect();
        let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
        lengths == [8, 4, 4, 4, 12]
            && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    match value {
        Value::Number(number) if number.is_u64() => Ok(number.to_string()),
        Value::String(text) if is_uuid(text) => Ok(value.to_string()),
        _ => Err(format!("{value} is no valid point id")),
    }
}

/// `VectorParams`: size and distance.
pub(super) fn vector_params(value: &Value) -> Checked<()> {
    let more = ["hnsw_config", "quantization_config", "on_disk", "datatype", "multivector_config"];
    let params = object("VectorParams", value, &["size", "distance"], &more)?;
    let size = params.get("size").and_then(Value::as_u64).filter(|size| *size > 0);
    size.ok_or("'size' must be a whole number from 1 on")?;
    let distance = params.get("distance").and_then(Value::as_str).unwrap_or_default();
    match ["Cosine", "Euclid", "Dot", "Manhattan"].contains(&distance) {
        true => Ok(()),
        false => Err(format!("there is no distance '{distance}'")),
    }
}

/// `CreateCollection`.
pub(super) fn create_collection(value: &Value) -> Checked<()> {
    const OPTIONAL: [&str; 13] = [
        "vectors",
        "shard_number",
        "sharding_method",
        "replication_factor",
        "write_consistency_factor",
        "on_disk_payload",
        "hnsw_config",
        "wal_config",
        "optimizers_config",
        "quantization_config",
        "sparse_vectors",
        "strict_mode_config",
        "metadata",
    ];
    let all = object("CreateCollection", value, &[], &OPTIONAL)?;
    if all.get("metadata").is_some_and(|metadata| !metadata.is_object()) {
        return Err("'metadata' must be an object".into());
    }
    match all.get("vectors") {
        None => Ok(()),
        Some(single) if single.get("size").is_some() => vector_params(single),
        Some(named) => {
            let named = named.as_object().ok_or("'vectors' must be an object")?;
            named.values().try_for_each(vector_params)
        }
    }
}

/// The vector of a point with its name, if it has one.
pub(super) fn vector(value: &Value) -> Checked<(Option<String>, Vec<f64>)> {
    let (name, numbers) = match value {
        Value::Object(named) => {
            let mut named = named.iter();
            let (name, numbers) = named.next().ok_or("a point without a vector")?;
            (Some(name.clone()), numbers)
        }
        numbers => (None, numbers),
    };
    let numbers = numbers.as_array().ok_or_else(|| format!("a vector must be a list: {value}"))?;
    let numbers = numbers.iter().map(|number| number.as_f64());
    let numbers: Option<Vec<f64>> = numbers.collect();
    Ok((name, numbers.ok_or("a component of a vector is no number")?))
}

/// Whether a payload meets a `Filter` of the fields `should` and `must`, whose conditions are
/// filters, or comparisons of a field with a value or a range.
pub(super) fn meets(filter: &Value, payload: &Map<String, Value>) -> Checked<bool> {
    let all = object("Filter", filter, &[], &["should", "must"])?;
    let of = |field: &str| -> Checked<Option<Vec<bool>>> {
        if !all.contains_key(field) {
            return Ok(None);
        }
        let conditions = list(all, field)?.iter();
        conditions.map(|one| condition(one, payload)).collect::<Checked<_>>().map(Some)
    };
    let (should, must) = (of("should")?, of("must")?);
    Ok(should.is_none_or(|any| any.contains(&true)) && must.is_none_or(|all| !all.contains(&false)))
}

fn condition(value: &Value, payload: &Map<String, Value>) -> Checked<bool> {
    if value.get("key").is_none() {
        return meets(value, payload);
    }
    let field = object("FieldCondition", value, &["key"], &["match", "range"])?;
    let path = field.get("key").and_then(Value::as_str).ok_or("'key' must be a text")?;
    let quoted = path.strip_prefix('"').and_then(|path| path.strip_suffix('"'));
    if quoted.is_none() && path.contains(['.', '[', ']', ' ']) {
        return Err(format!("the path '{path}' is of a nested field"));
    }
    let own = payload.get(quoted.unwrap_or(path)).unwrap_or(&Value::Null);
    if let Some(wanted) = field.get("match") {
        let wanted = &object("MatchValue", wanted, &["value"], &[])?["value"];
        let can_match =
            wanted.is_string() || wanted.is_i64() || wanted.is_u64() || wanted.is_boolean();
        return if can_match { Ok(own == wanted) } else { Err(format!("can't match {wanted}")) };
    }
    let range = field.get("range").ok_or("a condition of nothing")?;
    let range = object("Range", range, &[], &["lt", "gt", "gte", "lte"])?;
    let own = own.as_f64();
    let holds = range.iter().map(|(name, bound)| {
        let bound = bound.as_f64().ok_or_else(|| format!("'{name}' must be a number"))?;
        Ok(own.is_some_and(|own| match name.as_str() {
            "lt" => own < bound,
            "gt" => own > bound,
            "gte" => own >= bound,
            _ => own <= bound,
        }))
    });
    Ok(holds.collect::<Checked<Vec<_>>>()?.into_iter().all(|holds| holds))
}
