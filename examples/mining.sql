-- Paraphrase mining: the pairs of questions that say the same in other words, best first, out of all 4.7 million pairs.
WITH questions AS (
    SELECT id, text, intent FROM 'examples/data/banking77.parquet' WHERE split = 'test'
)
SELECT round(score, 3) AS score, one.text AS one, two.text AS two
FROM paraphrase_mining(questions, threshold => 0.9, model => 'potion') AS pairs
JOIN questions AS one ON one.id = pairs.id_a
JOIN questions AS two ON two.id = pairs.id_b
WHERE lower(one.text) <> lower(two.text) AND one.intent <> two.intent
ORDER BY score DESC, one.id, two.id
LIMIT 5;
