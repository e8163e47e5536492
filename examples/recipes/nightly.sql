-- Incremental embedding: each night only the rows that are new are embedded, into one more file of a folder. The folder is
-- one table to whoever reads it. Here two nights run one after the other; in real life the second statement is the job.
COPY (
  SELECT id, text, embed(text, 'potion') AS embedding
  FROM 'examples/data/banking77.parquet' WHERE split = 'test' AND id % 3 = 0
) TO '.sembla/examples/nightly/2026-01-01.parquet';

-- The anti-join leaves out what is there, so running it twice embeds nothing twice.
COPY (
  SELECT new.id, new.text, embed(new.text, 'potion') AS embedding
  FROM 'examples/data/banking77.parquet' AS new
  LEFT ANTI JOIN '.sembla/examples/nightly' AS there ON new.id = there.id
  WHERE new.split = 'test'
) TO '.sembla/examples/nightly/2026-01-02.parquet';

SELECT count(*) AS rows, count(DISTINCT id) AS different FROM '.sembla/examples/nightly';

-- The vectors are searched as they lie there; only the query is embedded.
SELECT id, round(score, 3) AS score, text
FROM semantic_search('.sembla/examples/nightly', query => 'my card was stolen', top_k => 3, model => 'potion');
