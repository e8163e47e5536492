#!/usr/bin/env python3
"""Makes the tiny random models in models/tests/fixtures, and what the Python libraries say of them.

    pip install transformers==5.24.0 sentence-transformers==6.2.0
    python scripts/make-fixtures.py [FOLDER]

For each architecture there is an embedding model and a classifier. Their weights are random but large, so that a wrong
graph gives very different numbers. `expected.json` holds token ids and the library's results for each text alone,
without padding. Two more folders hold Sentence-Transformers models, one with the old and one with the new form of the
configuration files. The texts, ids and seeds are fixed; another version of the libraries may write other files.
"""

import json
import os
import pathlib
import shutil
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

WORDS = """the a cat dog sat ran on in at mat snow park fast slow not is was and two three red blue
london night day refund card late lost help me my please where why how : query document ! ? . ,""".split()
PIECES = ["##s", "##ing", "##ed", "##er", "##ly"]

TEXTS = [
    "The cat sat on the mat.",
    "two dogs ran fast in the snow",
    "",
    "Where is my refund? My card was lost at night, please help me!",
    "unknown words: zebra cats",
    " ".join(["why is the red cat slow and the blue dog not slower ?"] * 3),
    "london",
]
PAIRS = [
    ("where is my refund", "The refund is late."),
    ("cat", "two dogs ran in the park, the cat sat on a mat and was not helping"),
    ("", "snow"),
    ("my card was lost", "my card was lost"),
    (" ".join(["the cat and the dog"] * 4), "night"),
]
HIDDEN, HEADS, POSITIONS = 32, 4, 64


def tokenizer(style):
    """A small WordPiece tokenizer with the special tokens and templates of an architecture's family."""
    if style == "bert":
        specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        names = dict(pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")
        single, pair = "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"
    elif style == "modernbert":
        specials = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
        names = dict(pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")
        single, pair = "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]"
    else:
        specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        names = dict(
            pad_token="<pad>", unk_token="<unk>", cls_token="<s>", sep_token="</s>", mask_token="<mask>",
            bos_token="<s>", eos_token="</s>",
        )
        single, pair = "<s> $A </s>", "<s> $A </s> </s> $B </s>"
    vocabulary = {word: id for id, word in enumerate(specials + WORDS + PIECES)}
    inner = Tokenizer(models.WordPiece(vocabulary, unk_token=names["unk_token"]))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    inner.add_special_tokens(specials)
    ids = [(token, vocabulary[token]) for token in specials]
    inner.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)
    inputs = ["input_ids", "attention_mask"] + (["token_type_ids"] if style == "bert" else [])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, model_max_length=POSITIONS, model_input_names=inputs, **names
    )


def randomise(model, seed):
    """Fills all parameters so that every part of the graph matters.

    ModernBERT doesn't normalise what it adds up, and MPNet adds to its scores: with larger weights the library's own
    rounding would reach the tests' limits.
    """
    spread = 0.2 if "Modern" in type(model).__name__ or "MPNet" in type(model).__name__ else 0.3
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0.0, spread)
            if parameter.dim() == 1 and name.endswith("weight"):
                parameter.add_(1.0)


def settings(family, style, **more):
    """The configuration of a tiny model."""
    special = tokenizer(style)
    shared = dict(
        vocab_size=len(special), pad_token_id=special.pad_token_id, bos_token_id=special.cls_token_id,
        eos_token_id=special.sep_token_id, num_labels=more.pop("num_labels", 2),
    )
    if family == "DistilBert":
        shared |= dict(dim=HIDDEN, n_heads=HEADS, n_layers=2, hidden_dim=48, max_position_embeddings=POSITIONS)
    else:
        shared |= dict(hidden_size=HIDDEN, num_attention_heads=HEADS, num_hidden_layers=2, intermediate_size=48)
        shifted = style == "roberta"
        shared |= dict(max_position_embeddings=POSITIONS + (2 if shifted else 0))
    if family == "ModernBert":
        shared |= dict(
            num_hidden_layers=4, local_attention=6, cls_token_id=special.cls_token_id,
            sep_token_id=special.sep_token_id,
        )
    return getattr(transformers, f"{family}Config")(**(shared | more))


def save(folder, family, style, kind, dtype, seed, config, edit=None):
    """Writes a model in `dtype` and loads it again, so that what is expected comes from what was written."""
    shutil.rmtree(folder, ignore_errors=True)
    model_class = getattr(transformers, f"{family}{kind}")
    model = model_class(config)
    randomise(model, seed)
    model.to(dtype).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    words = tokenizer(style)
    words.save_pretrained(folder)
    if edit:
        path = folder / "config.json"
        value = json.loads(path.read_text())
        edit(value)
        path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
    loaded = model_class.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    return loaded, transformers.PreTrainedTokenizerFast.from_pretrained(folder)


def rounded(tensor):
    return json.loads(json.dumps(tensor.tolist()), parse_float=lambda text: round(float(text), 7))


def write(folder, value):
    (folder / "expected.json").write_text(json.dumps(value, ensure_ascii=False) + "\n")


def embedder(folder, family, style, dtype, seed, edit=None, **more):
    config = settings(family, style, **more)
    model, words = save(folder, family, style, "Model", dtype, seed, config, edit)
    rows = []
    for text in TEXTS:
        inputs = words(text, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**inputs).last_hidden_state[0]
        rows.append({
            "text": text, "ids": inputs["input_ids"][0].tolist(), "last_hidden_state": rounded(hidden),
            "mean": rounded(hidden.mean(0)),
        })
    write(folder, {"texts": rows})


def classifier(folder, family, style, dtype, seed, edit=None, **more):
    config = settings(family, style, **more)
    model, words = save(folder, family, style, "ForSequenceClassification", dtype, seed, config, edit)
    rows = []
    for first, second in PAIRS:
        inputs = words(first, second, return_tensors="pt")
        types = inputs.get("token_type_ids", torch.zeros_like(inputs["input_ids"]))
        with torch.no_grad():
            logits = model(**inputs).logits[0]
        rows.append({
            "pair": [first, second], "ids": inputs["input_ids"][0].tolist(), "type_ids": types[0].tolist(),
            "logits": rounded(logits),
        })
    write(folder, {"pairs": rows})


def old_modernbert(value):
    """The spelling of ModernBERT's configuration before transformers 5."""
    value.pop("rope_parameters")
    value.pop("layer_types")
    value |= {"global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0}


def sentence_transformer(folder, base, modules, **more):
    shutil.rmtree(folder, ignore_errors=True)
    first = Transformer(str(base), max_seq_length=32)
    model = SentenceTransformer(modules=[first, *modules(first.get_embedding_dimension())], device="cpu", **more)
    model.save(str(folder), create_model_card=False)


def sentence_expectations(folder):
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    write(folder, {
        "texts": TEXTS,
        "encode": rounded(torch.tensor(model.encode(TEXTS))),
        "encode_query": rounded(torch.tensor(model.encode_query(TEXTS))),
        "encode_document": rounded(torch.tensor(model.encode_document(TEXTS))),
    })


def old_sentence_files(folder):
    """Rewrites the configuration files as Sentence-Transformers 2 wrote them."""
    def put(name, value):
        (folder / name).write_text(json.dumps(value, indent=2) + "\n")

    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    put("modules.json", [
        {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for idx, (path, kind) in enumerate(kinds)
    ])
    put("1_Pooling/config.json", {
        "word_embedding_dimension": HIDDEN, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False,
    })
    put("sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False})
    put("config_sentence_transformers.json", {
        "__version__": {"sentence_transformers": "2.0.0", "transformers": "4.6.1", "pytorch": "1.8.1"},
    })


def main():
    here = pathlib.Path(__file__).resolve().parent.parent
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here / "models" / "tests" / "fixtures"
    out.mkdir(parents=True, exist_ok=True)
    f32, f16, bf16 = torch.float32, torch.float16, torch.bfloat16

    embedder(out / "bert", "Bert", "bert", f32, 1)
    embedder(out / "roberta", "Roberta", "roberta", f16, 2, type_vocab_size=1)
    embedder(out / "xlm-roberta", "XLMRoberta", "roberta", bf16, 3, type_vocab_size=1, hidden_act="silu")
    embedder(out / "distilbert", "DistilBert", "bert", f16, 4)
    embedder(out / "mpnet", "MPNet", "roberta", f16, 5)
    embedder(out / "modernbert", "ModernBert", "modernbert", f16, 6)

    classifier(out / "bert-classifier", "Bert", "bert", f16, 11, hidden_act="gelu_new", num_labels=3)
    classifier(out / "roberta-classifier", "Roberta", "roberta", f16, 12, hidden_act="relu", num_labels=1)
    classifier(out / "xlm-roberta-classifier", "XLMRoberta", "roberta", f16, 13, type_vocab_size=1, num_labels=2)
    classifier(out / "distilbert-classifier", "DistilBert", "bert", bf16, 14, activation="relu", num_labels=2)
    classifier(out / "mpnet-classifier", "MPNet", "roberta", f16, 15, num_labels=1)
    classifier(out / "modernbert-classifier", "ModernBert", "modernbert", f16, 16, num_labels=3)
    classifier(
        out / "modernbert-mean-classifier", "ModernBert", "modernbert", f16, 17, edit=old_modernbert, num_labels=1,
        classifier_pooling="mean", norm_bias=True, attention_bias=True, mlp_bias=True, classifier_bias=True,
        hidden_activation="gelu_pytorch_tanh",
    )

    sentence_transformer(out / "st-old", out / "bert", lambda width: [Pooling(width, "mean"), Normalize()])
    old_sentence_files(out / "st-old")
    sentence_expectations(out / "st-old")

    def new_modules(width):
        modes = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
        dense = Dense(width * len(modes), 16, activation_function=torch.nn.Tanh())
        randomise(dense, 21)
        with torch.no_grad():
            dense.linear.weight.mul_(0.3)
        return [Pooling(width, modes, include_prompt=False), dense, Normalize()]

    sentence_transformer(
        out / "st-new", out / "distilbert", new_modules,
        prompts={"query": "query: ", "document": "document: "}, default_prompt_name="document",
    )
    sentence_expectations(out / "st-new")


main()
