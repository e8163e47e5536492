-- Topics of support messages from Kafka in windows of 10 minutes, their ids the same from window to window, to another topic.
-- Run it with: sembla run examples/streams/topics_kafka.sql --metrics 9464
-- A record is JSON: {"id": 1, "text": "where is my card?", "ts": "2026-01-01T09:00:00Z"}.

CREATE SOURCE messages (
  id BIGINT, text VARCHAR NOT NULL, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
) WITH (connector = 'kafka', bootstrap_servers = 'localhost:9092', topic = 'messages', format = 'json');

CREATE SINK topics_of_messages WITH (
  connector = 'kafka', bootstrap_servers = 'localhost:9092', topic = 'topics', format = 'json', key = 'topic_id',
  dead_letter_topic = 'unreadable', late_topic = 'late', create_topics = 'true'
);

INSERT INTO topics_of_messages
SELECT window_start, window_end, topic_id, event, size, label
FROM online_topic_table(tumble(messages, INTERVAL '10 minutes'), half_life => INTERVAL '1 hour');
