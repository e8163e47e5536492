-- Clusters: k-means puts questions into as many groups as there are intents. How well do they fit what people gave?
-- 1 is a perfect fit, and 0 is what chance would give.
SELECT round(adjusted_rand_index(intent, cluster_id), 3) AS ari,
       round(normalized_mutual_info(intent, cluster_id), 3) AS nmi
FROM clusters((SELECT * FROM 'examples/data/banking77.parquet' WHERE split = 'test'),
              algorithm => 'kmeans', k => 77, model => 'potion');

-- A cluster is named by the intent that most of its questions have.
WITH found AS (
    SELECT cluster_id, intent, count(*) AS questions
    FROM clusters((SELECT * FROM 'examples/data/banking77.parquet' WHERE split = 'test'),
                  algorithm => 'kmeans', k => 77, model => 'potion')
    GROUP BY cluster_id, intent
)
SELECT cluster_id, max(questions) AS most, sum(questions) AS of_all, first_value(intent ORDER BY questions DESC) AS intent
FROM found GROUP BY cluster_id ORDER BY most DESC, cluster_id LIMIT 5;
