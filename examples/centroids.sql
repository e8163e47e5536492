-- The mean vector of a group stands for the group: which intents lie nearest to a new question?
WITH centres AS (
    SELECT intent, vector_avg(embed(text, 'potion')) AS centre
    FROM 'examples/data/banking77.parquet'
    GROUP BY intent
)
SELECT intent, round(cos_sim(centre, embed('I forgot my passcode', 'potion')), 3) AS score
FROM centres
ORDER BY score DESC, intent
LIMIT 3;
