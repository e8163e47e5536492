-- A stream of news against a watch list, by meaning: the Reuters newswire of 1987 as it came in, two months at full speed.
-- Run it with: sembla run examples/streams/reuters.sql -m potion
-- It wants reuters21578.jsonl in the current folder: lines of id, ts, title and body. The collection is free for research and
-- not part of this project: https://archive.ics.uci.edu/dataset/137/reuters+21578+text+categorization+collection

CREATE TABLE watch_list AS SELECT column1 AS id, column2 AS text
FROM (VALUES (1, 'coffee prices and export quotas'), (2, 'a company buys back its shares'), (3, 'oil tankers attacked in the Gulf'));

CREATE SOURCE news (
  id BIGINT, title VARCHAR NOT NULL, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '1 hour'
) WITH (connector = 'files', path = 'reuters21578.jsonl');

CREATE SINK watched WITH (connector = 'files', path = '.sembla/examples/reuters_watched', format = 'json');

INSERT INTO watched
SELECT id, ts, match_text AS watched_for, round(score, 3) AS score, title
FROM semantic_join((SELECT id, title AS text, title, ts FROM news), corpus => watch_list, id => id, threshold => 0.5);

-- How much of it there was, day by day.
CREATE SINK watched_by_day WITH (connector = 'files', path = '.sembla/examples/reuters_by_day', format = 'json');

INSERT INTO watched_by_day
SELECT window_start, match_text AS watched_for, count(*) AS items
FROM tumble((SELECT ts, match_text FROM semantic_join(
       (SELECT id, title AS text, ts FROM news), corpus => watch_list, id => id, threshold => 0.5)), ts, INTERVAL '1 day')
GROUP BY window_start, match_text;
