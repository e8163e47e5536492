-- Retrieval of documents by their passages: long texts are cut into chunks, chunks are searched, and each document is
-- found by its best one. A model sees only the beginning of a long text; chunks let it see the whole.
-- The documents here are all questions of an intent, one after another, below a notice that stands in all of them.
CREATE TABLE documents AS
SELECT intent AS document, 'This page belongs to the help centre of the bank. Do not share it with anybody outside. '
  || 'Have your card and your passport at hand before you call us about your account.' || chr(10) || chr(10)
  || string_agg(text, ' ' ORDER BY id) AS text
FROM 'examples/data/banking77.parquet' WHERE split = 'test' GROUP BY intent ORDER BY intent;

-- Chunks of at most 64 tokens of the model that will embed them, so that none is truncated.
CREATE TABLE chunks AS
SELECT document || ' ' || chunk_index AS id, document, chunk_index, chunk, embed(chunk, 'potion') AS vector
FROM chunk(documents, size => 64, overlap => 0, model => 'potion');

SELECT count(DISTINCT document) AS documents, count(*) AS chunks FROM chunks;

-- The notice is the first chunk of every document, and so it fills the hits.
SELECT document, round(score, 3) AS score, substr(chunk, 1, 60) AS chunk
FROM semantic_search(chunks, query => 'do I need my passport when I call?', top_k => 3, model => 'potion');

-- What stands in many documents says nothing about any of them: a cluster of duplicates over several documents is left
-- out whole, before the chunks are searched or an index is made of them.
CREATE TABLE passages AS
SELECT c.* FROM chunks AS c
JOIN (SELECT id, count(*) OVER (PARTITION BY cluster_id) AS times FROM dedup(chunks, threshold => 0.95)) AS d ON c.id = d.id
WHERE d.times < 5;

SELECT count(*) AS passages FROM passages;

-- The best three documents, each by its best chunk: the exact ranking of documents, not three chunks of one.
SELECT rank, document, round(score, 3) AS score, substr(chunk, 1, 60) AS chunk
FROM semantic_search(passages, query => 'I cannot remember my passcode', top_k => 3, group_by => document, model => 'potion');

-- By words and by meaning at once, with two passages of each document.
SELECT rank, document, vector_rank, text_rank, substr(chunk, 1, 60) AS chunk
FROM hybrid_search(passages, query => 'I cannot remember my passcode', top_k => 2, group_by => document,
                   chunks_per_document => 2, model => 'potion');
