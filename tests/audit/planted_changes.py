"""What happens to a copy on its way from one collection to another: 20 planted per change by the tests and docs."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, ImageOps
from scipy import signal as dsp

Change = dict[str, np.ndarray]


def changed_signals(x: np.ndarray) -> Change:
    """(n, channels, 1000) at 100 Hz -> change -> the same recordings after it."""
    rng = np.random.default_rng(0)
    x = x.astype(np.float64)
    size = x.std(axis=(1, 2), keepdims=True)
    time = np.arange(x.shape[-1]) / 100

    def later(points: int) -> np.ndarray:
        return np.concatenate([x[..., points:], np.repeat(x[..., -1:], points, axis=-1)], axis=-1)

    def filtered(order: int, band: float | list[float], kind: str, *, causal: bool = False) -> np.ndarray:
        sections = dsp.butter(order, band, kind, fs=100, output="sos")
        return (dsp.sosfilt if causal else dsp.sosfiltfilt)(sections, x, axis=-1)

    one = x.copy()
    one[:, 0, 500] += 1
    lost, cut = x.copy(), x.copy()
    lost[:, -1] = 0
    cut[..., 700:] = 0
    warped = np.stack([[np.interp(np.arange(1000) * 1.01, np.arange(1000), row) for row in one_x] for one_x in x])
    return {
        "one sample by 1 µV": one,
        "gain 0.5": x * 0.5,
        "gain of each lead 0.8 to 1.25": x * rng.uniform(0.8, 1.25, (*x.shape[:2], 1)),
        "inverted": -x,
        "noise, 20 dB": x + rng.normal(size=x.shape) * size * 0.1,
        "noise, 10 dB": x + rng.normal(size=x.shape) * size * 0.316,
        "mains hum": x + size * 0.5 * np.sin(2 * np.pi * 49 * time),
        "wandering baseline": x + size * 2 * np.sin(2 * np.pi * 0.3 * time + rng.uniform(0, 6, (*x.shape[:2], 1))),
        "shift by 10 ms": later(1),
        "shift by 200 ms": later(20),
        "shift by 500 ms": later(50),
        "shift by 1 s": later(100),
        "resampled 100-50-100 Hz": dsp.resample(dsp.resample(x, 500, axis=-1), 1000, axis=-1),
        "resampled 100-500-100 Hz": dsp.resample_poly(dsp.resample_poly(x, 5, 1, axis=-1), 1, 5, axis=-1),
        "high-pass 0.67 Hz": filtered(3, 0.67, "high"),
        "low-pass 40 Hz": filtered(3, 40, "low"),
        "low-pass 25 Hz": filtered(3, 25, "low"),
        "low-pass 15 Hz": filtered(3, 15, "low"),
        "band-pass 0.5 to 35 Hz, causal": filtered(3, [0.5, 35], "band", causal=True),
        "one lead lost": lost,
        "last 3 s lost": cut,
        "played 1 % faster": warped,
    }


def changed_series(x: np.ndarray) -> Change:
    """(n, hours, variables) with NaN -> change -> the same series after it."""
    rng = np.random.default_rng(0)
    x = x.astype(np.float64)
    known = np.isfinite(x)
    mean = np.where(known, x, 0).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    size = np.sqrt(
        np.where(known, (x - mean) ** 2, 0).sum(axis=1, keepdims=True) / np.maximum(known.sum(1)[:, None], 1)
    )

    def later(hours: int) -> np.ndarray:
        return np.concatenate([x[:, hours:], np.full_like(x[:, :hours], np.nan)], axis=1)

    one, half = x.copy(), x.copy()
    for series, there in zip(one, known, strict=True):
        hour, variable = np.argwhere(there)[5]
        series[hour, variable] *= 1.01
    half[:, 1::2] = np.nan
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)), constant_values=np.nan)
    three = np.stack([padded[:, k : k + x.shape[1]] for k in range(3)])
    there = np.isfinite(three)
    smooth = np.where(there, three, 0).sum(0) / np.maximum(there.sum(0), 1)
    return {
        "one value by 1 %": one,
        "other unit (x 0.0555)": x * 0.0555,
        "offset": x + 5,
        "noise, 0.3 SD": x + rng.normal(size=x.shape) * size * 0.3,
        "noise, 0.5 SD": x + rng.normal(size=x.shape) * size * 0.5,
        "shift by 1 h": later(1),
        "shift by 2 h": later(2),
        "shift by 3 h": later(3),
        "every second hour gone": half,
        "30 % of the values gone": np.where(rng.random(x.shape) < 0.3, np.nan, x),
        "rounded to integers": np.rint(x),
        "mean of three hours": np.where(known, smooth, np.nan),
    }


def changed_pictures(pictures: np.ndarray) -> Change:
    """(n, 1, S, S) uint8 -> change -> the same pictures after it."""
    side = pictures.shape[-1]
    rng = np.random.default_rng(0)

    def jpeg(image: Image.Image) -> Image.Image:
        stream = BytesIO()
        image.save(stream, "JPEG", quality=40)
        return Image.open(stream).convert("L")

    def crop(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
        box = (round(side * left), round(side * top), round(side * (1 - right)), round(side * (1 - bottom)))
        return image.crop(box).resize((side, side), Image.Resampling.BICUBIC)

    def shift(image: Image.Image, share: float) -> Image.Image:
        step = -side * share
        return image.transform(image.size, Image.Transform.AFFINE, (1, 0, step, 0, 1, step), Image.Resampling.BICUBIC)

    def gamma(image: Image.Image, power: float) -> Image.Image:
        return image.point([round(255 * (level / 255) ** power) for level in range(256)])

    def noise(image: Image.Image) -> Image.Image:
        return Image.fromarray((np.asarray(image) + rng.normal(0, 8, (side, side))).clip(0, 255).astype(np.uint8))

    def label(image: Image.Image) -> Image.Image:
        values = np.asarray(image).copy()
        values[side // 40 : side // 9, side // 40 : side // 4] = 255
        return Image.fromarray(values)

    bicubic = Image.Resampling.BICUBIC
    edits = {
        "JPEG, quality 40": jpeg,
        "half the size": lambda i: i.resize((side // 2,) * 2, Image.Resampling.BOX).resize((side, side), bicubic),
        "brightness 1.4": lambda i: i.point([min(255, int(level * 1.4)) for level in range(256)]),
        "noise, SD 8": noise,
        "crop 5 %, all round": lambda i: crop(i, 0.025, 0.025, 0.025, 0.025),
        "crop 5 %, one corner": lambda i: crop(i, 0.05, 0.05, 0, 0),
        "crop 10 %, one corner": lambda i: crop(i, 0.1, 0.1, 0, 0),
        "shift 1 %": lambda i: shift(i, 0.01),
        "shift 3 %": lambda i: shift(i, 0.03),
        "shift 5 %": lambda i: shift(i, 0.05),
        "turn 3°": lambda i: i.rotate(3, bicubic),
        "turn 5°": lambda i: i.rotate(5, bicubic),
        "turn 10°": lambda i: i.rotate(10, bicubic),
        "turn 90°": lambda i: i.transpose(Image.Transpose.ROTATE_90),
        "mirrored": ImageOps.mirror,
        "upside down": ImageOps.flip,
        "negative": ImageOps.invert,
        "gamma 0.5": lambda i: gamma(i, 0.5),
        "gamma 2": lambda i: gamma(i, 2.0),
        "histogram equalised": ImageOps.equalize,
        "contrast stretched by 5 %": lambda i: ImageOps.autocontrast(i, 5),
        "a label in the corner": label,
        "mirrored, turned 3°, gamma 0.6": lambda i: gamma(ImageOps.mirror(i).rotate(3, bicubic), 0.6),
    }
    return {
        name: np.stack([np.asarray(edit(Image.fromarray(p[0])))[None] for p in pictures])
        for name, edit in edits.items()
    }


CHANGES = {"signal": changed_signals, "clinical": changed_series, "image": changed_pictures}
