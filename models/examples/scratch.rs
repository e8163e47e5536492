//! scratch
use sembla_models::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    if a[1] == "quantize" {
        println!("{:?}", quantize(&a[2], std::path::Path::new(&a[3])));
        return;
    }
    let mut spec = ModelSpec::new(&a[1]);
    for kv in &a[3..] {
        let (k, v) = kv.split_once('=').unwrap();
        spec.set(k, v).unwrap();
    }
    let t = std::time::Instant::now();
    let m = Model::load(&spec).unwrap();
    println!("load {:?} {:?}", t.elapsed(), m.info().precision);
    let text = std::fs::read_to_string(&a[2]).unwrap();
    let texts: Vec<&str> = text.lines().collect();
    for _ in 0..2 {
        let t = std::time::Instant::now();
        let before = m.stats().tokens;
        let _ = m.embed(&texts, Prompt::Default, &CancelToken::new()).unwrap();
        let s = t.elapsed().as_secs_f64();
        println!(
            "{} texts {:.0}/s  {:.0} tokens/s",
            texts.len(),
            texts.len() as f64 / s,
            (m.stats().tokens - before) as f64 / s
        );
    }
}
