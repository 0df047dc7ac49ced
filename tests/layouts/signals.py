"""Signals, recordings and speech."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from tests.layouts.case import Case, Row

__all__ = ["SIGNALS"]


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


def _espnet(rng: np.random.Generator) -> None:
    with h5py.File("feats.h5", "w") as file:
        for name, frames in {"utt_b": 4, "utt_a": 7, "utt_c": 1}.items():
            file.create_dataset(name, data=rng.random((frames, 5)).astype("f4"), compression="gzip")
    Path("text").write_text("utt_a HELLO WORLD\nutt_b YES\nutt_c NO NO\n")


def _rows_of_espnet() -> Iterator[Row]:
    texts = dict(line.split(" ", 1) for line in Path("text").read_text().splitlines())
    with h5py.File("feats.h5") as file:
        for name in ("utt_a", "utt_b", "utt_c"):
            yield {"feats": file[name][()], "text": texts[name]}


def _returnn(rng: np.random.Generator) -> None:
    lengths = np.array([[5, 2], [3, 3], [4, 1]], "i4")
    frames, classes = lengths.sum(0)
    with h5py.File("train.hdf5", "w") as file:
        file.create_dataset("inputs", data=rng.random((frames, 4)).astype("f4"), chunks=(5, 4))
        file["seqLengths"] = lengths
        file["seqTags"] = np.array([b"utt-0", b"utt-1", b"utt-2"])
        file["targets/data/classes"] = rng.integers(0, 9, classes).astype("i4")
        file.attrs["inputPattSize"], file.attrs["numLabels"] = 4, 9


def _rows_of_returnn() -> Iterator[Row]:
    with h5py.File("train.hdf5") as file:
        frame = label = 0
        for (frames, labels), tag in zip(file["seqLengths"], file["seqTags"], strict=True):
            yield {
                "data": file["inputs"][frame : frame + frames],
                "classes": file["targets/data/classes"][label : label + labels],
                "tag": tag.decode(),
            }
            frame, label = frame + frames, label + labels


def _seisbench(rng: np.random.Generator) -> None:
    lines = ["trace_name,trace_p_arrival_sample,source_magnitude"]
    with h5py.File("waveforms.hdf5", "w") as file:
        for bucket, (traces, samples) in enumerate([(3, 20), (4, 30)]):
            data = rng.random((traces, 3, samples)).astype("f4")
            file.create_dataset(f"data/bucket{bucket}", data=data, chunks=(2, 3, samples))
            for at in range(traces):
                name = f'"bucket{bucket}${at},:3,:{samples}"'
                lines.insert(1, f"{name},{rng.integers(5, 15)},{rng.random():.2f}")
        file["data_format/component_order"] = "ZNE"
    Path("metadata.csv").write_text("\n".join(lines))


def _rows_of_seisbench() -> Iterator[Row]:
    with h5py.File("waveforms.hdf5") as file:
        for line in csv.DictReader(Path("metadata.csv").read_text().splitlines()):
            bucket, rest = line["trace_name"].split("$")
            waveforms = file[f"data/{bucket}"]
            yield {
                "waveform": waveforms[int(rest.split(",")[0])].reshape(-1),
                "shape": np.array(waveforms.shape),
                "p_arrival": int(line["trace_p_arrival_sample"]),
            }


def _torch_brain(rng: np.random.Generator) -> None:
    for session in range(2):
        with h5py.File(f"session_{session}.h5", "w") as file:
            spikes = file.create_group("spikes")
            spikes["timestamps"] = np.sort(rng.random(60) * 12)
            spikes["unit_index"] = rng.integers(0, 5, 60)
            spikes.attrs["object"] = "IrregularTimeSeries"
            trials = file.create_group("trials")
            trials["start"], trials["target_id"] = np.arange(5) * 2.0, rng.integers(0, 8, 5)
            trials["end"] = trials["start"][()] + rng.random(5) * 3
            trials.attrs["object"] = "Interval"


def _rows_of_torch_brain() -> Iterator[Row]:
    for session in range(2):
        with h5py.File(f"session_{session}.h5") as file:
            spikes, trials = file["spikes"], file["trials"]
            for number in range(5):
                start, end = trials["start"][number], trials["end"][number]
                inside = [at for at, t in enumerate(spikes["timestamps"]) if start <= t < end]
                yield {
                    "time": spikes["timestamps"][inside],
                    "unit": spikes["unit_index"][inside],
                    "start": start,
                    "target": trials["target_id"][number],
                }


SIGNALS = [
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
        "ESPnet, Kaldi",
        "a dataset an utterance, (frame, feature); transcripts in a text file",
        """"feats.h5", {
    "feats": h5s.Grouped("*"),
    "text": h5s.Table(texts, by=h5s.Origin("group")),
}""",
        _espnet,
        _rows_of_espnet,
        before="""lines = Path("text").read_text().splitlines()
texts = dict(line.split(" ", 1) for line in lines)
""",
    ),
    Case(
        "RETURNN",
        "`inputs` (frame, feature) of all sequences, `seqLengths` (sequence, 2), `targets/data/*`",
        """"train.hdf5", {
    "data": h5s.Ragged("inputs", lengths=h5s.Dense("seqLengths", inner=0)),
    "classes": h5s.Ragged("targets/data/classes", lengths=h5s.Dense("seqLengths", inner=1)),
    "tag": "seqTags",
}""",
        _returnn,
        _rows_of_returnn,
    ),
    Case(
        "SeisBench",
        "`data/bucketN` (trace, channel, sample); `metadata.csv` names a place in a bucket a line",
        """"waveforms.hdf5", {
    "waveform": h5s.Concat(h5s.Grouped("data/bucket*", flat=True)),
    "shape": h5s.Shape("data/bucket*"),
    "p_arrival": h5s.Table("metadata.csv", "trace_p_arrival_sample", **trace),
}, subset=h5s.Listed("metadata.csv", **trace)""",
        _seisbench,
        _rows_of_seisbench,
        before=r"""trace = {"key": "trace_name", "pattern": r"(bucket\d+)\$(\d+)",
         "by": (h5s.Origin("group"), h5s.Origin("within"))}
""",
    ),
    Case(
        "torch_brain, spikes",
        "`spikes/{timestamps, unit_index}` sorted by time, `trials/{start, end}` in seconds",
        """"session_*.h5", {
    "time": h5s.TimeSlices("spikes/timestamps", **trial),
    "unit": h5s.TimeSlices("spikes/unit_index", **trial),
    "start": "trials/start",
    "target": "trials/target_id",
}""",
        _torch_brain,
        _rows_of_torch_brain,
        before="""trial = {
    "time": "spikes/timestamps", "starts": "trials/start", "stops": "trials/end",
}
""",
    ),
]
