-- Semantic search over a Parquet file: the texts nearest to a question, best first.
SELECT round(cos_sim(embed(text, 'potion'), embed('my card was stolen', 'potion')), 3) AS score, text
FROM 'examples/data/banking77.parquet'
ORDER BY score DESC, text
LIMIT 5;
