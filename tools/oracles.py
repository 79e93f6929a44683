"""Counts a sample of the golden files once more with real torch and transformers, so that they can't rot unseen.

`make oracles` needs both libraries: `pip install "perfmodel[oracles]"`, or another Python that has them
(`make oracles ORACLE=/path/to/python`). Nothing is downloaded: models are built on the meta device, from their sizes.

`--all` counts every row instead of a sample; `--write` writes the rows of tests/golden/native.json anew.
Exit codes: 0 all equal, 1 some row differs, 2 the libraries are missing.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
SAMPLE = {"parameters": 12, "flops": 6}
"""Rows counted of each list."""
LARGEST = 80e9
"""Models of a sample have fewer parameters: building the Python objects of a giant takes minutes [-]."""

Row = dict[str, Any]
Result = tuple[str, Row, Row]
"""What was counted, what the golden file says, what the libraries say now."""


def missing() -> list[str]:
    """Libraries that are wanted and not installed."""
    return [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]


def sample(rows: list[Row], count: int) -> list[Row]:
    """So many rows, evenly spaced; all of them with --all."""
    if "--all" in sys.argv or len(rows) <= count:
        return rows
    return [rows[i * len(rows) // count] for i in range(count)]


def golden(name: str) -> Row:
    """One golden file."""
    return dict(json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8")))


# --- transformers -------------------------------------------------------------------------------------------------


def built(row: Row) -> Any:
    """The model of a row, on the meta device, with attention in plain products."""
    import torch
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config = CONFIG_MAPPING[row["model_type"]](**row["config"])
    if getattr(config, "pad_token_id", None):
        config.pad_token_id = 0  # the default of a family may lie outside a small vocabulary; it sets no size
    with torch.device("meta"):
        if cls := getattr(transformers, row.get("architecture", ""), None):
            model = cls._from_config(config, attn_implementation="eager")
        else:
            model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    return model


def parameters(row: Row) -> Row:
    """The parameter total. T5's class ties its head whatever it is told; T5 v1.1, Flan-T5 and mT5 have their own."""
    model = built(row)
    total = sum(weight.numel() for weight in model.parameters())
    head = getattr(model, "lm_head", None)
    own = row["config"].get("tie_word_embeddings") is False
    if own and head is not None and head.weight is model.get_input_embeddings().weight:
        total += head.weight.numel()
    return {"total": total}


def parameter_rows() -> Iterator[Result]:
    """Parameter totals of published, bundled and random models."""
    lists = golden("parameters")
    for part in ("rows", "bundled", "variants"):
        small = [row for row in lists[part] if row["total_params"] < LARGEST]
        for row in sample(small, SAMPLE["parameters"]):
            name, expected = f"parameters {part} {row['model']}", {"total": row["total_params"]}
            yield (
                name,
                expected,
                tried(lambda row=row: parameters(row)),
            )


def tried(count: Callable[[], Row]) -> Row:
    """What is counted, or why the libraries could not: told, not passed over."""
    try:
        return count()
    except Exception as error:
        return {"not counted": f"{type(error).__name__}: {error}"[:100]}


def flop_rows() -> Iterator[Result]:
    """Operations of dense decoders, forward, training, prefill and decode (experts are chosen by data: not on meta)."""
    models = {
        row["model"]: row
        for row in golden("parameters")["rows"]
        if row["total_params"] < LARGEST and not any("expert" in key for key in row["config"])
    }
    rows = [row for row in golden("flops")["rows"] if row["model"] in models]
    count: dict[str, Callable[[Any, Row], Row]] = {"decoder": _passes, "decode": _decode}
    for kind, counted in count.items():
        for row in sample(
            [row for row in rows if row["kind"] == kind and "error" not in row], SAMPLE["flops"]
        ):
            wanted = {
                key: row[key] for key in ("forward", "forward_backward", "prefill", "decode") if key in row
            }
            found = tried(lambda row=row, counted=counted: counted(built(models[row["model"]]), row))
            yield f"flops {kind} {row['model']}", wanted, found


def _passes(model: Any, row: Row) -> Row:
    import torch

    size = (row["batch"], row["seq"])
    tokens = torch.zeros(size, dtype=torch.long, device="meta")
    given = {"attention_mask": torch.ones(size, dtype=torch.long, device="meta"), "use_cache": False}
    return {
        "forward": _counted(lambda: model(tokens, **given)),
        "forward_backward": _counted(lambda: model(tokens, **given).logits.sum().backward()),
    }


def _decode(model: Any, row: Row) -> Row:
    import torch

    size = (row["batch"], row["cached"] + 1)
    mask = torch.ones(size, dtype=torch.long, device="meta")
    tokens = torch.zeros(size, dtype=torch.long, device="meta")
    caches: list[Any] = []

    def step(part: slice, past: Any = None) -> None:
        seen = mask[:, : part.stop]
        caches.append(
            model(tokens[:, part], attention_mask=seen, past_key_values=past, use_cache=True).past_key_values
        )

    with torch.no_grad():
        prefill = _counted(lambda: step(slice(0, row["cached"])))
        return {
            "prefill": prefill,
            "decode": _counted(lambda: step(slice(row["cached"], row["cached"] + 1), caches[0])),
        }


def _counted(run: Callable[[], Any]) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


# --- native models, as one would write them in torch --------------------------------------------------------------


def _linears(widths: list[int], last: Any = None) -> list[Any]:
    from torch import nn

    layers: list[Any] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return layers[:-1] + ([last] if last is not None else [])


def mlp(fields: Row, batch: int, length: int) -> tuple[Any, Callable[[], Any]]:
    """A perceptron and its pass."""
    import torch
    from torch import nn

    model = nn.Sequential(*_linears([fields["inputs"], *fields["hidden"], fields["outputs"]]))
    return model, lambda: model(torch.zeros(batch, fields["inputs"]))


def recurrent(fields: Row, batch: int, length: int) -> tuple[Any, Callable[[], Any]]:
    """An LSTM, GRU or RNN module and its pass."""
    import torch
    from torch import nn

    names = {
        "inputs": "input_size",
        "state": "hidden_size",
        "layers": "num_layers",
        "projection": "proj_size",
    }
    given = {names.get(key, key): value for key, value in fields.items() if key != "cell"}
    model = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[fields["cell"]](batch_first=True, **given)
    return model, lambda: model(torch.zeros(batch, length, fields["inputs"]))[0]


def lstm(fields: Row, batch: int, length: int) -> tuple[Any, Callable[[], Any]]:
    """A classifier of sequences and its pass."""
    import torch
    from torch import nn

    kept = ("cell", "state", "layers", "bidirectional", "projection")
    cells = {
        "cell": "lstm",
        "inputs": fields["embedding"],
        **{key: fields[key] for key in kept if key in fields},
    }
    stack, _ = recurrent(cells, batch, length)
    width = (fields.get("projection") or fields["state"]) * (1 + fields.get("bidirectional", False))
    model = nn.ModuleList(
        [nn.Embedding(fields["vocabulary"], fields["embedding"]), stack, nn.Linear(width, fields["classes"])]
    )
    tokens = torch.zeros(batch, length, dtype=torch.long)
    return model, lambda: model[2](model[1](model[0](tokens))[0][:, -1])


def cnn(fields: Row, batch: int, length: int) -> tuple[Any, Callable[[], Any]]:
    """A convolutional classifier and its pass."""
    import torch
    from torch import nn

    inputs, size, kernel, pool = (
        fields.get("inputs", 3),
        fields["image"],
        fields.get("kernel", 3),
        fields.get("pool", 2),
    )
    layers: list[Any] = []
    for before, after in zip([inputs, *fields["channels"]], fields["channels"], strict=False):
        layers += [nn.Conv2d(before, after, kernel, padding=kernel // 2), nn.ReLU(), nn.MaxPool2d(pool)]
    left = fields["channels"][-1] * (size // pool ** len(fields["channels"])) ** 2
    layers += [nn.Flatten(), *_linears([left, *fields.get("hidden", []), fields["classes"]])]
    model = nn.Sequential(*layers)
    return model, lambda: model(torch.zeros(batch, inputs, size, size))


def dlrm(fields: Row, batch: int, length: int) -> tuple[Any, Callable[[], Any]]:
    """A recommender and its pass: dot products as facebookresearch/dlrm, crosses as torchrec has them."""
    import torch
    from torch import nn
    from torch.nn import functional as f

    width, vectors, kind = fields["width"], 1 + len(fields["rows"]), fields.get("interaction", "dot")
    lookups = fields.get("lookups", [1])
    lookups = lookups * (vectors - 1) if len(lookups) == 1 else lookups
    bottom = nn.Sequential(*_linears([fields["dense"], *fields["bottom"]], nn.ReLU()))
    bags = nn.ModuleList([nn.EmbeddingBag(rows, width, mode="sum") for rows in fields["rows"]])
    itself = fields.get("itself", False)
    picked = torch.tril_indices(vectors, vectors, 0 if itself else -1)
    joined = width + picked.shape[1] if kind == "dot" else vectors * width
    layers, rank = fields.get("cross_layers", 3), fields.get("cross_rank", 512)
    crosses = nn.ParameterList(
        nn.Parameter(torch.empty(shape))
        for _ in range(layers if kind == "cross" else 0)
        for shape in ((rank, joined), (joined, rank), (joined,))
    )
    top = nn.Sequential(*_linears([joined, *fields["top"]], nn.Sigmoid()))

    def run() -> Any:
        x = bottom(torch.zeros(batch, fields["dense"]))
        named = [torch.zeros(batch, count, dtype=torch.long) for count in lookups]
        both = torch.cat([x, *(bag(rows) for bag, rows in zip(bags, named, strict=True))], 1)
        if kind == "dot":
            stacked = both.view(batch, vectors, width)
            pairs = torch.bmm(stacked, stacked.transpose(1, 2))
            both = torch.cat([x, pairs[:, picked[0], picked[1]]], 1)
        start = both
        for down, up, shift in zip(crosses[::3], crosses[1::3], crosses[2::3], strict=True):
            both = start * (f.linear(f.linear(both, down), up) + shift) + both
        return top(both)

    return nn.ModuleList([bottom, bags, crosses, top]), run


BUILDERS = {"mlp": mlp, "lstm": lstm, "cnn": cnn, "dlrm": dlrm, "recurrent": recurrent}


def native(row: Row) -> Row:
    """Counts of one row of golden/native.json."""
    import torch

    with torch.device("meta"):
        model, run = BUILDERS[row["format"]](row["fields"], row["batch"], row["sequence_length"])
        return {
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "forward": _counted(run),
            "forward_backward": _counted(lambda: run().sum().backward()),
        }


def native_rows() -> Iterator[Result]:
    """Parameters and operations of native models."""
    for row in golden("native")["rows"]:
        found = native(row)
        yield f"native {row['model']}", {key: row[key] for key in found}, found


def write_native() -> None:
    """Count the rows of golden/native.json anew."""
    import torch

    held = golden("native")
    held["source"]["torch"] = torch.__version__
    rows = ",\n".join(json.dumps({**row, **native(row)}) for row in held["rows"])
    text = f'{{\n"source": {json.dumps(held["source"])},\n"rows": [\n{rows}\n]}}\n'
    (GOLDEN / "native.json").write_text(text, encoding="utf-8")


def main() -> int:
    """Count, compare, tell."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if lacking := missing():
        print(
            f'{" and ".join(lacking)} missing: pip install "perfmodel[oracles]", or make oracles ORACLE=/path/to/python'
        )
        return 2
    if "--write" in sys.argv:
        write_native()
    count = {"equal": 0, "differ": 0, "not counted": 0}
    for rows in (native_rows, parameter_rows, flop_rows):
        for what, expected, found in rows():
            verdict = "not counted" if "not counted" in found else "equal" if expected == found else "differ"
            count[verdict] += 1
            if verdict != "equal":
                print(f"{verdict}: {what}: golden {expected}, now {found}", flush=True)
    print("rows: " + ", ".join(f"{rows} {verdict}" for verdict, rows in count.items()))
    return int(count["differ"] > 0)


if __name__ == "__main__":
    sys.exit(main())
