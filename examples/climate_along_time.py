"""Stream a climate model's output along time, in order, a few months at a time.

The file comes with h5stream: a year of monthly zonal means of reactive nitrogen (UKESM1, CMIP6),
39 pressure levels by 144 latitudes. Axis 0 is time, so a row is a month, and centuries would take
no more memory than this year.
"""

from __future__ import annotations

import torch

import h5stream as h5s

MONTHS_AT_ONCE = 5
MISSING = 1e19
"""Levels below the ground hold 1e20."""

BANDS = {"south": slice(0, 48), "tropics": slice(48, 96), "north": slice(96, 144)}
TEN_HPA = 22


def name_month(day: float) -> str:
    """Write a day since 1850 in the model's calendar of 360 days a year."""
    year, rest = divmod(int(day), 360)
    return f"{1850 + year}-{rest // 30 + 1:02}"


def main() -> None:
    stream = h5s.H5Stream(
        h5s.example_file("climate"),
        fields={"noy": "noy", "day": "time"},
        batch_size=MONTHS_AT_ONCE,
    )
    print("reactive nitrogen at 10 hPa, in parts per billion")
    print("month    " + "".join(f"{band:>9}" for band in BANDS) + "  mean so far")
    total, months = torch.zeros(39, dtype=torch.float64), 0
    for batch in stream:
        noy = batch["noy"].double()
        noy[noy > MISSING] = torch.nan
        for day, month in zip(batch["day"].tolist(), noy * 1e9, strict=True):
            profile = month.nanmean(dim=1)
            total += profile
            months += 1
            bands = "".join(f"{month[TEN_HPA, band].mean():9.2f}" for band in BANDS.values())
            print(f"{name_month(day)}  {bands}  {total[TEN_HPA] / months:11.2f}")
    mean = total / months
    peak = int(mean.argmax())
    print(f"over {months} months it peaks at level {peak + 1} of 39, with {mean[peak]:.2f}")


if __name__ == "__main__":
    main()
