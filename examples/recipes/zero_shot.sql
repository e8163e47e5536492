-- Zero-shot classification: texts get the label whose description is nearest in meaning. No training, no examples.
-- The id of a label is what comes out, so it is the label itself; the text describes it in the words of the texts.
CREATE TABLE labels AS SELECT column1 AS id, column2 AS text
FROM (VALUES
  ('lost_or_stolen_card', 'my card was lost or stolen'),
  ('exchange_rate', 'what exchange rate do I get'),
  ('change_pin', 'how do I change my PIN'),
  ('top_up_failed', 'my top up failed'),
  ('card_arrival', 'when does my new card arrive'));

CREATE TABLE questions AS SELECT id, text, intent FROM 'examples/data/banking77.parquet'
WHERE split = 'test' AND intent IN ('lost_or_stolen_card', 'exchange_rate', 'change_pin', 'top_up_failed', 'card_arrival');

-- One label for each question, with its score. A threshold would leave doubtful questions without one.
CREATE TABLE labelled AS
SELECT id, match_id AS label, score FROM semantic_join(questions, corpus => labels, top_k => 1, model => 'potion');

SELECT text, label, round(score, 2) AS score FROM labelled JOIN questions USING (id) ORDER BY 3 DESC, id LIMIT 5;

-- These questions come with their intents, so we can see how often the label is right.
SELECT count(*) AS questions, round(100.0 * count(*) FILTER (WHERE label = intent) / count(*), 1) AS percent_right
FROM labelled JOIN questions USING (id);
