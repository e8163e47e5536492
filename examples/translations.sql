-- Bitext mining: which sentence is the translation of which, in seven languages, and how many are found.
WITH foreign AS (
    SELECT id, text FROM 'examples/data/tatoeba.csv'
), english AS (
    SELECT id, english AS text FROM 'examples/data/tatoeba.csv' ORDER BY english
), found AS (
    SELECT * FROM bitext_mining(foreign, target => english, model => 'multilingual')
)
SELECT language, count(*) AS pairs, sum(CAST(found.id_b = sentences.id AS INT)) AS right_ones,
       min(found.score) AS least_score
FROM found JOIN 'examples/data/tatoeba.csv' AS sentences ON sentences.id = found.id_a
GROUP BY language ORDER BY language;
