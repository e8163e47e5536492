//! `sembla bench embed --profile`: its table names the operators of each precision.

use crate::place::Place;

#[test]
fn a_profile_names_the_operators_of_each_precision() {
    let place = Place::new();
    place.write("texts.csv", "text\nwhere is my card\nthe refund is late\n");
    let profile = |model: &str, precision: &str| {
        let args = ["bench", "embed", "--profile", "--input", "texts.csv", "-m", model];
        place.run(&[&args[..], &["--precision", precision]].concat()).ok()
    };
    let text = profile("minilm", "f32,q8");
    let tables: Vec<&str> = text.trim().split("\n\n").collect();
    assert_eq!(tables.len(), 2, "{text}");
    for (table, product) in tables.iter().zip(["Gemm 384 x 1536", "QLinear 384 x 1536"]) {
        assert!(table.contains(": 2 texts, 13 tokens, one core"), "{table}");
        for row in [product, "Attention", "AddNorm", "tokenisation", "together"] {
            assert!(table.lines().any(|line| line.starts_with(row)), "no '{row}' in {table}");
        }
    }
    let text = profile("potion", "q8");
    assert!(text.lines().any(|line| line.starts_with("lookup and mean")), "{text}");
}
