"""A document with made-up figures and everything a report can show."""

from __future__ import annotations

import itertools
import math
import struct
import zlib

from anon.evaluation.document import (
    Column,
    Curve,
    Difference,
    Document,
    Histogram,
    Line,
    People,
    Recognizer,
    Table,
)
from anon.evaluation.document.estimates import Estimate
from tests.evaluation.described import METRICS

HOSTILE = "<script>alert(1)</script>"
TRAIN = "not trained: python train.py experiment=simswap policy=itm"


def share(value: float, spread: float = 0.012) -> Estimate:
    return Estimate(value, max(0.0, value - spread), min(1.0, value + spread), n=768)


def methods(data: str) -> list[Line]:
    """Eight methods of table 1 with ID, negID, RA and what they keep."""
    known = {
        ("Real", "none"): (0.986, 0.000, 0.867, 0.019, 1.000, 2.81, 0.98),
        ("FIVA", "none"): (0.000, 0.0005, 0.945, 0.043, 0.840, 3.58, 0.97),
        ("FIVA", "sampling"): (0.004, 0.000, 0.945, 0.548, 0.839, 3.40, 0.97),
        ("FIVA", "itm"): (0.003, 0.000, 0.947, 0.030, 0.826, 3.44, 0.97),
        ("FaceDancer", "itm"): (0.000, 0.002, 0.310, 0.024, 0.700, 4.10, 0.99),
        ("Pixelate", "none"): (0.112, 0.000, 0.402, 0.110, 0.720, 7.90, 0.61),
        ("Blur", "none"): (0.388, 0.000, 0.800, 0.070, 0.780, 5.20, 0.83),
        (HOSTILE, "none"): (0.021, 0.000, 0.050, 0.300, 0.300, 19.0, 0.02),
    }
    lines = []
    for (method, policy), (id_, neg, ra, mu, ssim, pose, found) in known.items():
        clean = {
            "ID": share(id_),
            "negID": share(neg),
            "M_tc_mu": Estimate(mu, mu * 0.9, mu * 1.1, n=256)
            if data == "faces"
            else Estimate.absent("n/a (no clips)"),
            "ssim": Estimate(ssim, ssim - 0.01, min(1.0, ssim + 0.01), n=768),
            "pose_error": Estimate(pose, pose * 0.95, pose * 1.05, n=768),
            "detected": share(found),
            "ID_rank1": share(id_ + 0.01 if id_ < 0.9 else 0.99),
            "psnr": Estimate(20 + 10 * ssim, n=768),
            "age_kept": Estimate.absent("no age estimator: give attributes.age=<file of the estimator>"),
        }
        lines.append(Line(data, method, policy, metrics=clean))
        if method != "Pixelate":
            lines.append(Line(data, method, policy, attack="reconstruction", metrics={"ID": share(ra)}))
    lines.append(Line(data, "Pixelate", attack="reconstruction", needs="no attacker: python train.py experiment=rec"))
    lines.append(Line(data, "SimSwap", "itm", needs=TRAIN))
    return lines


def dials(data: str) -> list[Line]:
    """Pixelation and blur over five settings."""
    lines = []
    for method, half in (("Pixelate", 6.0), ("Blur", 9.0)):
        for dial in (2.0, 4.0, 8.0, 16.0, 32.0):
            kept = 1 / (1 + (dial / half) ** 3)
            metrics = {
                "ID": share(0.98 * kept, 0.02),
                "ssim": Estimate(0.4 + 0.6 * kept, 0.39 + 0.6 * kept, 0.41 + 0.6 * kept),
                "detected": share(min(1.0, 1.3 / (1 + (dial / 5 / half) ** 4)), 0.02),
                "pose_error": Estimate(2 + 10 * (1 - kept), 1.9 + 10 * (1 - kept), 2.1 + 10 * (1 - kept)),
            }
            lines.append(Line(data, method, dial=dial, metrics=metrics))
            lines.append(Line(data, method, dial=dial, attack="wiener", metrics={"ID": share(min(1.0, kept * 1.2))}))
    return lines


def document(pictures: bool = True) -> Document:
    first, second, turned = methods("faces"), methods("lfw"), dials("faces")
    lines = (*first, *second, *turned)
    own = [place for place, line in enumerate(lines) if line.attack == "none" and line.dial is None]
    swept = [place for place, line in enumerate(lines) if line.attack == "none" and line.dial is not None]
    columns = (
        Column("ID", "ID"),
        Column("negID", "¬ID"),
        Column("ID", "RA", attack="reconstruction"),
        Column("M_tc_mu", "M_tc mu"),
        Column("ssim", "SSIM"),
        Column("pose_error", "pose, °"),
    )
    tables = (
        Table("table1", "Table 1: who is found again", columns, tuple(own), published="fiva_table1"),
        Table(
            "dial",
            "Classic filters over their dial",
            (
                Column("ID", "ID"),
                Column("ID", "after Wiener", attack="wiener"),
                Column("detected", "detected"),
                Column("ssim", "SSIM"),
                Column("pose_error", "pose, °"),
            ),
            tuple(swept),
            dial="block side or sigma, pixels",
        ),
        Table(
            "kept",
            "What is kept: attributes & picture",
            (Column("pose_error", "pose, °"), Column("age_kept", "age"), Column("psnr", "PSNR")),
            tuple(place for place in own if lines[place].data == "faces"),
            about="Against the renderer's truth; `anon report` explains nothing here.",
        ),
    )
    grid = [place for place in own if lines[place].data == "faces"]
    far = tuple(10 ** (-4 + 4 * step / 40) for step in range(41))

    def error(strength: float) -> tuple[float, ...]:
        return tuple(max(0.0, 1 - value ** (1 / strength)) for value in far)

    edges = tuple(step / 20 for step in range(33))

    def bell(mean: float, width: float) -> tuple[float, ...]:
        middles = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
        return tuple(math.exp(-(((x - mean) / width) ** 2)) / (width * math.sqrt(math.pi)) for x in middles)

    people = {"identities": 128, "probes": 768, "gallery": 128, "impostor_pairs": 2_080_768}
    return Document(
        title="Everything on rendered faces and LFW",
        seed=7,
        lines=lines,
        tables=tables,
        judges={
            "faces": Recognizer("synthetic_b", "cosine", 0.384, 0.001, 0.00098, 456_000, 0.0126),
            "lfw": Recognizer("edgeface_xs", "cosine", 0.63, 0.001, 0.001, 300_000, 0.005),
        },
        people={
            "faces": People("faces", "evaluation", clips=256, synthetic=True, **people),
            "lfw": People("lfw", "evaluation", clips=0, synthetic=False, **people),
        },
        metrics=METRICS,
        differences=(
            Difference("table1", "ID", grid[1], grid[3], Estimate(-0.003, -0.006, -0.001)),
            Difference("table1", "ssim", grid[1], grid[3], Estimate(0.014, 0.002, 0.026)),
            Difference("table1", "ssim", grid[2], grid[3], Estimate(0.013, -0.002, 0.028)),
        ),
        curves=(
            Curve("errors", "Real", grid[0], far, error(90.0)),
            Curve("errors", "Blur", grid[6], far, error(8.0)),
            Curve("errors", "FIVA + ITM", grid[3], far, error(1.05)),
            *(
                Curve(
                    "temporal",
                    name,
                    grid[place],
                    tuple(map(float, range(10))),
                    tuple(top * (1 - 0.6**frame) for frame in range(10)),
                    tuple(0.9 * top * (1 - 0.6**frame) for frame in range(10)),
                    tuple(1.1 * top * (1 - 0.6**frame) for frame in range(10)),
                )
                for name, place, top in (("Real", 0, 0.05), ("FIVA + Sampling", 2, 0.6), ("FIVA + ITM", 3, 0.08))
            ),
        ),
        histograms=(
            Histogram("FIVA + ITM", grid[3], edges, {"genuine": bell(0.25, 0.1), "anonymized": bell(1.0, 0.2)}, 0.384),
            Histogram("Blur", grid[6], edges, {"genuine": bell(0.25, 0.1), "anonymized": bell(0.5, 0.2)}, 0.384),
        ),
        notes=("The training encoder judged 'lfw', as you asked.",),
        pictures={"grid.png": "Targets, anonymized and attacked faces"} if pictures else {},
        config={"experiment": "all", "paths": {"results": "runs"}},
        commit="0123456789abcdef0123456789abcdef01234567",
        versions={"torch": "2.13.0", "anon": "0.9"},
        made={"date": "2026-11-21", "seconds": 312.5, "machine": "2 cores"},
    )


def png(width: int = 640, height: int = 200) -> bytes:
    """A picture of colour bands."""

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    row = b"\0" + b"".join(bytes((x * 255 // width, 90, 255 - x * 255 // width)) for x in range(width))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(row * height)) + part(b"IEND", b"")
