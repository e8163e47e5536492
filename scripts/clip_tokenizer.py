"""CLIP's byte-pair encoding with a small vocabulary, for the models that other scripts here make.

Every byte is a token, alone and at the end of a word, as in the vocabulary that OpenAI published; merges are learned from
the texts that are given. What the model doesn't know is therefore spelled, and is never an unknown token.
"""

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

START, END = "<|startoftext|>", "<|endoftext|>"
PATTERN = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def dressed(inner):
    """The tokenizer around a vocabulary: lower case, CLIP's words, bytes."""
    inner.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return inner


def clip_tokenizer(texts, merges_max=400):
    """A tokenizer with merges from `texts`; the ids of its start and end are the two last."""
    learner = dressed(Tokenizer(models.BPE(end_of_word_suffix="</w>")))
    trainer = trainers.BpeTrainer(
        vocab_size=merges_max + 600, end_of_word_suffix="</w>", show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    learner.train_from_iterator(texts, trainer)
    import json

    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]][:merges_max]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = alphabet + [letter + "</w>" for letter in alphabet]
    tokens += [first + second for first, second in merges] + [START, END]
    vocabulary = {token: id for id, token in enumerate(dict.fromkeys(tokens))}
    inner = dressed(Tokenizer(models.BPE(vocabulary, merges, unk_token=END, end_of_word_suffix="</w>")))
    inner.add_special_tokens([START, END])
    inner.post_processor = processors.RobertaProcessing(
        (END, vocabulary[END]), (START, vocabulary[START]), trim_offsets=False, add_prefix_space=False
    )
    return inner
