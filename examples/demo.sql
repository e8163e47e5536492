-- 13,083 questions that customers asked a bank, each with the intent that people gave it (banking77, CC BY 4.0).
SELECT split, count(*) AS questions, count(DISTINCT intent) AS intents
FROM 'examples/data/banking77.parquet' GROUP BY split ORDER BY split;

-- Text becomes vectors, inside SQL, on this machine: 3,080 questions through all-MiniLM-L6-v2.
CREATE TABLE questions AS
SELECT id, text, intent, embed(text) AS embedding
FROM 'examples/data/banking77.parquet' WHERE split = 'test';

-- Search by meaning: the nearest questions need not share a word with the query.
SELECT round(cos_sim(embedding, embed('a thief has my card')), 3) AS score, text, intent
FROM questions ORDER BY score DESC, id LIMIT 8;

-- Similarity of two texts.
SELECT round(similarity(one, two), 3) AS similarity, one, two
FROM (VALUES ('My card has not arrived', 'Where is the card that I ordered?'),
             ('My card has not arrived', 'How do I change my PIN?')) AS pairs (one, two);

-- Search as a finding: the nearest questions to each of several, in one pass.
SELECT query_id, rank, round(score, 3) AS score, text
FROM semantic_search(questions, top_k => 2,
                     queries => (SELECT * FROM (VALUES (1, 'the machine ate my card'), (2, 'is there a fee for euros?')) AS q (id, text)));

-- The same question in other words: the best of 4.7 million pairs that are not the same text.
SELECT round(score, 3) AS score, a.text AS one, b.text AS two
FROM paraphrase_mining(questions, threshold => 0.9) AS pairs
JOIN questions AS a ON a.id = id_a JOIN questions AS b ON b.id = id_b
WHERE lower(a.text) <> lower(b.text)
ORDER BY score DESC, a.id, b.id LIMIT 5;

-- Duplicates: how many questions repeat an earlier one, word for word or nearly?
SELECT coalesce(reason, 'kept') AS result, count(*) AS questions
FROM dedup(questions, threshold => 0.95) GROUP BY result ORDER BY questions DESC;

-- Topics: what are these questions about?
SELECT size, array_to_string(words, ', ') AS words, representatives[1] AS example
FROM topic_table(questions, algorithm => 'kmeans', k => 25, words => 5) ORDER BY size DESC LIMIT 8;

-- Intents from examples: the mean vector of each intent is its centre, and a new question goes to the nearest ones.
CREATE TABLE centres AS
SELECT intent, vector_avg(embedding) AS centre FROM questions GROUP BY intent;

WITH asked AS (
    SELECT text, embed(text) AS embedding
    FROM (VALUES ('someone stole my phone, can they pay with it?'),
                 ('how long until the transfer shows up'),
                 ('the machine ate my card')) AS new (text)
), ranked AS (
    SELECT text, intent, cos_sim(embedding, centre) AS score,
           row_number() OVER (PARTITION BY text ORDER BY cos_sim(embedding, centre) DESC) AS place
    FROM asked CROSS JOIN centres
)
SELECT text, place, intent, round(score, 3) AS score
FROM ranked WHERE place <= 2 ORDER BY text, place;

-- How often is the nearest centre the intent that people gave? 500 other questions tell.
WITH asked AS (
    SELECT id, intent AS given, embed(text) AS embedding
    FROM 'examples/data/banking77.parquet' WHERE split = 'train' AND id % 20 = 0
), ranked AS (
    SELECT id, given, intent,
           row_number() OVER (PARTITION BY id ORDER BY cos_sim(embedding, centre) DESC) AS place
    FROM asked CROSS JOIN centres
)
SELECT count(*) AS questions,
       round(100.0 * count(*) FILTER (WHERE given = intent) / count(*), 1) AS percent_right
FROM ranked WHERE place = 1;
