-- Topics of a stream of support messages, with ids that stay from window to window: replays a file, so that it runs anywhere.
-- Run it with: sembla run examples/streams/topics.sql -m potion
-- topics_kafka.sql is the same pipeline over Apache Kafka.

-- A stream to replay: one question every two seconds.
COPY (SELECT id, text, to_timestamp_seconds(1767225600 + id * 2) AS ts FROM 'examples/data/banking77.parquet' WHERE split = 'test')
TO '.sembla/examples/messages.parquet';

CREATE SOURCE messages (
  id BIGINT, text VARCHAR NOT NULL, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
) WITH (connector = 'files', path = '.sembla/examples/messages.parquet');

CREATE SINK message_topics WITH (connector = 'files', path = '.sembla/examples/message_topics', format = 'json');

INSERT INTO message_topics
SELECT window_start, window_end, topic_id, event, size, label
FROM online_topic_table(tumble(messages, INTERVAL '10 minutes'), half_life => INTERVAL '1 hour');
