"""Small files as public code bases lay them out, how to ask for them, and their rows.

The rows are read sample by sample with h5py, by code that knows nothing of h5stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

__all__ = ["CASES", "Case"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One code base.

    Parameters
    ----------
    name : str
        Of the code base.
    drawn : str
        Its layout, in a line.
    ask : str
        Arguments of `H5Stream`, as the documentation shows them.
    write : callable
        Writes files into the working directory.
    rows : callable
        Reads its samples one by one.
    """

    name: str
    drawn: str
    ask: str
    write: Callable[[np.random.Generator], None]
    rows: Callable[[], Iterator[Row]]


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


def _fastmri(rng: np.random.Generator) -> None:
    Path("multicoil").mkdir()
    for number in (2, 10, 1):
        with h5py.File(f"multicoil/file{number}.h5", "w") as file:
            shape = (number + 1, 3, 4)
            file["kspace"] = (rng.random(shape) + 1j * rng.random(shape)).astype("c8")
            file["ismrmrd_header"] = f"<header>{number}</header>"
            file["mask"] = rng.random(4) < 0.5
            file.attrs["max"] = rng.random()
            file.attrs["acquisition"] = "AXT2" if number > 1 else "AXFLAIR"


def _rows_of_fastmri() -> Iterator[Row]:
    for number in (1, 2, 10):
        with h5py.File(f"multicoil/file{number}.h5") as file:
            for at in range(len(file["kspace"])):
                yield {
                    "kspace": file["kspace"][at],
                    "mask": file["mask"][()],
                    "max": file.attrs["max"],
                    "acquisition": file.attrs["acquisition"],
                    "header": file["ismrmrd_header"][()].decode(),
                    "file": f"file{number}.h5",
                    "slice": at,
                }


def _clam(rng: np.random.Generator) -> None:
    lines = ["case_id,slide_id,label"]
    for number in range(5):
        with h5py.File(f"slide_{number}.h5", "w") as file:
            file["features"] = rng.random((number * 2 + 1, 6)).astype("f4")
            file["coords"] = rng.integers(0, 999, (number * 2 + 1, 2))
        lines.insert(1, f"case_{number},slide_{number},{number % 2}")
    Path("labels.csv").write_text("\n".join(lines))


def _rows_of_clam() -> Iterator[Row]:
    table = dict(line.split(",")[1:] for line in Path("labels.csv").read_text().split("\n")[1:])
    for number in range(5):
        with h5py.File(f"slide_{number}.h5") as file:
            yield {
                "bag": file["features"][()],
                "coords": file["coords"][()],
                "label": int(table[f"slide_{number}"]),
            }


def _robomimic(rng: np.random.Generator) -> None:
    with h5py.File("low_dim.hdf5", "w") as file:
        for number, length in enumerate((6, 3, 8)):
            demo = file.create_group(f"data/demo_{number}")
            demo["actions"] = rng.random((length, 2))
            demo["obs/eef_pos"] = rng.random((length, 3))
            demo["obs/image"] = rng.integers(0, 255, (length, 4, 4, 3), np.uint8)
            demo.attrs["num_samples"] = length
        file["data"].attrs["env_args"] = '{"env_name": "Lift"}'
        file["mask/train"] = np.array([b"demo_0", b"demo_2"])


def _held(values: Any, start: int, length: int) -> np.ndarray:
    """Take elements one by one; the first and the last one stand for those beyond."""
    return np.stack(
        [values[min(max(at, 0), len(values) - 1)] for at in range(start, start + length)]
    )


def _rows_of_robomimic() -> Iterator[Row]:
    with h5py.File("low_dim.hdf5") as file:
        for number in range(3):
            demo = file[f"data/demo_{number}"]
            for at in range(len(demo["actions"])):
                yield {
                    "pos": _held(demo["obs/eef_pos"], at - 1, 2),
                    "image": _held(demo["obs/image"], at - 1, 2),
                    "actions": _held(demo["actions"], at, 4),
                    "env": file["data"].attrs["env_args"],
                }


def _act(rng: np.random.Generator) -> None:
    for number in range(3):
        with h5py.File(f"episode_{number}.hdf5", "w") as file:
            file["action"] = rng.random((7, 2)).astype("f4")
            file["observations/qpos"] = rng.random((7, 2)).astype("f4")
            images = rng.integers(0, 255, (7, 4, 5, 3), np.uint8)
            file.create_dataset("observations/images/top", data=images, chunks=(1, 4, 5, 3))
            file.attrs["sim"] = True


def _rows_of_act() -> Iterator[Row]:
    for number in range(3):
        with h5py.File(f"episode_{number}.hdf5") as file:
            for at in range(7):
                action = np.zeros((5, 2), "f4")
                rest = file["action"][at : at + 5]
                action[: len(rest)] = rest
                yield {
                    "qpos": file["observations/qpos"][at],
                    "image": file["observations/images/top"][at],
                    "action": action,
                    "is_real": np.arange(5) < len(rest),
                }


def _minari(rng: np.random.Generator) -> None:
    with h5py.File("main_data.hdf5", "w") as file:
        for number, length in enumerate((4, 2, 5)):
            episode = file.create_group(f"episode_{number}")
            episode["observations"] = rng.random((length + 1, 3))
            episode["actions"] = rng.random((length, 2))
            episode["rewards"] = rng.random(length)
            episode.attrs["seed"] = number


def _rows_of_minari() -> Iterator[Row]:
    with h5py.File("main_data.hdf5") as file:
        for number in range(3):
            episode = file[f"episode_{number}"]
            for at in range(len(episode["actions"])):
                yield {
                    "obs": episode["observations"][at : at + 1],
                    "next_obs": episode["observations"][at + 1 : at + 2],
                    "action": episode["actions"][at : at + 1],
                    "reward": episode["rewards"][at : at + 1],
                    "seed": episode.attrs["seed"],
                }


def _d4rl(rng: np.random.Generator) -> None:
    with h5py.File("hopper.hdf5", "w") as file:
        file["observations"], file["actions"] = rng.random((40, 3)), rng.random((40, 1))
        file["terminals"] = np.isin(np.arange(40), [9, 17])
        file["timeouts"] = np.isin(np.arange(40), [29])


def _rows_of_d4rl() -> Iterator[Row]:
    with h5py.File("hopper.hdf5") as file:
        start = 0
        for at in range(40):
            if file["terminals"][at] or file["timeouts"][at] or at == 39:
                for first in range(start, at + 1 - 4 + 1):
                    yield {
                        "obs": file["observations"][first : first + 4],
                        "actions": file["actions"][first : first + 4],
                    }
                start = at + 1


def _worldmodel(rng: np.random.Generator) -> None:
    lengths = np.array([5, 2, 6])
    with h5py.File("pusht.h5", "w") as file:
        pixels = rng.integers(0, 255, (13, 4, 4, 3), np.uint8)
        file.create_dataset("pixels", data=pixels, chunks=(1, 4, 4, 3))
        file["action"] = rng.random((13, 2)).astype("f4")
        file["ep_len"], file["ep_offset"] = lengths, np.cumsum(lengths) - lengths


def _rows_of_worldmodel() -> Iterator[Row]:
    with h5py.File("pusht.h5") as file:
        for begin, size in zip(file["ep_offset"][()], file["ep_len"][()], strict=True):
            for at in range(begin, begin + size - 5 + 1, 1):
                yield {
                    "pixels": file["pixels"][at : at + 5 : 2],
                    "action": file["action"][at : at + 5],
                }


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


def _ml4gw(rng: np.random.Generator) -> None:
    for number, size in enumerate((50, 37)):
        with h5py.File(f"background-{number}.hdf5", "w") as file:
            file["H1"], file["L1"] = rng.normal(size=size), rng.normal(size=size)


def _rows_of_ml4gw() -> Iterator[Row]:
    for number in range(2):
        with h5py.File(f"background-{number}.hdf5") as file:
            for at in range(0, len(file["H1"]) - 16 + 1, 4):
                yield {"H1": file["H1"][at : at + 16], "L1": file["L1"][at : at + 16]}


def _labram(rng: np.random.Generator) -> None:
    with h5py.File("dataset.hdf5", "w") as file:
        for number, size in enumerate((45, 30, 12)):
            eeg = file.create_dataset(
                f"subject_{number}/eeg", data=rng.normal(size=(5, size)), chunks=(5, 10)
            )
            eeg.attrs["rsFreq"] = 200


def _rows_of_labram() -> Iterator[Row]:
    with h5py.File("dataset.hdf5") as file:
        for number in range(3):
            eeg = file[f"subject_{number}/eeg"]
            for at in range(0, eeg.shape[1] - 20 + 1, 10):
                yield {
                    "eeg": eeg[:, at : at + 20].T,
                    "subject": f"subject_{number}",
                    "rate": eeg.attrs["rsFreq"],
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


def _pcam(rng: np.random.Generator) -> None:
    with h5py.File("camelyonpatch_level_2_split_valid_x.h5", "w") as file:
        data = rng.integers(0, 255, (20, 6, 6, 3), np.uint8)
        file.create_dataset("x", data=data, chunks=(3, 6, 6, 3), compression="gzip")
    with h5py.File("camelyonpatch_level_2_split_valid_y.h5", "w") as file:
        file["y"] = rng.integers(0, 2, (20, 1, 1, 1), np.uint8)


def _rows_of_pcam() -> Iterator[Row]:
    name = "camelyonpatch_level_2_split_valid"
    with h5py.File(f"{name}_x.h5") as x, h5py.File(f"{name}_y.h5") as y:
        for at in range(20):
            yield {"x": x["x"][at], "y": y["y"][at]}


def _panns(rng: np.random.Generator) -> None:
    with h5py.File("balanced_train.h5", "w") as file:
        file["audio_name"] = np.array([f"Y{n}.wav" for n in range(12)], "S20")
        file["waveform"] = rng.integers(-9999, 9999, (12, 50)).astype("i2")
        file["target"] = rng.random((12, 7)) < 0.2


def _rows_of_panns() -> Iterator[Row]:
    with h5py.File("balanced_train.h5") as file:
        for at in range(12):
            yield {
                "waveform": file["waveform"][at].astype("f4"),
                "target": file["target"][at],
                "audio_name": file["audio_name"][at],
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


def _zea(rng: np.random.Generator) -> None:
    with h5py.File("carotid.hdf5", "w") as file:
        data = rng.integers(-99, 99, (9, 3, 8, 4, 1)).astype("i2")
        file.create_dataset("data/raw_data", data=data, chunks=(1, 3, 8, 4, 1), compression="lzf")
        file["scan/probe_geometry"] = rng.random((4, 3))
        file["scan/sound_speed"] = 1540.0


def _rows_of_zea() -> Iterator[Row]:
    with h5py.File("carotid.hdf5") as file:
        for at in range(0, 9 - 3 + 1, 2):
            yield {
                "frames": file["data/raw_data"][at : at + 3][:, [0, 2]],
                "geometry": file["scan/probe_geometry"][()],
                "speed": file["scan/sound_speed"][()],
            }


def _ban(rng: np.random.Generator) -> None:
    counts = np.array([3, 0, 5, 2])
    ends = np.cumsum(counts)
    with h5py.File("train.hdf5", "w") as file:
        file.create_dataset("image_features", data=rng.random((10, 6)), chunks=(4, 6))
        file["image_bb"] = rng.random((10, 4))
        file["pos_boxes"] = np.stack([ends - counts, ends], 1)


def _rows_of_ban() -> Iterator[Row]:
    with h5py.File("train.hdf5") as file:
        for start, stop in file["pos_boxes"]:
            yield {
                "features": file["image_features"][start:stop],
                "boxes": file["image_bb"][start:stop],
            }


def _captioning(rng: np.random.Generator) -> None:
    counts = np.array([5, 5, 6, 5])
    with h5py.File("cocotalk.h5", "w") as file:
        file["images"] = rng.integers(0, 255, (4, 3, 5, 5), np.uint8)
        file["labels"] = rng.integers(0, 99, (21, 16)).astype("u4")
        file["label_length"] = rng.integers(1, 16, 21).astype("u4")
        file["label_start_ix"] = (np.cumsum(counts) - counts + 1).astype("u4")
        file["label_end_ix"] = np.cumsum(counts).astype("u4")


def _rows_of_captioning() -> Iterator[Row]:
    with h5py.File("cocotalk.h5") as file:
        for at in range(4):
            first, last = int(file["label_start_ix"][at]) - 1, int(file["label_end_ix"][at])
            yield {"image": file["images"][at], "captions": file["labels"][first:last]}


def _unet(rng: np.random.Generator) -> None:
    for number, size in enumerate([(6, 9, 8), (8, 8, 10)]):
        with h5py.File(f"sample_{number}.h5", "w") as file:
            file.create_dataset("raw", data=rng.random(size).astype("f4"), chunks=(2, 3, 4))
            file["label"] = rng.integers(0, 3, size)


def _rows_of_unet() -> Iterator[Row]:
    for number in range(2):
        with h5py.File(f"sample_{number}.h5") as file:
            starts = []
            for size in file["raw"].shape:
                starts.append(list(range(0, size - 4 + 1, 3)))
                if starts[-1][-1] + 4 < size:
                    starts[-1].append(size - 4)
            for z in starts[0]:
                for y in starts[1]:
                    for x in starts[2]:
                        box = np.s_[z : z + 4, y : y + 4, x : x + 4]
                        yield {"raw": file["raw"][box], "label": file["label"][box]}


CASES = [
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
        "fastMRI",
        "a volume a file: `kspace` (slice, y, x), `mask`, an XML header, attributes of the file",
        """"multicoil/*.h5", {
    "kspace": "kspace",
    "mask": h5s.Constant("mask"),
    "max": h5s.Constant("/", "max"),
    "acquisition": h5s.Constant("/", "acquisition"),
    "header": h5s.Constant("ismrmrd_header"),
    "file": h5s.Origin("name"),
    "slice": h5s.Origin("row"),
}""",
        _fastmri,
        _rows_of_fastmri,
    ),
    Case(
        "CLAM",
        "a slide a file: `features` (patch, d), `coords`; labels in a CSV file",
        """"slide_*.h5", {
    "bag": h5s.Whole("features"),
    "coords": h5s.Whole("coords"),
    "label": h5s.Table("labels.csv", "label", key="slide_id", by=h5s.Origin("stem")),
}""",
        _clam,
        _rows_of_clam,
    ),
    Case(
        "robomimic, LIBERO",
        "`data/demo_i/{actions, obs/*}`; frames stacked from the start, actions to the end",
        """"low_dim.hdf5", {
    "pos": h5s.Slices(h5s.Grouped("data/demo_*/obs/eef_pos"), 2, shift=-1, before=1,
                      padding="edge"),
    "image": h5s.Slices(h5s.Grouped("data/demo_*/obs/image"), 2, shift=-1, before=1,
                        padding="edge"),
    "actions": h5s.Slices(h5s.Grouped("data/demo_*/actions"), 4, after=3, padding="edge"),
    "env": h5s.Constant("data", "env_args"),
}""",
        _robomimic,
        _rows_of_robomimic,
    ),
    Case(
        "ACT, ALOHA",
        "an episode a file: `action`, `observations/qpos`, `observations/images/top` (time, …)",
        """"episode_*.hdf5", {
    "qpos": "observations/qpos",
    "image": "observations/images/top",
    "action": h5s.Slices("action", 5, after=4),
    "is_real": h5s.Mask(h5s.Slices("action", 5, after=4)),
}""",
        _act,
        _rows_of_act,
    ),
    Case(
        "Minari",
        "`episode_i/{observations, actions, rewards}`, one observation more than actions",
        """"main_data.hdf5", {
    "obs": h5s.Slices(h5s.Grouped("episode_*/observations", elements=np.s_[:-1]), 1),
    "next_obs": h5s.Slices(h5s.Grouped("episode_*/observations", elements=np.s_[1:]), 1),
    "action": h5s.Slices(h5s.Grouped("episode_*/actions"), 1),
    "reward": h5s.Slices(h5s.Grouped("episode_*/rewards"), 1),
    "seed": h5s.Grouped("episode_*", attribute="seed"),
}""",
        _minari,
        _rows_of_minari,
    ),
    Case(
        "D4RL",
        "flat arrays, `terminals` and `timeouts` at the end of each episode",
        """"hopper.hdf5", {
    "obs": h5s.Slices(h5s.Ragged("observations", ends=("terminals", "timeouts")), 4),
    "actions": h5s.Slices(h5s.Ragged("actions", ends=("terminals", "timeouts")), 4),
}""",
        _d4rl,
        _rows_of_d4rl,
    ),
    Case(
        "stable-worldmodel",
        "columns (step, …), `ep_len` and `ep_offset`",
        """"pusht.h5", {
    "pixels": h5s.Slices(h5s.Ragged("pixels", lengths="ep_len"), 3, step=2),
    "action": h5s.Slices(h5s.Ragged("action", lengths="ep_len"), 5),
}""",
        _worldmodel,
        _rows_of_worldmodel,
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
        "ml4gw",
        "a segment a file: `H1`, `L1` (time,)",
        """"background-*.hdf5", {
    "H1": h5s.Slices("H1", 16, stride=4),
    "L1": h5s.Slices("L1", 16, stride=4),
}""",
        _ml4gw,
        _rows_of_ml4gw,
    ),
    Case(
        "LaBraM, TUH EEG",
        "`subject/eeg` (channel, time) with attributes",
        """"dataset.hdf5", {
    "eeg": h5s.Slices(h5s.Grouped("*/eeg", axis=1), 20, stride=10),
    "subject": h5s.Origin("group"),
    "rate": h5s.Grouped("*/eeg", attribute="rsFreq"),
}""",
        _labram,
        _rows_of_labram,
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
        "PCam",
        "`x` in one file, `y` in another",
        """{
    "x": "camelyonpatch_level_2_split_valid_x.h5",
    "y": "camelyonpatch_level_2_split_valid_y.h5",
}""",
        _pcam,
        _rows_of_pcam,
    ),
    Case(
        "PANNs",
        "`waveform` (N, samples) int16, `target`, `audio_name`",
        """"balanced_train.h5", {
    "waveform": h5s.Dense("waveform", dtype="f4"),
    "target": "target",
    "audio_name": "audio_name",
}""",
        _panns,
        _rows_of_panns,
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
        "PyTorch-BigGraph",
        "a bucket of edges a file: `rel`, `lhs`, `rhs`",
        """"edges_*.h5", {
    "rel": "rel", "lhs": "lhs", "rhs": "rhs", "bucket": h5s.Origin("stem"),
}""",
        _biggraph,
        _rows_of_biggraph,
    ),
    Case(
        "zea",
        "`data/raw_data` (frame, transmit, axial, element, channel), `scan/*` of the file",
        """"carotid.hdf5", {
    "frames": h5s.Slices(h5s.Dense("data/raw_data", inner=[0, 2]), 3, stride=2),
    "geometry": h5s.Constant("scan/probe_geometry"),
    "speed": h5s.Constant("scan/sound_speed"),
}""",
        _zea,
        _rows_of_zea,
    ),
    Case(
        "BAN, bottom-up attention VQA",
        "`image_features`, `image_bb` (boxes of all images, …), `pos_boxes` (image, 2)",
        """"train.hdf5", {
    "features": h5s.Slices("image_features", starts="pos_boxes"),
    "boxes": h5s.Slices("image_bb", starts="pos_boxes"),
}""",
        _ban,
        _rows_of_ban,
    ),
    Case(
        "ImageCaptioning.pytorch",
        "`images`, `labels` of all images, `label_start_ix` and `label_end_ix`, counted from 1",
        """"cocotalk.h5", {
    "image": "images",
    "captions": h5s.Slices("labels", starts="label_start_ix", stops="label_end_ix",
                           counts_from=1, inclusive=True),
}""",
        _captioning,
        _rows_of_captioning,
    ),
    Case(
        "pytorch-3dunet",
        "a volume a file: `raw`, `label` (z, y, x), which differ in size",
        """"sample_*.h5", {
    "raw": h5s.Patches("raw", (4, 4, 4), stride=(3, 3, 3), cover=True),
    "label": h5s.Patches("label", (4, 4, 4), stride=(3, 3, 3), cover=True),
}""",
        _unet,
        _rows_of_unet,
    ),
]
