-- News against a watch list, by meaning: each item with the entry that it is nearest to. No window: every item is answered at once.
-- Run it with: sembla run examples/streams/watch_list.sql -m potion
-- Any file of id, text and ts will do in the place of the questions.

COPY (SELECT id, text, to_timestamp_seconds(1767225600 + id * 2) AS ts FROM 'examples/data/banking77.parquet' WHERE split = 'test')
TO '.sembla/examples/news.parquet';

CREATE TABLE watch_list AS SELECT column1 AS id, column2 AS text
FROM (VALUES (1, 'somebody has stolen my card'), (2, 'the machine gave me the wrong amount of cash'), (3, 'I want to close my account'));

CREATE SOURCE news (
  id BIGINT, text VARCHAR NOT NULL, ts TIMESTAMP,
  WATERMARK FOR ts
) WITH (connector = 'files', path = '.sembla/examples/news.parquet');

CREATE SINK watched WITH (connector = 'files', path = '.sembla/examples/watched', format = 'json');

INSERT INTO watched
SELECT id, ts, match_text AS watched_for, round(score, 3) AS score, text
FROM semantic_join((SELECT id, text, ts FROM news), corpus => watch_list, id => id, threshold => 0.6);
