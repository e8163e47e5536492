#!/usr/bin/env python3
"""Makes the images and the tiny random models of texts and images in models/tests/fixtures, and what `transformers` says.

    pip install transformers==5.5.4 torch==2.15.0 onnx==1.23.2 pillow
    python scripts/make-image-fixtures.py [FOLDER [KIND…]]

KINDs are images, clip, siglip, dinov2 and onnx-clip; all where none is named.

`images/` has one file of every kind that is decoded, and beside it what CLIP's and SigLIP's image processors (those on
Pillow) make of it, as 32-bit floats in the order channel, row, column. The models are random, so that a wrong graph gives
very different numbers. Pillow clips 16-bit grey to 255; what is expected of that file is made of its upper eight bits.
"""

import json
import os
import pathlib
import shutil
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
import transformers
from clip_tokenizer import END, START, clip_tokenizer
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

TEXTS = [
    "two red circles", "a blue square left of a star", "", "An unknown word: zebra!",
    " ".join(["three green triangles above a purple cross"] * 4), "end <|endoftext|> and more words",
]
SIDE = 32


def scene(width, height):
    """A picture with edges, slopes and noise."""
    rows, columns = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(5).integers(0, 40, (height, width, 3))
    image = np.stack([columns * 200 // max(1, width - 1), rows * 200 // max(1, height - 1), (columns * 3 + rows * 5) % 200], -1)
    image = image + noise
    image[height // 4:height // 2, width // 4:width // 2] = (250, 10, 60)
    return Image.fromarray(image.astype(np.uint8))


def pictures(folder):
    """One file of every kind."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    base = scene(97, 61)
    base.save(folder / "rgb.png")
    base.convert("L").save(folder / "grey.png")
    base.convert("1").save(folder / "black-and-white.png")
    palette = base.quantize(23)
    palette.save(folder / "palette.png", transparency=3)
    alpha = base.copy()
    alpha.putalpha(Image.fromarray((np.arange(97 * 61).reshape(61, 97) % 256).astype(np.uint8)))
    alpha.save(folder / "rgba.png")
    alpha.convert("LA").save(folder / "grey-alpha.png")
    wide = np.asarray(base.convert("L")).astype(np.uint16) * 257 - 100
    Image.fromarray(np.clip(wide, 0, 65535).astype(np.uint16)).save(folder / "grey16.png")
    scene(1, 1).save(folder / "one-pixel.png")
    scene(1, 5000).save(folder / "tall.png")
    scene(700, 3).save(folder / "wide.png")
    scene(32, 32).save(folder / "as-seen.png")
    scene(500, 350).save(folder / "photo.jpg", quality=90)
    scene(211, 160).save(folder / "full-colour.jpg", quality=85, subsampling=0)
    scene(160, 200).save(folder / "progressive.jpg", quality=80, progressive=True)
    base.convert("L").save(folder / "grey.jpg")
    base.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x0132] = "2024:05:17 08:30:15"
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "S", (33.0, 51.0, 24.5), "E", (151.0, 12.0, 54.0)
    exif[0x8825] = gps
    scene(120, 80).save(folder / "turned.jpg", exif=exif, quality=95)
    base.save(folder / "lossless.webp", lossless=True)
    scene(300, 200).save(folder / "lossy.webp", quality=80)
    frames = [base.quantize(40), base.transpose(Image.Transpose.ROTATE_180).quantize(40)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:], duration=100)
    base.save(folder / "rgb.bmp")
    base.save(folder / "lzw.tiff", compression="tiff_lzw")


def expectations(folder):
    """What the processors give for each file."""
    clip = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    siglip = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}, resample=3)
    for path in sorted(folder.iterdir()):
        image = Image.open(path)
        if path.name == "grey16.png":
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        image = image.convert("RGB")
        for name, processor in (("clip", clip), ("siglip", siglip)):
            pixels = processor(image, return_tensors="np")["pixel_values"][0].astype("<f4")
            assert pixels.shape == (3, SIDE, SIDE)
            (folder / f"{path.name}.{name}").write_bytes(pixels.tobytes())


def phash(path):
    """`imagehash.phash`, written out."""
    grey = Image.open(path).convert("RGB").convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    waves = np.cos(np.pi * np.arange(32)[:, None] * (2 * np.arange(32)[None] + 1) / 64)
    low = (4 * waves @ np.asarray(grey, dtype=np.float64) @ waves.T)[:8, :8]
    bits = (low > np.median(low)).flatten()
    return f"{int(''.join('1' if bit else '0' for bit in bits), 2):016x}"


def randomise(model, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0.0, 0.2)
            if parameter.dim() == 1 and name.endswith("weight"):
                parameter.add_(1.0)
            if name == "logit_scale":
                parameter.fill_(2.3)
            if name == "logit_bias":
                parameter.fill_(-4.0)


def rounded(tensor):
    return json.loads(json.dumps(tensor.tolist()), parse_float=lambda text: round(float(text), 7))


def put(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def clip_words():
    return clip_tokenizer([TEXTS[0], TEXTS[1], TEXTS[4]] * 3, 60)


def siglip_words():
    """A tokenizer with an end token and no start, as SigLIP's; its padding is another token than the end."""
    words = "two red circles a blue square left of star three green triangles above purple cross word".split()
    tokens = ["<pad>", "</s>", "<unk>"] + list(dict.fromkeys(words))
    ids = {token: id for id, token in enumerate(tokens)}
    inner = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.add_special_tokens(["<pad>", "</s>", "<unk>"])
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return inner


def features(output):
    return output if torch.is_tensor(output) else output.pooler_output


def pixels(processor, folder, names):
    images = [Image.open(folder / name).convert("RGB") for name in names]
    for image in images:
        # Newer processors would look at which colour was transparent.
        image.info.pop("transparency", None)
    return processor(images, return_tensors="pt")["pixel_values"]


IMAGES = ["rgb.png", "palette.png", "one-pixel.png", "tall.png", "as-seen.png"]


def finish(folder, words, processor, length, pad, values):
    words.save(str(folder / "tokenizer.json")) if words else None
    if words:
        put(folder / "tokenizer_config.json", {"model_max_length": length, "pad_token": pad})
    if processor:
        put(folder / "preprocessor_config.json", json.loads(processor.to_json_string()))
    (folder / "expected.json").write_text(json.dumps(values, ensure_ascii=False) + "\n")
    (folder / "generation_config.json").unlink(missing_ok=True)


def clip(out, seed=31, legacy=False):
    """CLIP with both towers, each tower alone, and Sentence-Transformers' form of it."""
    words = clip_words()
    end = words.token_to_id(END)
    text = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=words.get_vocab_size(),
                max_position_embeddings=24, bos_token_id=words.token_to_id(START), eos_token_id=end, pad_token_id=end)
    vision = dict(hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=SIDE, patch_size=8)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    built = transformers.CLIPModel(config)
    randomise(built, seed)
    for name in ("clip", "clip-text", "clip-vision", "st-clip"):
        shutil.rmtree(out / name, ignore_errors=True)
    built.to(torch.float16).save_pretrained(out / "clip")
    model = transformers.CLIPModel.from_pretrained(out / "clip", dtype=torch.float32, attn_implementation="eager").eval()
    words.enable_truncation(24)
    texts, images = [], pixels(processor, out / "images", IMAGES)
    with torch.no_grad():
        for text in TEXTS:
            ids = words.encode(text).ids
            # The library looks for the first end token.
            texts.append({"text": text, "vector": rounded(features(model.get_text_features(input_ids=torch.tensor([ids])))[0])})
        seen = features(model.get_image_features(pixel_values=images))
        ids = torch.tensor([words.encode(TEXTS[0]).ids])
        logits = model(input_ids=ids, pixel_values=images).logits_per_text[0]
    words.no_truncation()
    rows = [{"image": name, "vector": rounded(vector)} for name, vector in zip(IMAGES, seen)]
    both = {"texts": texts, "images": rows, "logits": rounded(logits)}
    finish(out / "clip", words, processor, 24, END, both)
    old = json.loads((out / "clip" / "config.json").read_text())
    old["text_config"]["eos_token_id"] = 2
    st = out / "st-clip"
    shutil.copytree(out / "clip", st / "0_CLIPModel")
    (st / "0_CLIPModel" / "expected.json").unlink()
    put(st / "0_CLIPModel" / "config.json", old)
    put(st / "modules.json", [{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}])
    put(st / "config_sentence_transformers.json", {"__version__": {"sentence_transformers": "2.7.0"}})
    (st / "expected.json").write_text(json.dumps(both, ensure_ascii=False) + "\n")
    for name, kind, part in (("clip-text", "CLIPTextModelWithProjection", "text"), ("clip-vision", "CLIPVisionModelWithProjection", "vision")):
        inner = getattr(config, f"{part}_config")
        inner.projection_dim = 24
        alone = getattr(transformers, kind)(inner)
        randomise(alone, seed + 1)
        alone.to(torch.float16).save_pretrained(out / name)
        alone = getattr(transformers, kind).from_pretrained(out / name, dtype=torch.float32, attn_implementation="eager").eval()
        with torch.no_grad():
            if part == "text":
                words.enable_truncation(24)
                rows = [{"text": t, "vector": rounded(alone(input_ids=torch.tensor([words.encode(t).ids])).text_embeds[0])} for t in TEXTS]
                words.no_truncation()
                finish(out / name, words, None, 24, END, {"texts": rows})
            else:
                seen = alone(pixel_values=images).image_embeds
                rows = [{"image": image, "vector": rounded(vector)} for image, vector in zip(IMAGES, seen)]
                finish(out / name, None, processor, 24, END, {"images": rows})


def siglip(out, seed=41):
    """SigLIP with both towers."""
    words = siglip_words()
    text = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=words.get_vocab_size(),
                max_position_embeddings=16, pad_token_id=1, bos_token_id=1, eos_token_id=1, projection_size=32)
    vision = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=SIDE, patch_size=10)
    config = transformers.SiglipConfig(text_config=text, vision_config=vision)
    processor = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}, resample=3)
    shutil.rmtree(out / "siglip", ignore_errors=True)
    built = transformers.SiglipModel(config)
    randomise(built, seed)
    built.to(torch.bfloat16).save_pretrained(out / "siglip")
    model = transformers.SiglipModel.from_pretrained(out / "siglip", dtype=torch.float32, attn_implementation="eager").eval()
    words.enable_truncation(16)
    rows, images = [], pixels(processor, out / "images", IMAGES)
    with torch.no_grad():
        for text in TEXTS:
            ids = words.encode(text).ids
            ids = torch.tensor([ids + [0] * (16 - len(ids))])
            rows.append({"text": text, "vector": rounded(features(model.get_text_features(input_ids=ids))[0])})
        seen = features(model.get_image_features(pixel_values=images))
        ids = words.encode(TEXTS[0]).ids
        logits = model(input_ids=torch.tensor([ids + [0] * (16 - len(ids))]), pixel_values=images).logits_per_text[0]
    words.no_truncation()
    pictured = [{"image": name, "vector": rounded(vector)} for name, vector in zip(IMAGES, seen)]
    finish(out / "siglip", words, processor, 16, "<pad>", {"texts": rows, "images": pictured, "logits": rounded(logits)})


def dinov2(out, seed=51):
    """DINOv2, whose pictures are smaller than those that its table of positions is for, as the public models are used."""
    config = transformers.Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, mlp_ratio=2, image_size=48, patch_size=8)
    processor = BitImageProcessorPil(size={"shortest_edge": SIDE + 6}, crop_size={"height": SIDE, "width": SIDE}, resample=3,
                                     image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])
    shutil.rmtree(out / "dinov2", ignore_errors=True)
    built = transformers.Dinov2Model(config)
    randomise(built, seed)
    built.to(torch.float16).save_pretrained(out / "dinov2")
    model = transformers.Dinov2Model.from_pretrained(out / "dinov2", dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        seen = model(pixel_values=pixels(processor, out / "images", IMAGES)).pooler_output
    rows = [{"image": name, "vector": rounded(vector)} for name, vector in zip(IMAGES, seen)]
    finish(out / "dinov2", None, processor, 0, "", {"images": rows})


class Tower(torch.nn.Module):
    """A tower whose outputs are those of the public files: the vector, then what it was made of."""

    def __init__(self, inner, vector):
        super().__init__()
        self.inner, self.vector = inner, vector

    def forward(self, given):
        output = self.inner(given)
        return getattr(output, self.vector), output.last_hidden_state


def onnx_clip(out, seed=61):
    """CLIP as a graph for each tower, with no other weights."""
    words = clip_words()
    end = words.token_to_id(END)
    text = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, vocab_size=words.get_vocab_size(),
                max_position_embeddings=24, bos_token_id=words.token_to_id(START), eos_token_id=end, pad_token_id=end)
    vision = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=SIDE, patch_size=8)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    folder = out / "onnx-clip"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "onnx").mkdir(parents=True)
    config.save_pretrained(folder)
    towers = {}
    for name, kind in (("text", transformers.CLIPTextModelWithProjection), ("vision", transformers.CLIPVisionModelWithProjection)):
        inner = getattr(config, f"{name}_config")
        inner.projection_dim, inner._attn_implementation = 12, "eager"
        towers[name] = kind(inner).eval()
        randomise(towers[name], seed)
    words.enable_truncation(24)
    ids = torch.tensor([words.encode(TEXTS[0]).ids])
    images = pixels(processor, out / "images", IMAGES)
    for name, given, vector, put_in, axes in (
        ("text", ids, "text_embeds", "input_ids", {0: "batch_size", 1: "sequence_length"}),
        ("vision", images, "image_embeds", "pixel_values", {0: "batch_size"}),
    ):
        torch.onnx.export(
            Tower(towers[name], vector), (given,), folder / "onnx" / f"{name}_model.onnx", input_names=[put_in],
            output_names=[vector, "last_hidden_state"], opset_version=17, dynamo=False,
            dynamic_axes={put_in: axes, vector: {0: "batch_size"}, "last_hidden_state": axes},
        )
    texts = []
    with torch.no_grad():
        for line in TEXTS:
            ids = torch.tensor([words.encode(line).ids])
            texts.append({"text": line, "vector": rounded(towers["text"](input_ids=ids).text_embeds[0])})
        seen = towers["vision"](pixel_values=images).image_embeds
    words.no_truncation()
    rows = [{"image": name, "vector": rounded(vector)} for name, vector in zip(IMAGES, seen)]
    finish(folder, words, processor, 24, END, {"texts": texts, "images": rows})


def picture_files(out):
    pictures(out / "images")
    hashes = {path.name: phash(path) for path in sorted((out / "images").iterdir()) if path.name != "grey16.png"}
    expectations(out / "images")
    put(out / "images" / "hashes.json", hashes)


KINDS = {"images": picture_files, "clip": clip, "siglip": siglip, "dinov2": dinov2, "onnx-clip": onnx_clip}


def main():
    here = pathlib.Path(__file__).resolve().parent.parent
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here / "models" / "tests" / "fixtures"
    for kind in sys.argv[2:] or KINDS:
        KINDS[kind](out)


main()
