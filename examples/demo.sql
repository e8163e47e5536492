-- 13,083 questions that customers asked a bank (banking77, CC BY 4.0), each with the intent that people gave it.
CREATE VIEW questions AS SELECT id, text, intent, split FROM 'examples/data/banking77.parquet';

-- Search by meaning: no word of the query needs to be in the text. Every tenth question is embedded here, now.
CREATE TABLE vectors AS
SELECT id, text, intent, embed(text) AS embedding FROM questions WHERE id % 10 = 0;
SELECT round(cos_sim(embedding, embed('a thief took my card')), 3) AS score, text, intent
FROM vectors ORDER BY score DESC LIMIT 8;

-- Similarity of two texts.
SELECT round(similarity(a, b), 3) AS similarity, a, b
FROM (VALUES ('My card has not arrived', 'Where is the card that I ordered?'),
             ('My card has not arrived', 'How do I change my PIN?')) AS pairs (a, b);

-- The same question in other words: pairs of texts, the nearest first.
SELECT round(cos_sim(one.embedding, two.embedding), 3) AS score, one.text AS one, two.text AS two
FROM vectors AS one JOIN vectors AS two ON one.id < two.id AND one.intent = two.intent
ORDER BY score DESC LIMIT 6;

-- Intents from examples: the mean vector of each intent is its centre; new questions go to the nearest centre.
CREATE TABLE centres AS
SELECT intent, vector_avg(embedding) AS centre, count(*) AS examples FROM vectors GROUP BY intent;
WITH asked AS (SELECT text, embed(text) AS embedding FROM (VALUES
       ('someone stole my phone, can they pay with it?'),
       ('how long until the transfer shows up'),
       ('the machine ate my card')) AS new (text)),
     ranked AS (SELECT text, intent, cos_sim(embedding, centre) AS score,
                       row_number() OVER (PARTITION BY text ORDER BY cos_sim(embedding, centre) DESC) AS place
                FROM asked CROSS JOIN centres)
SELECT text, place, intent, round(score, 3) AS score FROM ranked WHERE place <= 2 ORDER BY text, place;

-- How well that does: the share of other questions whose nearest centre is the intent that people gave them.
WITH asked AS (SELECT id, intent AS wanted, embed(text) AS embedding FROM questions WHERE id % 40 = 5),
     ranked AS (SELECT id, wanted, intent,
                       row_number() OVER (PARTITION BY id ORDER BY cos_sim(embedding, centre) DESC) AS place
                FROM asked CROSS JOIN centres)
SELECT count(*) AS questions,
       round(100.0 * avg(CASE WHEN wanted = intent THEN 1 ELSE 0 END), 1) AS percent_right
FROM ranked WHERE place = 1;
