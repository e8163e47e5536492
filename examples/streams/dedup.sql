-- A stream deduplicated before it lands: of messages that say the same within an hour, the first is kept.
-- Run it with: sembla run examples/streams/dedup.sql -m potion

-- A stream to replay: one question every two seconds.
COPY (SELECT id, text, to_timestamp_seconds(1767225600 + id * 2) AS ts FROM 'examples/data/banking77.parquet' WHERE split = 'test')
TO '.sembla/examples/incoming.parquet';

CREATE SOURCE incoming (
  id BIGINT, text VARCHAR NOT NULL, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
) WITH (connector = 'files', path = '.sembla/examples/incoming.parquet');

CREATE SINK landed WITH (connector = 'files', path = '.sembla/examples/landed', format = 'parquet');

INSERT INTO landed
SELECT id, text, ts FROM online_dedup(tumble(incoming, INTERVAL '10 seconds'), horizon => INTERVAL '1 hour', threshold => 0.9)
WHERE is_kept;
