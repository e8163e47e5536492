#!/usr/bin/env python3
"""Draws pictures of coloured shapes with true captions, and trains the small CLIP model in examples/data/shapes-clip on them.

    pip install torch==2.15.0 transformers==5.5.4 tokenizers pillow
    python scripts/train-shapes.py [--minutes 15] [--out examples/data]

What comes out knows circles, squares, triangles, stars and crosses in seven colours, up to three of a kind, one kind left
of, right of, above or below another; it knows nothing else of the world. One in five combinations of number, colour and
shape ("two red circles" is one) is never shown in training; recall is measured on pictures that have one of those.
`shapes-clip/` is the model in the layout of Hugging Face,
`shapes/` the pictures that the examples search. Seeds are fixed; another number of steps gives another model.
"""

import argparse
import json
import math
import pathlib
import random
import time

import numpy as np
import torch
from clip_tokenizer import END, START, clip_tokenizer
from PIL import Image, ImageDraw
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

COLOURS = {
    "red": (214, 40, 40), "blue": (38, 84, 200), "green": (46, 150, 66), "yellow": (244, 200, 40),
    "purple": (128, 60, 170), "orange": (240, 130, 30), "black": (30, 30, 34),
}
SHAPES = ["circle", "square", "triangle", "star", "cross"]
NUMBERS = {1: ["a", "one"], 2: ["two"], 3: ["three"]}
CELLS, CELL = 4, 64  # a picture is 4 × 4 cells of 64 pixels
SIZE = CELLS * CELL
SEEN = 64  # pixels that the model sees on each side
MEAN, STD = [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]
TEXT_LENGTH = 24


def held_out(group):
    """Whether a (number, colour, shape) is kept from training."""
    number, colour, shape = group
    if (number, colour, shape) == (2, "red", "circle"):
        return True
    return (number * 3 + list(COLOURS).index(colour) * 2 + SHAPES.index(shape) * 4) % 5 == 0


def draw_shape(shape, colour, radius, centre):
    """One cell with one shape, four times as fine and then made smaller, as RGBA."""
    fine = 4
    image = Image.new("RGBA", (CELL * fine, CELL * fine), (*COLOURS[colour], 0))
    pen = ImageDraw.Draw(image)
    (x, y), r, fill = [c * fine for c in centre], radius * fine, (*COLOURS[colour], 255)

    def around(points):
        return [(x + r * px, y + r * py) for px, py in points]

    if shape == "circle":
        pen.ellipse([x - r, y - r, x + r, y + r], fill=fill)
    elif shape == "square":
        pen.rectangle([x - 0.88 * r, y - 0.88 * r, x + 0.88 * r, y + 0.88 * r], fill=fill)
    elif shape == "triangle":
        pen.polygon(around([(0, -1.05), (1.05, 0.8), (-1.05, 0.8)]), fill=fill)
    elif shape == "star":
        corners = [(math.sin(i * math.pi / 5), -math.cos(i * math.pi / 5)) for i in range(10)]
        pen.polygon(around([(c * (1.15 if i % 2 == 0 else 0.46), s * (1.15 if i % 2 == 0 else 0.46))
                            for i, (c, s) in enumerate(corners)]), fill=fill)
    else:
        t = 0.34
        pen.rectangle([x - r, y - t * r, x + r, y + t * r], fill=fill)
        pen.rectangle([x - t * r, y - r, x + t * r, y + r], fill=fill)
    return image.resize((CELL, CELL), Image.Resampling.LANCZOS)


class Sprites:
    """Cells that are drawn once: every shape and colour in several sizes and places, large and as the model sees them."""

    def __init__(self, variants, rng):
        self.large, self.small = {}, {}
        for shape in SHAPES:
            for colour in COLOURS:
                cells = []
                for _ in range(variants):
                    centre = (CELL / 2 + rng.uniform(-6, 6), CELL / 2 + rng.uniform(-6, 6))
                    cells.append(draw_shape(shape, colour, rng.uniform(17, 23), centre))
                self.large[shape, colour] = cells
                small = [np.asarray(c.resize((CELL // 4, CELL // 4), Image.Resampling.BICUBIC)) for c in cells]
                self.small[shape, colour] = [s.astype(np.float32) for s in small]


def scene(rng, keep):
    """Groups, how they stand to each other, and the cell of every shape; `keep` says which groups may come."""
    while True:
        groups = [(rng.choice([1, 2, 3]), rng.choice(list(COLOURS)), rng.choice(SHAPES))
                  for _ in range(rng.choice([1, 2, 2]))]
        if len(groups) == 2 and groups[0][1:] == groups[1][1:]:
            continue
        if keep(groups):
            break
    cells = [(row, column) for row in range(CELLS) for column in range(CELLS)]
    relation = rng.choice(["and", "left of", "right of", "above", "below"]) if len(groups) == 2 else None
    axis, first_low = {"left of": (1, True), "right of": (1, False), "above": (0, True), "below": (0, False)}.get(
        relation, (None, None))
    placed, taken = [], set()
    for place, (number, colour, shape) in enumerate(groups):
        low = first_low == (place == 0)
        room = [c for c in cells if c not in taken and (axis is None or (c[axis] < CELLS // 2) == low)]
        for cell in rng.sample(room, number):
            taken.add(cell)
            placed.append((shape, colour, cell))
    return groups, relation, placed


def words(group, rng=None):
    """`two red circles`."""
    number, colour, shape = group
    article = (rng or random.Random(0)).choice(NUMBERS[number]) if rng else NUMBERS[number][0]
    article = "an" if article == "a" and colour[0] in "aeiou" else article
    plural = shape if number == 1 else shape + ("es" if shape == "cross" else "s")
    return f"{article} {colour} {plural}"


def caption(groups, relation, rng=None):
    """The whole picture in words."""
    if len(groups) == 1:
        return words(groups[0], rng)
    first, second = (words(group, rng) for group in groups)
    return f"{first} {relation} {second}"


def large(placed, sprites, rng, background):
    """A picture for people."""
    image = Image.new("RGB", (SIZE, SIZE), background)
    for shape, colour, (row, column) in placed:
        cell = rng.choice(sprites.large[shape, colour])
        image.paste(cell, (column * CELL, row * CELL), cell)
    return image


def small(placed, sprites, rng):
    """The same as the model sees it, straight from sprites that are small already: `[64, 64, 3]` in 0..255."""
    image = np.empty((SEEN, SEEN, 3), np.float32)
    image[:] = np.array([rng.uniform(226, 255)] * 3) + np.array([rng.uniform(-6, 6) for _ in range(3)])
    side = CELL // 4
    for shape, colour, (row, column) in placed:
        cell = rng.choice(sprites.small[shape, colour])
        alpha = cell[..., 3:] / 255
        part = image[row * side:(row + 1) * side, column * side:(column + 1) * side]
        part += alpha * (cell[..., :3] - part)
    return image


def pixels(images):
    """Normalised pixels, `[batch, 3, 64, 64]`."""
    stacked = torch.from_numpy(np.clip(np.stack(images), 0, 255)).permute(0, 3, 1, 2)
    return (stacked / 255 - 0.5) / 0.5


def model(tokenizer):
    """Two small towers."""
    vocabulary = tokenizer.get_vocab_size()
    ids = dict(bos_token_id=tokenizer.token_to_id(START), eos_token_id=tokenizer.token_to_id(END))
    text = dict(hidden_size=96, intermediate_size=384, num_hidden_layers=2, num_attention_heads=4, vocab_size=vocabulary,
                max_position_embeddings=TEXT_LENGTH, pad_token_id=ids["eos_token_id"], projection_dim=64, **ids)
    vision = dict(hidden_size=96, intermediate_size=384, num_hidden_layers=3, num_attention_heads=4, image_size=SEEN,
                  patch_size=CELL // 4, projection_dim=64)
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=64)
    built = CLIPModel(config)
    with torch.no_grad():
        # The initial values are for models a hundred times as large.
        for name, tensor in built.named_parameters():
            if tensor.dim() >= 2:
                torch.nn.init.normal_(tensor, std=0.08)
    return built


def counts(batch):
    """How many of each shape and colour a picture has, `[batch, shapes · colours]`: what helps the first steps."""
    table = torch.zeros(len(batch), len(SHAPES) * len(COLOURS))
    for row, (groups, _, _) in enumerate(batch):
        for number, colour, shape in groups:
            table[row, SHAPES.index(shape) * len(COLOURS) + list(COLOURS).index(colour)] += number
    return table


def vectors(net, images, ids, lengths):
    """Both towers, each vector of length 1, and what the image tower has before its projection."""
    seen = net.vision_model(pixel_values=images).pooler_output
    image = torch.nn.functional.normalize(net.visual_projection(seen), dim=-1)
    hidden = net.text_model(input_ids=ids).last_hidden_state
    at_end = hidden[torch.arange(len(ids)), lengths - 1]
    text = torch.nn.functional.normalize(net.text_projection(at_end), dim=-1)
    return image, text, seen


def encoded(tokenizer, texts):
    """Ids, filled up with the end token, and lengths."""
    rows = [tokenizer.encode(text).ids[:TEXT_LENGTH] for text in texts]
    longest = max(map(len, rows))
    end = tokenizer.token_to_id(END)
    return torch.tensor([row + [end] * (longest - len(row)) for row in rows]), torch.tensor([len(row) for row in rows])


def train(tokenizer, sprites, seconds, steps_max, batch=192):
    """Trains until the time or the steps are used up; the rate falls to zero by then."""
    rng = random.Random(1)
    torch.manual_seed(1)
    net = model(tokenizer)
    helper = torch.nn.Linear(96, len(SHAPES) * len(COLOURS))
    optimiser = torch.optim.AdamW([*net.parameters(), *helper.parameters()], lr=2e-3, weight_decay=0.01)
    net.train()
    started, step = time.process_time(), 0
    keep = lambda groups: not any(held_out(group) for group in groups)
    while True:
        spent = max((time.process_time() - started) / seconds, step / steps_max)
        if spent >= 1:
            break
        rate = 2e-3 * min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * spent))
        for group in optimiser.param_groups:
            group["lr"] = rate
        scenes = [scene(rng, keep) for _ in range(batch)]
        texts = [caption(groups, relation, rng) for groups, relation, _ in scenes]
        # A part of a picture describes it too; so does a text with more words around it.
        texts = [words(rng.choice(groups), rng) if len(groups) == 2 and rng.random() < 0.15 else text
                 for text, (groups, _, _) in zip(texts, scenes)]
        texts = [rng.choice(["{}", "{}", "a picture of {}", "a drawing of {}", "{} on white"]).format(text) for text in texts]
        images = pixels([small(placed, sprites, rng) for _, _, placed in scenes])
        images = images + 0.03 * torch.randn_like(images)
        image, text, seen = vectors(net, images, *encoded(tokenizer, texts))
        scores = net.logit_scale.exp().clamp(max=100) * image @ text.T
        target = torch.arange(batch)
        loss = (torch.nn.functional.cross_entropy(scores, target) + torch.nn.functional.cross_entropy(scores.T, target)) / 2
        counted = torch.nn.functional.mse_loss(helper(seen), counts(scenes))
        total = loss + 3 * max(0.1, 1 - 2 * spent) * counted
        optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        if step % 50 == 0:
            print(f"step {step}: loss {loss.item():.3f}, counts {counted.item():.4f}, "
                  f"{time.process_time() - started:.0f} s of processor time", flush=True)
        step += 1
    return net.eval(), step


@torch.no_grad()
def recall(net, tokenizer, sprites, picks, seed, how_many):
    """Share of captions whose nearest picture, of all distinct ones, is their own; pictures are drawn large first."""
    rng = random.Random(seed)
    texts, images = [], []
    while len(texts) < how_many:
        groups, relation, placed = scene(rng, picks)
        text = caption(groups, relation)
        if text in texts:
            continue
        texts.append(text)
        picture = large(placed, sprites, rng, (250, 250, 248)).resize((SEEN, SEEN), Image.Resampling.BICUBIC)
        images.append(np.asarray(picture).astype(np.float32))
    image, text, _ = vectors(net, pixels(images), *encoded(tokenizer, texts))
    best = (text @ image.T).argmax(dim=1)
    return (best == torch.arange(len(texts))).float().mean().item()


def save(net, tokenizer, folder):
    """The model as Hugging Face lays it out."""
    folder.mkdir(parents=True, exist_ok=True)
    net.save_pretrained(folder, safe_serialization=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    processor = {
        "image_processor_type": "CLIPImageProcessor", "do_convert_rgb": True, "do_resize": True,
        "size": {"shortest_edge": SEEN}, "resample": 3, "do_center_crop": True,
        "crop_size": {"height": SEEN, "width": SEEN}, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": MEAN, "image_std": STD,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
    limits = {"model_max_length": TEXT_LENGTH, "tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(limits, indent=2) + "\n")


def pictures(folder, sprites, how_many=80):
    """Pictures to search, named by number, and what is on each."""
    rng = random.Random(7)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [[(2, "red", "circle")], [(2, "red", "circle"), (1, "blue", "square")]]
    lines = ["file\tcaption"]
    for number in range(1, how_many + 1):
        asked = wanted[number // 20] if number in (17, 38) else None
        groups, relation, placed = scene(rng, (lambda groups: groups == asked) if asked else (lambda groups: True))
        tone = rng.choice([(255, 255, 255), (248, 246, 240), (240, 244, 250), (246, 250, 244)])
        name = f"{number:03}.png"
        large(placed, sprites, rng, tone).save(folder / name, optimize=True)
        lines.append(f"{name}\t{caption(groups, relation)}")
    folder.with_name(f"{folder.name}-captions.tsv").write_text("\n".join(lines) + "\n")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--minutes", type=float, default=15, help="processor time for training")
    arguments.add_argument("--steps", type=int, default=3000, help="most steps")
    arguments.add_argument("--out", default="examples/data")
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(3)
    sprites = Sprites(24, rng)
    out = pathlib.Path(chosen.out)
    texts = [caption(groups, relation, rng) for groups, relation, _ in (scene(rng, lambda g: True) for _ in range(4000))]
    texts += ["a picture of", "a drawing of", "a photo of", "on white", "shapes"] * 50
    tokenizer = clip_tokenizer(texts, 260)
    pictures(out / "shapes", sprites)
    net, steps = train(tokenizer, sprites, chosen.minutes * 60, chosen.steps)
    fresh = Sprites(24, random.Random(4))
    seen = recall(net, tokenizer, fresh, lambda groups: not any(held_out(g) for g in groups), 11, 200)
    unseen = recall(net, tokenizer, fresh, lambda groups: any(held_out(g) for g in groups), 12, 200)
    one = recall(net, tokenizer, fresh, lambda groups: len(groups) == 1 and held_out(groups[0]), 13, 20)
    print(f"{steps} steps; recall@1 of 200 pictures: seen combinations {seen:.3f}, unseen {unseen:.3f}; "
          f"20 pictures of one unseen group: {one:.3f}")
    save(net, tokenizer, out / "shapes-clip")


if __name__ == "__main__":
    main()
