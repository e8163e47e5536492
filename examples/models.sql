-- A model of your own: a directory, an .onnx file or a hub id gets a name and options. Here, a built-in one again.
CREATE MODEL short WITH (path = 'potion', truncate_dim = 32, normalize = true);
SELECT round(vector_norm(embed('hello', 'short')), 3) AS length,
       token_count('hello, how are you?', 'short') AS tokens;
DROP MODEL short;
