-- Clusters: k-means puts questions into as many groups as there are intents. A cluster is named by the intent that most of
-- its questions have; how many do?
WITH found AS (
    SELECT cluster_id, intent, count(*) AS questions
    FROM clusters((SELECT text, intent FROM 'examples/data/banking77.parquet' WHERE split = 'test'),
                  algorithm => 'kmeans', k => 77, model => 'potion')
    GROUP BY cluster_id, intent
), named AS (
    SELECT cluster_id, first_value(intent ORDER BY questions DESC) AS intent,
           max(questions) AS of_the_intent, sum(questions) AS questions
    FROM found GROUP BY cluster_id
)
SELECT *, round(100.0 * sum(of_the_intent) OVER () / sum(questions) OVER (), 1) AS percent_of_all
FROM named ORDER BY of_the_intent DESC, cluster_id LIMIT 5;
