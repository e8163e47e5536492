-- Deduplication: which questions repeat an earlier one, word for word or nearly so, and which one stands for them?
SELECT coalesce(reason, 'kept') AS result, count(*) AS questions
FROM dedup('examples/data/banking77.parquet', threshold => 0.95, model => 'potion')
GROUP BY result ORDER BY questions DESC;

-- The largest groups, each with the question that is kept.
SELECT max(text) FILTER (WHERE is_kept) AS kept, count(*) - 1 AS dropped
FROM dedup('examples/data/banking77.parquet', threshold => 0.95, model => 'potion')
GROUP BY cluster_id ORDER BY dropped DESC, kept LIMIT 5;
