-- Retrieval of documents by their passages: long texts are cut into overlapping chunks, chunks are searched, and each
-- document is found by its best one. A model sees only the beginning of a long text; chunks let it see the whole.
-- The documents here are all questions of an intent, one after another.
CREATE TABLE documents AS
SELECT intent AS id, string_agg(text, ' ' ORDER BY id) AS text
FROM 'examples/data/banking77.parquet' WHERE split = 'test' GROUP BY intent;

-- Chunks of 60 words, each of which begins 50 words after the one before.
CREATE TABLE chunks AS
SELECT id AS document, start, array_to_string(array_slice(words, start, start + 59), ' ') AS text
FROM (
  SELECT id, words, unnest(range(1, CAST(array_length(words) AS BIGINT) + 1, 50)) AS start
  FROM (SELECT id, string_to_array(text, ' ') AS words FROM documents)
);

SELECT count(DISTINCT document) AS documents, count(*) AS chunks FROM chunks;

-- The chunks that answer best, then the best chunk of each document.
WITH hits AS (
  SELECT document, start, text, score,
         row_number() OVER (PARTITION BY document ORDER BY score DESC, start) AS place
  FROM semantic_search(chunks, query => 'I cannot remember my passcode', top_k => 20, model => 'potion')
)
SELECT document, start AS from_word, round(score, 3) AS score, substr(text, 1, 60) AS passage
FROM hits WHERE place = 1 ORDER BY 3 DESC LIMIT 3;
