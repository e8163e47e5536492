-- Smaller vectors: the first components only, and one bit per component, compared with the whole vector.
WITH pair AS (
    SELECT embed('Where is my new card?', 'potion') AS one,
           embed('My card has not come yet', 'potion') AS two
)
SELECT round(cos_sim(one, two), 3) AS whole,
       round(cos_sim(truncate_vector(one, 64), truncate_vector(two, 64)), 3) AS first_64,
       hamming_distance(quantize(one, 'binary'), quantize(two, 'binary')) AS bits_that_differ
FROM pair;
