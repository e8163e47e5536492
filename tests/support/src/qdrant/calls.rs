//! The calls: what each takes, what it does, and what it answers.

use serde_json::{Value, json};

use super::body::{self, Checked, id, list, object};
use super::http::{Request, Response, decoded};
use super::{Point, State, Stored};

/// Queries of calls that change points.
const CHANGE: [&str; 3] = ["wait", "ordering", "timeout"];
const READ: [&str; 2] = ["consistency", "timeout"];

/// A call that went another way than its result.
enum Refused {
    /// The description has no such call.
    Violation(String),
    Answer(Response),
}

impl From<String> for Refused {
    fn from(why: String) -> Self {
        Self::Violation(why)
    }
}

/// Does what is asked for.
pub(super) fn answer(state: &mut State, request: &Request) -> Response {
    match called(state, request) {
        Ok(result) => Response::result(result),
        Err(Refused::Answer(response)) => response,
        Err(Refused::Violation(why)) => {
            state.violations.push(format!("{}: {why}", request.line));
            Response::error(400, &format!("Format error in JSON body: {why}"))
        }
    }
}

fn called(state: &mut State, request: &Request) -> Result<Value, Refused> {
    let segments: Option<Vec<String>> = request.path.split('/').skip(1).map(decoded).collect();
    let segments = segments.ok_or_else(|| "a path that is no text".to_string())?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let ["collections", name, rest @ ..] = segments.as_slice() else {
        return Err(format!("there is no path {}", request.path).into());
    };
    if name.contains(['<', '>', ':', '"', '/', '\\', '|', '?', '*']) || name.len() > 255 {
        let why = "Validation error in path parameters: [collection_name: value INVALID]";
        return Err(Refused::Answer(Response::error(422, why)));
    }
    match (request.method.as_str(), rest) {
        ("GET", []) => {
            checked_query(request, &[])?;
            described(state, name)
        }
        ("PUT", []) => {
            checked_query(request, &["timeout"])?;
            create(state, name, &json_of(request)?)
        }
        ("PUT", ["index"]) => {
            checked_query(request, &CHANGE)?;
            index(stored(state, name)?, &json_of(request)?)
        }
        ("PUT", ["points"]) => {
            checked_query(request, &CHANGE)?;
            upsert(state, name, &json_of(request)?)
        }
        ("POST", ["points"]) => {
            checked_query(request, &READ)?;
            got(stored(state, name)?, &json_of(request)?)
        }
        ("POST", ["points", "delete"]) => {
            checked_query(request, &CHANGE)?;
            delete(stored(state, name)?, &json_of(request)?)
        }
        _ => Err(format!("there is no {} {}", request.method, request.path).into()),
    }
}

fn checked_query(request: &Request, known: &[&str]) -> Checked<()> {
    for (key, value) in &request.query {
        let is_right = match key.as_str() {
            "wait" => ["true", "false"].contains(&value.as_str()),
            "ordering" => ["weak", "medium", "strong"].contains(&value.as_str()),
            "timeout" => value.parse::<u64>().is_ok(),
            _ => true,
        };
        if !known.contains(&key.as_str()) || !is_right {
            return Err(format!("there is no {key}={value} in its query"));
        }
    }
    Ok(())
}

fn json_of(request: &Request) -> Checked<Value> {
    if !request.is_json {
        return Err("a body must be application/json".into());
    }
    serde_json::from_str(&request.body).map_err(|error| format!("a body that is no JSON: {error}"))
}

fn stored<'a>(state: &'a mut State, name: &str) -> Result<&'a mut Stored, Refused> {
    let why = format!("Not found: Collection `{name}` doesn't exist!");
    state.collections.get_mut(name).ok_or(Refused::Answer(Response::error(404, &why)))
}

fn described(state: &mut State, name: &str) -> Result<Value, Refused> {
    let stored = stored(state, name)?;
    let mut config = json!({
        "params": { "vectors": stored.config["vectors"], "shard_number": 1, "on_disk_payload": true },
        "hnsw_config": { "m": 16, "ef_construct": 100, "full_scan_threshold": 10000 },
        "optimizer_config": { "deleted_threshold": 0.2, "flush_interval_sec": 5 },
        "wal_config": { "wal_capacity_mb": 32, "wal_segments_ahead": 0 },
    });
    if let Some(metadata) = stored.config.get("metadata") {
        config["metadata"] = metadata.clone();
    }
    Ok(json!({
        "status": "green",
        "optimizer_status": "ok",
        "points_count": stored.points.len(),
        "segments_count": 1,
        "config": config,
        "payload_schema": {},
    }))
}

fn create(state: &mut State, name: &str, value: &Value) -> Result<Value, Refused> {
    body::create_collection(value)?;
    if state.collections.contains_key(name) {
        let why = format!("Wrong input: Collection `{name}` already exists!");
        return Err(Refused::Answer(Response::error(409, &why)));
    }
    let stored = Stored { config: value.clone(), ..Stored::default() };
    state.collections.insert(name.into(), stored);
    Ok(true.into())
}

fn index(stored: &mut Stored, value: &Value) -> Result<Value, Refused> {
    let field = object("CreateFieldIndex", value, &["field_name"], &["field_schema"])?;
    let text = |name: &str| field.get(name).and_then(Value::as_str).map(str::to_string);
    let kind = text("field_schema").ok_or_else(|| "no field_schema".to_string())?;
    if !["keyword", "integer", "float", "geo", "text", "bool", "datetime", "uuid"]
        .contains(&kind.as_str())
    {
        return Err(format!("there is no field_schema '{kind}'").into());
    }
    let name = text("field_name").ok_or_else(|| "field_name must be a text".to_string())?;
    stored.indexes.insert(name, kind);
    Ok(done())
}

/// `PointsList`: all points are taken, or none.
fn upsert(state: &mut State, name: &str, value: &Value) -> Result<Value, Refused> {
    let refused = state.refused.clone();
    let stored = stored(state, name)?;
    let optional = ["shard_key", "update_filter", "update_mode"];
    let points = list(object("PointsList", value, &["points"], &optional)?, "points")?;
    let mut new = Vec::with_capacity(points.len());
    for point in points {
        let fields = object("PointStruct", point, &["id", "vector"], &["payload"])?;
        let (vector_name, vector) = body::vector(&fields["vector"])?;
        let payload = fields.get("payload").and_then(Value::as_object).cloned();
        let payload = payload.ok_or_else(|| "'payload' must be an object".to_string())?;
        let params = match &vector_name {
            Some(name) => &stored.config["vectors"][name.as_str()],
            None => &stored.config["vectors"],
        };
        let Some(size) = params["size"].as_u64() else {
            let why = "Wrong input: Not existing vector name error";
            return Err(Refused::Answer(Response::error(400, why)));
        };
        if vector.len() as u64 != size {
            let got = vector.len();
            let why =
                format!("Wrong input: Vector dimension error: expected dim: {size}, got {got}");
            return Err(Refused::Answer(Response::error(400, &why)));
        }
        if refused
            .as_ref()
            .is_some_and(|text| Value::from(payload.clone()).to_string().contains(text))
        {
            return Err(Refused::Answer(Response::error(400, "Wrong input: a payload is refused")));
        }
        new.push((id(&fields["id"])?, Point { vector, vector_name, payload }));
    }
    stored.points.extend(new);
    Ok(done())
}

/// `PointRequest`.
fn got(stored: &mut Stored, value: &Value) -> Result<Value, Refused> {
    let optional = ["with_payload", "with_vector", "shard_key"];
    let request = object("PointRequest", value, &["ids"], &optional)?;
    let ids = list(request, "ids")?;
    let mut records = Vec::new();
    for wanted in ids {
        if let Some(point) = stored.points.get(&id(wanted)?) {
            records.push(json!({ "id": wanted, "payload": point.payload }));
        }
    }
    Ok(records.into())
}

/// `PointsSelector`: ids or a filter.
fn delete(stored: &mut Stored, value: &Value) -> Result<Value, Refused> {
    if value.get("filter").is_none() {
        for wanted in list(object("PointIdsList", value, &["points"], &["shard_key"])?, "points")? {
            stored.points.remove(&id(wanted)?);
        }
        return Ok(done());
    }
    let filter = &object("FilterSelector", value, &["filter"], &["shard_key"])?["filter"];
    let mut gone = Vec::new();
    for (id, point) in &stored.points {
        if body::meets(filter, &point.payload)? {
            gone.push(id.clone());
        }
    }
    gone.iter().for_each(|id| drop(stored.points.remove(id)));
    Ok(done())
}

fn done() -> Value {
    json!({ "operation_id": 1, "status": "completed" })
}
