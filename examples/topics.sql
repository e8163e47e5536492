-- Topics: clusters with the words that tell them apart, and the questions that show them best.
SELECT topic_id, size, array_to_string(words, ', ') AS words, representatives[1] AS example
FROM topic_table((SELECT id, text FROM 'examples/data/banking77.parquet' WHERE split = 'test'),
                 algorithm => 'kmeans', k => 30, words => 6, model => 'potion')
ORDER BY size DESC, topic_id
LIMIT 8;
