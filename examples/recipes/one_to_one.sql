-- One-to-one matching of two lists whose entries say the same in other words: each entry is in at most one pair.
-- bitext_mining was made for translations; with margin => 'absolute' its score is the cosine, and a threshold means
-- the same for every entry.
CREATE TABLE ours AS SELECT column1 AS id, column2 AS text
FROM (VALUES (1, 'cordless drill 18 V'), (2, 'garden hose, 20 m'), (3, 'LED desk lamp'), (4, 'espresso machine'));

CREATE TABLE theirs AS SELECT column1 AS id, column2 AS text
FROM (VALUES ('a', 'table lamp with LED'), ('b', '18V battery drill'), ('c', 'hose for the garden 20m'), ('d', 'trampoline'));

SELECT ours.text AS ours, theirs.text AS theirs, round(score, 2) AS score
FROM bitext_mining(ours, target => theirs, margin => 'absolute', threshold => 0.4, model => 'potion') AS pairs
JOIN ours ON ours.id = pairs.id_a
JOIN theirs ON theirs.id = pairs.id_b
ORDER BY score DESC;

-- What has no partner, on our side.
SELECT text AS unmatched FROM ours
WHERE id NOT IN (SELECT id_a FROM bitext_mining(ours, target => theirs, margin => 'absolute', threshold => 0.4, model => 'potion'));
