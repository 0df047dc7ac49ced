"""Images, volumes and slides."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from tests.layouts.case import Case, Row

__all__ = ["IMAGES"]


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


def _eiger(rng: np.random.Generator) -> None:
    frames = h5py.VirtualLayout((8, 6, 5), "u4")
    for number in range(2):
        name = f"lyso_data_{number:06}.h5"
        with h5py.File(name, "w") as file:
            data = rng.integers(0, 99, (4, 6, 5)).astype("u4")
            file.create_dataset("entry/data/data", data=data, chunks=(1, 6, 5), compression="gzip")
        source = h5py.VirtualSource(name, "entry/data/data", (4, 6, 5))
        frames[4 * number : 4 * number + 4] = source
    with h5py.File("lyso_master.h5", "w") as file:
        file.create_virtual_dataset("entry/data/data", frames)
        file["entry/instrument/beam/incident_wavelength"] = 0.98
        file["entry/sample/goniometer/omega"] = np.arange(8) * 0.1


def _rows_of_eiger() -> Iterator[Row]:
    with h5py.File("lyso_master.h5") as master:
        for at in range(8):
            with h5py.File(f"lyso_data_{at // 4:06}.h5") as file:
                yield {
                    "image": file["entry/data/data"][at % 4],
                    "omega": master["entry/sample/goniometer/omega"][at],
                    "wavelength": master["entry/instrument/beam/incident_wavelength"][()],
                }


def _ssl4mis(rng: np.random.Generator) -> None:
    Path("slices").mkdir()
    for number, size in enumerate([(4, 5), (6, 3), (4, 4)]):
        with h5py.File(f"slices/patient00{number}_frame01_slice_1.h5", "w") as file:
            file["image"], file["label"] = rng.random(size), rng.integers(0, 4, size, np.uint8)
    Path("train_slices.list").write_text("patient002_frame01_slice_1\npatient000_frame01_slice_1\n")


def _rows_of_ssl4mis() -> Iterator[Row]:
    for name in Path("train_slices.list").read_text().split():
        with h5py.File(f"slices/{name}.h5") as file:
            yield {
                "image": file["image"][()].reshape(-1),
                "label": file["label"][()].reshape(-1),
                "shape": np.array(file["image"].shape),
            }


def _captions(rng: np.random.Generator) -> None:
    with h5py.File("TRAIN_IMAGES_coco.hdf5", "w") as file:
        file["images"] = rng.integers(0, 255, (3, 3, 5, 5), np.uint8)
        file.attrs["captions_per_image"] = 2
    captions = rng.integers(0, 99, (6, 4)).tolist()
    Path("TRAIN_CAPTIONS_coco.json").write_text(json.dumps(captions))


def _rows_of_captions() -> Iterator[Row]:
    captions = json.loads(Path("TRAIN_CAPTIONS_coco.json").read_text())
    with h5py.File("TRAIN_IMAGES_coco.hdf5") as file:
        for at, caption in enumerate(captions):
            yield {"image": file["images"][at // 2], "caption": np.array(caption)}


def _fastmri_plus(rng: np.random.Generator) -> None:
    for number, slices in enumerate((3, 4)):
        with h5py.File(f"file100000{number}.h5", "w") as file:
            file["reconstruction_rss"] = rng.random((slices, 4, 4)).astype("f4")
    Path("knee.csv").write_text(
        "file,slice,study_level,x,y,width,height,label\n"
        "file1000001,3,,1,1,2,2,Meniscus Tear\n"
        "file1000000,1,,0,2,3,1,Meniscus Tear\n"
        "file1000001,3,,0,0,1,4,Cyst\n"
    )


def _rows_of_fastmri_plus() -> Iterator[Row]:
    lines = list(csv.DictReader(Path("knee.csv").read_text().splitlines()))
    for number in range(2):
        with h5py.File(f"file100000{number}.h5") as file:
            for at in range(len(file["reconstruction_rss"])):
                boxes = [
                    [int(line[name]) for name in ("x", "y", "width", "height")]
                    for line in lines
                    if line["file"] == f"file100000{number}" and int(line["slice"]) == at
                ]
                yield {
                    "image": file["reconstruction_rss"][at],
                    "boxes": np.array(boxes).reshape(-1, 4),
                }


IMAGES = [
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
        "pytorch-3dunet",
        "a volume a file: `raw`, `label` (z, y, x), which differ in size",
        """"sample_*.h5", {
    "raw": h5s.Patches("raw", (4, 4, 4), stride=(3, 3, 3), cover=True),
    "label": h5s.Patches("label", (4, 4, 4), stride=(3, 3, 3), cover=True),
}""",
        _unet,
        _rows_of_unet,
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
        "EIGER detectors, NeXus",
        "a master file whose `entry/data/data` is virtual: frames lie in files of their own",
        """"lyso_master.h5", {
    "image": "entry/data/data",
    "omega": "entry/sample/goniometer/omega",
    "wavelength": h5s.Constant("entry/instrument/beam/incident_wavelength"),
}""",
        _eiger,
        _rows_of_eiger,
    ),
    Case(
        "SSL4MIS, TransUNet",
        "a slice a file, which differ in size: `image`, `label` (y, x); a text file lists them",
        """[f"slices/{name}.h5" for name in Path("train_slices.list").read_text().split()], {
    "image": h5s.Whole("image", flat=True),
    "label": h5s.Whole("label", flat=True),
    "shape": h5s.Shape("image"),
}""",
        _ssl4mis,
        _rows_of_ssl4mis,
    ),
    Case(
        "a-PyTorch-Tutorial-to-Image-Captioning",
        "`images` once, several captions of each in a JSON file: a sample a caption",
        """"TRAIN_IMAGES_coco.hdf5", {
    "image": h5s.Picked("images", at=np.arange(len(captions)) // 2),
    "caption": h5s.Given(captions),
}""",
        _captions,
        _rows_of_captions,
        before="""captions = json.loads(Path("TRAIN_CAPTIONS_coco.json").read_text())
""",
    ),
    Case(
        "fastMRI+ annotations",
        "boxes of slices in a CSV file, some slices have several, most none",
        """"file*.h5", {
    "image": "reconstruction_rss",
    "boxes": h5s.Table("knee.csv", ("x", "y", "width", "height"), key=("file", "slice"),
                       by=(h5s.Origin("stem"), h5s.Origin("row")), several=True),
}""",
        _fastmri_plus,
        _rows_of_fastmri_plus,
    ),
]
