"""Particles, molecules, cells and graphs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.layouts.case import Case, Row

__all__ = ["PARTICLES"]


def _salt(rng: np.random.Generator) -> None:
    jets = np.zeros(30, [("pt", "f4"), ("HadronConeExclTruthLabelID", "i4")])
    jets["pt"], jets["HadronConeExclTruthLabelID"] = rng.random(30), rng.choice([0, 4, 5], 30)
    tracks = np.zeros((30, 5), [("d0", "f2"), ("z0", "f2"), ("valid", "?")])
    tracks["d0"], tracks["valid"] = rng.random((30, 5)), rng.random((30, 5)) < 0.7
    with h5py.File("pp_output.h5", "w") as file:
        file.create_dataset("jets", data=jets, chunks=(7,), compression="lzf")
        file.create_dataset("tracks", data=tracks, chunks=(7, 5), compression="lzf")


def _rows_of_salt() -> Iterator[Row]:
    with h5py.File("pp_output.h5") as file:
        for at in range(30):
            jet, tracks = file["jets"][at], file["tracks"][at]
            yield {
                "pt": jet["pt"],
                "label": jet["HadronConeExclTruthLabelID"],
                "d0": tracks["d0"],
                "valid": tracks["valid"],
            }


def _jetnet(rng: np.random.Generator) -> None:
    for kind in ("g", "t"):
        with h5py.File(f"{kind}.hdf5", "w") as file:
            file["particle_features"] = rng.random((8, 6, 4)).astype("f4")
            file["jet_features"] = rng.random((8, 4)).astype("f4")


def _rows_of_jetnet() -> Iterator[Row]:
    for kind in ("g", "t"):
        with h5py.File(f"{kind}.hdf5") as file:
            for at in range(8):
                yield {
                    "particles": file["particle_features"][at, :, :3],
                    "jet": file["jet_features"][at],
                    "type": kind,
                }


def _spice(rng: np.random.Generator) -> None:
    with h5py.File("SPICE.hdf5", "w") as file:
        for number, atoms in enumerate((3, 5, 2)):
            group = file.create_group(f"mol {number}")
            group["atomic_numbers"] = rng.integers(1, 9, atoms)
            group["conformations"] = rng.random((number + 2, atoms, 3)).astype("f4")
            group["smiles"] = np.array([f"C{number}"], object)
            group["subset"] = f"set {number % 2}"


def _rows_of_spice() -> Iterator[Row]:
    with h5py.File("SPICE.hdf5") as file:
        for number in range(3):
            group = file[f"mol {number}"]
            yield {
                "z": group["atomic_numbers"][()],
                "xyz": group["conformations"][()].reshape(-1),
                "shape": np.array(group["conformations"].shape),
                "subset": group["subset"][()].decode(),
            }


def _biggraph(rng: np.random.Generator) -> None:
    for lhs in range(2):
        with h5py.File(f"edges_{lhs}_0.h5", "w") as file:
            for name in ("rel", "lhs", "rhs"):
                file[name] = rng.integers(0, 99, 10 + lhs)
            file.attrs["format_version"] = 1


def _rows_of_biggraph() -> Iterator[Row]:
    for lhs in range(2):
        with h5py.File(f"edges_{lhs}_0.h5") as file:
            for at in range(10 + lhs):
                yield {
                    **{name: file[name][at] for name in ("rel", "lhs", "rhs")},
                    "bucket": f"edges_{lhs}_0",
                }


def _energyflow(rng: np.random.Generator) -> None:
    for number, counts in enumerate([(3, 0, 5), (2, 4)]):
        with h5py.File(f"CMS_Jet300_{number}.h5", "w") as file:
            file["pfcs"] = rng.random((sum(counts), 4))
            file["pfcs_index"] = np.cumsum([0, *counts])
            file["jets_f"] = rng.random((len(counts), 6))
            file["jets_i"] = rng.integers(0, 99, (len(counts), 5))


def _rows_of_energyflow() -> Iterator[Row]:
    for number in range(2):
        with h5py.File(f"CMS_Jet300_{number}.h5") as file:
            index = file["pfcs_index"][()]
            for at in range(len(index) - 1):
                yield {
                    "particles": file["pfcs"][index[at] : index[at + 1]],
                    "jet": file["jets_f"][at, :4],
                    "run": file["jets_i"][at, 0],
                }


def _pointnet(rng: np.random.Generator) -> None:
    for number in range(2):
        with h5py.File(f"ply_data_train{number}.h5", "w") as file:
            data = rng.random((5, 16, 3)).astype("f4")
            file.create_dataset("data", data=data, chunks=(2, 16, 3), compression="gzip")
            file["label"] = rng.integers(0, 40, (5, 1), np.uint8)
    Path("train_files.txt").write_text("ply_data_train1.h5\nply_data_train0.h5\n")


def _rows_of_pointnet() -> Iterator[Row]:
    for name in Path("train_files.txt").read_text().split():
        with h5py.File(name) as file:
            for at in range(5):
                yield {"points": file["data"][at, :8], "label": file["label"][at]}


def _single_cells(rng: np.random.Generator) -> None:
    counts = rng.integers(0, 4, (9, 6)) * (rng.random((9, 6)) < 0.4)
    rows, columns = np.nonzero(counts)
    with h5py.File("cells.h5ad", "w") as file:
        file.attrs["encoding-type"], file.attrs["encoding-version"] = "anndata", "0.1.0"
        matrix = file.create_group("X")
        matrix.attrs["encoding-type"], matrix.attrs["encoding-version"] = "csr_matrix", "0.1.0"
        matrix.attrs["shape"] = counts.shape
        matrix["data"], matrix["indices"] = counts[rows, columns].astype("f4"), columns
        matrix["indptr"] = np.searchsorted(rows, np.arange(10))
        _write_frame(file, "obs", [f"cell_{n}" for n in range(9)])
        _write_frame(file, "var", [f"gene_{n}" for n in range(6)])
        kind = file["obs"].create_group("cell_type")
        kind.attrs["encoding-type"], kind.attrs["encoding-version"] = "categorical", "0.2.0"
        kind.attrs["ordered"] = False
        kind["codes"] = rng.integers(0, 3, 9, np.int8)
        kind["categories"] = np.array(["B", "NK", "T"], object)


def _write_frame(file: Any, name: str, index: list[str]) -> None:
    frame = file.create_group(name)
    frame.attrs["encoding-type"], frame.attrs["encoding-version"] = "dataframe", "0.2.0"
    frame.attrs["_index"] = "_index"
    frame.attrs["column-order"] = np.array(["cell_type"] if name == "obs" else [], "S9")
    frame["_index"] = np.array(index, object)


def _rows_of_single_cells() -> Iterator[Row]:
    with h5py.File("cells.h5ad") as file:
        matrix, kind = file["X"], file["obs/cell_type"]
        for at in range(9):
            cell = np.zeros(6, "f4")
            for place in range(matrix["indptr"][at], matrix["indptr"][at + 1]):
                cell[matrix["indices"][place]] = matrix["data"][place]
            yield {
                "x": cell,
                "cell_type": kind["categories"][kind["codes"][at]].decode(),
                "barcode": file["obs/_index"][at].decode(),
            }


def _ani(rng: np.random.Generator) -> None:
    with h5py.File("ani1x-release.h5", "w") as file:
        for formula, (conformations, atoms) in {"C1H4": (3, 5), "H2O1": (4, 3)}.items():
            group = file.create_group(formula)
            group["atomic_numbers"] = rng.integers(1, 9, atoms, np.uint8)
            group["coordinates"] = rng.random((conformations, atoms, 3)).astype("f4")
            group["wb97x_dz.energy"] = rng.random(conformations)


def _rows_of_ani() -> Iterator[Row]:
    with h5py.File("ani1x-release.h5") as file:
        for formula in ("C1H4", "H2O1"):
            group = file[formula]
            for at in range(len(group["coordinates"])):
                yield {
                    "z": group["atomic_numbers"][()],
                    "xyz": group["coordinates"][at],
                    "energy": group["wb97x_dz.energy"][at],
                    "formula": formula,
                }


PARTICLES = [
    Case(
        "salt",
        "compounds: `jets` (N,), `tracks` (N, 40)",
        """"pp_output.h5", {
    "pt": "jets[pt]",
    "label": "jets[HadronConeExclTruthLabelID]",
    "d0": "tracks[d0]",
    "valid": "tracks[valid]",
}""",
        _salt,
        _rows_of_salt,
    ),
    Case(
        "JetNet",
        "a kind of jet a file: `particle_features` (N, 30, 4), `jet_features`",
        """"*.hdf5", {
    "particles": h5s.Dense("particle_features", inner=np.s_[:, :3]),
    "jet": "jet_features",
    "type": h5s.Origin("stem"),
}""",
        _jetnet,
        _rows_of_jetnet,
    ),
    Case(
        "SPICE, ANI-1x, torchmd-net",
        "a group a molecule: `atomic_numbers`, `conformations` (conformation, atom, 3)",
        """"SPICE.hdf5", {
    "z": h5s.Grouped("*/atomic_numbers"),
    "xyz": h5s.Grouped("*/conformations", flat=True),
    "shape": h5s.Shape("*/conformations"),
    "subset": h5s.Grouped("*/subset"),
}""",
        _spice,
        _rows_of_spice,
    ),
    Case(
        "PyTorch-BigGraph",
        "a bucket of edges a file: `rel`, `lhs`, `rhs`",
        """"edges_*.h5", {
    "rel": "rel", "lhs": "lhs", "rhs": "rhs", "bucket": h5s.Origin("stem"),
}""",
        _biggraph,
        _rows_of_biggraph,
    ),
    Case(
        "EnergyFlow, CMS open data",
        "`pfcs`: particles of all jets, `pfcs_index`: where each begins, `jets_f`, `jets_i`",
        """"CMS_Jet300_*.h5", {
    "particles": h5s.Ragged("pfcs", "pfcs_index"),
    "jet": h5s.Dense("jets_f", inner=np.s_[:4]),
    "run": h5s.Dense("jets_i", inner=0),
}""",
        _energyflow,
        _rows_of_energyflow,
    ),
    Case(
        "PointNet, ModelNet40",
        "`data` (shape, point, 3), `label`, in files that a text file lists",
        """Path("train_files.txt").read_text().split(), {
    "points": h5s.Dense("data", inner=np.s_[:8]),
    "label": "label",
}""",
        _pointnet,
        _rows_of_pointnet,
    ),
    Case(
        "AnnData, scvi-tools, single cells",
        "`X` sparse (cell, gene), `obs` annotations of cells with categories",
        """"cells.h5ad", {
    "x": h5s.Sparse("X", dense=True),
    "cell_type": "obs/cell_type",
    "barcode": "obs/_index",
}""",
        _single_cells,
        _rows_of_single_cells,
    ),
    Case(
        "ANI-1x, a sample a conformation",
        "a group a formula: `atomic_numbers`, `coordinates` (conformation, atom, 3), energies",
        """"ani1x-release.h5", {
    "z": h5s.Grouped("*/atomic_numbers"),
    "xyz": h5s.Concat("*/coordinates", ragged=True),
    "energy": h5s.Concat("*/wb97x_dz.energy"),
    "formula": h5s.Origin("group"),
}""",
        _ani,
        _rows_of_ani,
    ),
]
