-- Vectors in PostgreSQL, every night: run it from a timer, with the address of a database with pgvector in DATABASE_URL.
-- A row replaces the one with its id, and nothing is there twice, also after a kill in the middle: rows and progress are one
-- transaction. Search there with ORDER BY embedding <=> …, which is the order of cos_sim here.
CREATE SOURCE questions (id BIGINT, text VARCHAR, intent VARCHAR, split VARCHAR)
WITH (connector = 'files', path = 'examples/data/banking77.parquet');

CREATE SINK banking WITH (
  connector = 'postgres', url = 'env:DATABASE_URL', table = 'banking', key = 'id', index = 'hnsw'
);

INSERT INTO banking
SELECT id, text, intent, embed(text) AS embedding FROM questions WHERE split = 'test';
