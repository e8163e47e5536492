//! CSV and JSON files. What a survey says of a file holds when its rows are read, whole and in the
//! ranges that it gives.

#![no_main]

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use sembla_readers::{
    Cancel, Limits, Open, RowsRequest, TextOptions, merge, rows, survey, tolerant_rows,
};

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl Open for Bytes {
    fn name(&self) -> &str {
        "input"
    }

    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        Ok(Box::new(Cursor::new(self.0[start..].to_vec())))
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((first, content)) = data.split_first() else { return };
    let options = if first % 2 == 0 { TextOptions::csv() } else { TextOptions::json() };
    let limits =
        Limits { record_bytes_max: 4096, value_bytes_max: 2048, columns_max: 50, depth_max: 20 };
    let file: Arc<dyn Open> = Arc::new(Bytes(content.to_vec()));
    let Ok(found) = survey(file.as_ref(), &options, &limits, &Cancel::never()) else { return };
    let Ok(schema) = merge(&[("input", &found)]) else { return };
    let mut request = RowsRequest::new(found.dialect.clone(), schema);
    request.limits = limits;
    request.batch_rows = 1 + usize::from(*first / 2) % 7;
    let count = |request: RowsRequest| -> u64 {
        let read = rows(Arc::clone(&file), request).expect("it was surveyed");
        read.map(|batch| batch.expect("its types hold for every row").num_rows() as u64).sum()
    };
    assert_eq!(count(request.clone()), found.rows, "a survey counts the rows");
    let mut tolerant = tolerant_rows(Arc::clone(&file), request).expect("it was surveyed");
    assert!(tolerant.all(|batch| batch.is_ok_and(|batch| batch.bad.is_empty())));
});
