-- Near duplicates inside one intent: pairs of questions that say almost the same.
WITH vectors AS (
    SELECT id, text, embed(text, 'potion') AS embedding
    FROM 'examples/data/banking77.parquet'
    WHERE intent = 'card_arrival'
)
SELECT round(cos_sim(one.embedding, two.embedding), 3) AS score, one.text AS one, two.text AS two
FROM vectors AS one JOIN vectors AS two ON one.id < two.id
WHERE cos_sim(one.embedding, two.embedding) > 0.9
ORDER BY score DESC, one, two
LIMIT 5;
