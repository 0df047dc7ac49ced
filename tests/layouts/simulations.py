"""Simulations and weather."""

from __future__ import annotations

from collections.abc import Iterator

import h5py
import numpy as np

from tests.layouts.case import Case, Row

__all__ = ["SIMULATIONS"]


def _the_well(rng: np.random.Generator) -> None:
    for number in range(2):
        with h5py.File(f"well_{number}.hdf5", "w") as file:
            data = rng.random((3, 12, 6, 8)).astype("f4")
            file.create_dataset("t0_fields/density", data=data, chunks=(1, 1, 6, 8))
            file.create_dataset("t1_fields/velocity", data=rng.random((3, 12, 6, 8, 2)))
            file["scalars/viscosity"] = rng.random(3)
            file.attrs["dataset_name"] = "turbulence"


def _rows_of_the_well() -> Iterator[Row]:
    for number in range(2):
        with h5py.File(f"well_{number}.hdf5") as file:
            for run in range(3):
                for at in range(12 - 5 + 1):
                    yield {
                        "x": file["t0_fields/density"][run, at : at + 4],
                        "v": file["t1_fields/velocity"][run, at : at + 4],
                        "y": file["t0_fields/density"][run, at + 4 : at + 5],
                        "viscosity": file["scalars/viscosity"][run],
                        "name": file.attrs["dataset_name"],
                    }


def _pdebench(rng: np.random.Generator) -> None:
    with h5py.File("1D_Advection.hdf5", "w") as file:
        file.create_dataset("tensor", data=rng.random((5, 9, 16)).astype("f4"))
        file["x-coordinate"] = np.linspace(0, 1, 16, dtype="f4")


def _rows_of_pdebench() -> Iterator[Row]:
    with h5py.File("1D_Advection.hdf5") as file:
        for run in range(5):
            for at in range(9 - 4 + 1):
                window = file["tensor"][run, at : at + 4]
                yield {"u": window[:, ::4], "grid": file["x-coordinate"][()]}


def _pdebench_groups(rng: np.random.Generator) -> None:
    with h5py.File("2D_diff-react.h5", "w") as file:
        for seed in range(4):
            group = file.create_group(f"{seed:04}")
            group.create_dataset("data", data=rng.random((7, 4, 4, 2)).astype("f4"))
            group["grid/x"] = rng.random(4)


def _rows_of_pdebench_groups() -> Iterator[Row]:
    with h5py.File("2D_diff-react.h5") as file:
        for seed in sorted(file):
            for at in range(7 - 5 + 1):
                yield {"u": file[seed]["data"][at : at + 5], "x": file[seed]["grid/x"][()]}


def _fourcastnet(rng: np.random.Generator) -> None:
    for year in (2015, 2016):
        with h5py.File(f"{year}.h5", "w") as file:
            file["fields"] = rng.random((6, 5, 4, 8)).astype("f4")
        with h5py.File(f"tp_{year}.h5", "w") as file:
            file.create_dataset("tp", data=rng.random((6, 4, 8)), chunks=(2, 4, 8))


def _rows_of_fourcastnet() -> Iterator[Row]:
    for year in (2015, 2016):
        with h5py.File(f"{year}.h5") as fields, h5py.File(f"tp_{year}.h5") as rain:
            for at in range(5):
                yield {
                    "x": fields["fields"][at : at + 1][:, [0, 3, 4]],
                    "tp": rain["tp"][at + 1 : at + 2],
                }


def _deepcam(rng: np.random.Generator) -> None:
    for number in range(4):
        with h5py.File(f"data-2000-{number}.h5", "w") as file:
            file["climate/data"] = rng.random((6, 8, 3)).astype("f4")
            file["climate/labels_0"] = rng.integers(0, 3, (6, 8))


def _rows_of_deepcam() -> Iterator[Row]:
    for number in range(4):
        with h5py.File(f"data-2000-{number}.h5") as file:
            yield {
                "data": file["climate/data"][:, :, [0, 2]],
                "label": file["climate/labels_0"][()],
            }


def _cosmoflow(rng: np.random.Generator) -> None:
    for number in range(3):
        with h5py.File(f"univ_ics_{number}.hdf5", "w") as file:
            file["full"] = rng.integers(0, 9, (4, 4, 4, 2), np.int16)
            file["unitPar"] = rng.random(4).astype("f4")
            file["redshifts"] = np.array([0.0, 0.5])


def _rows_of_cosmoflow() -> Iterator[Row]:
    for number in range(3):
        with h5py.File(f"univ_ics_{number}.hdf5") as file:
            yield {"x": np.moveaxis(file["full"][()], 3, 0), "y": file["unitPar"][()]}


def _pdearena(rng: np.random.Generator) -> None:
    for seed in range(2):
        with h5py.File(f"NavierStokes2D_train_{seed}.h5", "w") as file:
            for name in ("u", "vx", "vy"):
                data = rng.random((3, 8, 4, 6)).astype("f4")
                file.create_dataset(f"train/{name}", data=data, chunks=(1, 8, 4, 6))
            file["train/t"] = np.tile(np.arange(8.0), (3, 1))
            file["train/x"], file["train/y"] = rng.random((3, 4)), rng.random((3, 6))
            file["train/dt"], file["train/buo_y"] = np.full(3, 1.5), rng.random(3)


def _rows_of_pdearena() -> Iterator[Row]:
    for seed in range(2):
        with h5py.File(f"NavierStokes2D_train_{seed}.h5") as file:
            train = file["train"]
            for run in range(3):
                for at in range(8 - 5 + 1):
                    yield {
                        **{name: train[name][run, at : at + 4] for name in ("u", "vx", "vy")},
                        "next": train["u"][run, at + 4 : at + 5],
                        "buoyancy": train["buo_y"][run],
                    }


SIMULATIONS = [
    Case(
        "The Well",
        "`t0_fields/*`, `t1_fields/*` (run, time, x, y[, component]), `scalars/*`, attributes",
        """"well_*.hdf5", {
    "x": h5s.Slices("t0_fields/density", 4, axis=1),
    "v": h5s.Slices("t1_fields/velocity", 4, axis=1),
    "y": h5s.Slices("t0_fields/density", 1, axis=1, shift=4),
    "viscosity": "scalars/viscosity",
    "name": h5s.Constant("/", "dataset_name"),
}""",
        _the_well,
        _rows_of_the_well,
    ),
    Case(
        "PDEBench, one array",
        "`tensor` (run, time, x), `x-coordinate`; every fourth point",
        """"1D_Advection.hdf5", {
    "u": h5s.Slices(h5s.Dense("tensor", inner=np.s_[:, ::4]), 4, axis=1),
    "grid": h5s.Constant("x-coordinate"),
}""",
        _pdebench,
        _rows_of_pdebench,
    ),
    Case(
        "PDEBench, a group a seed",
        "`0000/data` (time, x, y, channel), `0000/grid/x`",
        """"2D_diff-react.h5", {
    "u": h5s.Slices(h5s.Grouped("*/data"), 5),
    "x": h5s.Grouped("*/grid/x"),
}""",
        _pdebench_groups,
        _rows_of_pdebench_groups,
    ),
    Case(
        "FourCastNet, physicsnemo",
        "`fields` (time, channel, lat, lon) a year; precipitation in files of its own",
        """{"x": "20*.h5", "tp": "tp_20*.h5"}, {
    "x": h5s.Slices(h5s.Dense("fields", inner=[0, 3, 4]), 1),
    "tp": h5s.Slices("tp", 1, shift=1),
}""",
        _fourcastnet,
        _rows_of_fourcastnet,
    ),
    Case(
        "DeepCAM",
        "a sample a file: `climate/data` (lat, lon, channel), `climate/labels_0`",
        """"data-*.h5", {
    "data": h5s.Whole("climate/data", inner=np.s_[:, [0, 2]]),
    "label": h5s.Whole("climate/labels_0"),
}""",
        _deepcam,
        _rows_of_deepcam,
    ),
    Case(
        "CosmoFlow",
        "a sample a file: `full` (x, y, z, redshift), `unitPar`",
        """"univ_*.hdf5", {"x": h5s.Whole("full", axis=3), "y": h5s.Whole("unitPar")}""",
        _cosmoflow,
        _rows_of_cosmoflow,
    ),
    Case(
        "PDEArena",
        "`train/{u, vx, vy}` (run, time, x, y), one `dt` and `buo_y` a run",
        """"NavierStokes2D_train_*.h5", {
    "u": h5s.Slices("train/u", 4, axis=1),
    "vx": h5s.Slices("train/vx", 4, axis=1),
    "vy": h5s.Slices("train/vy", 4, axis=1),
    "next": h5s.Slices("train/u", 1, axis=1, shift=4),
    "buoyancy": "train/buo_y",
}""",
        _pdearena,
        _rows_of_pdearena,
    ),
]
