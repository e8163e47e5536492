-- Clusters: k-means puts questions into as many groups as there are intents. How well do they fit what people gave?
-- 1 is a perfect fit, and an adjusted Rand index of 0 is what chance would give.
CREATE TABLE found AS
SELECT cluster_id, intent, embedding
FROM clusters((SELECT intent, embed(text, 'potion') AS embedding
               FROM 'examples/data/banking77.parquet' WHERE split = 'test'),
              algorithm => 'kmeans', k => 77);

SELECT round(adjusted_rand_index(intent, cluster_id), 3) AS rand,
       round(normalized_mutual_info(intent, cluster_id), 3) AS mutual_information,
       round(purity(intent, cluster_id), 3) AS purity
FROM found;

-- A cluster is named by the intent that most of its questions have.
WITH counted AS (
    SELECT cluster_id, intent, count(*) AS questions FROM found GROUP BY cluster_id, intent
)
SELECT cluster_id, first_value(intent ORDER BY questions DESC, intent) AS intent,
       max(questions) AS of_the_intent, sum(questions) AS questions
FROM counted GROUP BY cluster_id ORDER BY of_the_intent DESC, cluster_id LIMIT 5;
