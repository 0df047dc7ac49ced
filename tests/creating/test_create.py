from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
import wave
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

import h5stream as h5s


def write_images(folder: Path, count: int = 12) -> dict[Path, np.ndarray]:
    rng = np.random.default_rng(0)
    images = {}
    for number in range(count):
        path = folder / ("cat" if number % 3 else "dog") / f"{number}.png"
        path.parent.mkdir(exist_ok=True, parents=True)
        images[path] = rng.integers(0, 256, (6, 5, 3), np.uint8)
        path.write_bytes(imagecodecs.png_encode(images[path]))
    return images


def test_images_in_folders_become_a_file_that_trains(tmp_path: Path) -> None:
    images = write_images(tmp_path / "train")
    sources = h5s.find_sources(tmp_path / "train", "*.png|*.jpg")
    label = h5s.class_of_folder(sources)
    out = tmp_path / "train.h5"
    told: list[tuple[int, int, int]] = []
    done = h5s.create(
        out,
        sources,
        lambda path: h5s.load_image(path) | label(path),
        progress=lambda *numbers: told.append(numbers),
    )
    assert (done.n_rows, done.n_sources, done.failures) == (12, 12, ())
    assert told[-1] == (12, 12, 0)
    fields = ["image", "label", "class", "source/ids"]
    batch = next(iter(h5s.H5Stream(out, fields, batch_size=12)))
    for row, name in enumerate(batch["source/ids"]):
        np.testing.assert_array_equal(batch["image"][row], images[Path(name)])
        assert batch["class"][row] == Path(name).parent.name == ["cat", "dog"][batch["label"][row]]
    assert [int(Path(name).stem) for name in batch["source/ids"]][:5] == [1, 2, 4, 5, 7]
    assert list(h5s.H5Stream(out).catalog.columns) == ["image", "label", "class"]
    wanted = h5s.Listed([str(sources[7]), str(sources[2])], by="source/ids")
    some = next(iter(h5s.H5Stream(out, ["image"], subset=wanted, batch_size=2)))
    np.testing.assert_array_equal(some["image"][0], images[sources[7]])
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["train.h5"]


def test_encoded_images_stay_encoded(tmp_path: Path) -> None:
    images = write_images(tmp_path / "train", 5)
    done = h5s.create(tmp_path / "out.h5", tmp_path / "train", h5s.load_encoded)
    stream = h5s.H5Stream(done.path, batch_size=None, output="numpy")
    decoded = [h5s.decode_image(sample["image"]) for sample in stream]
    for found, path in zip(decoded, h5s.find_sources(tmp_path / "train"), strict=True):
        np.testing.assert_array_equal(found, images[path])
    with pytest.raises(h5s.DecodeError, match="x: cannot be decoded as an image"):
        h5s.decode_image(b"no image", "x")


def load_several(number: int) -> list[dict[str, Any]] | None:
    if number == 3:
        return None
    return [{"n": number, "part": part} for part in range(number % 4)]


@pytest.mark.parametrize("options", [{}, {"workers": 1}, {"workers": 2, "processes": True}])
def test_sources_give_any_number_of_samples_in_order(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    done = h5s.create(tmp_path / "out.h5", range(30), load_several, **options)
    expected = [(n, part) for n in range(30) if n != 3 for part in range(n % 4)]
    rows = h5s.H5Stream(done.path, batch_size=1000, output="numpy")
    (batch,) = rows
    assert list(zip(batch["n"].tolist(), batch["part"].tolist(), strict=True)) == expected
    assert done.n_rows == len(expected)


def test_no_more_sources_are_loaded_ahead_than_a_few(tmp_path: Path) -> None:
    begun, lock = [0], threading.Lock()

    def load(number: int) -> dict[str, Any]:
        with lock:
            begun[0] += 1
        return {"n": number, "ahead": begun[0] - number}

    done = h5s.create(tmp_path / "out.h5", range(300), load, workers=2)
    assert h5s.read(done.path, "ahead").max() <= 2 * 4 + 2


def fail_on(bad: dict[int, Any]) -> Any:
    def load(number: int) -> Any:
        if number in bad and isinstance(bad[number], Exception):
            raise bad[number]
        return bad.get(number, {"n": number})

    return load


BAD = {
    4: ValueError("cannot be read"),
    9: {"n": "text"},
    11: [{"n": 11}, {"n": 0.5}],
    13: {"m": 13},
    15: [1],
}


def test_failures_are_left_out_as_a_whole_or_told(tmp_path: Path) -> None:
    columns = {"n": h5s.DenseColumn((), "i8")}
    done = h5s.create(
        tmp_path / "out.h5", range(20), fail_on(BAD), columns, on_error="collect", workers=2
    )
    assert h5s.read(done.path, "n").tolist() == [n for n in range(20) if n not in BAD]
    assert [source for source, _why in done.failures] == ["4", "9", "11", "13", "15"]
    assert "cannot be read" in done.failures[0][1]
    assert "lacks ['n']" in done.failures[3][1]
    skipped = h5s.create(tmp_path / "b.h5", range(20), fail_on(BAD), columns, on_error="skip")
    assert (skipped.n_rows, skipped.failures) == (15, ())


def test_a_run_that_failed_goes_on_when_it_is_mended(tmp_path: Path) -> None:
    path, loaded = tmp_path / "out.h5", []
    with pytest.raises(h5s.WriteError, match=r"source '4': cannot be read.*run again") as caught:
        h5s.create(path, range(20), fail_on(BAD), workers=1)
    assert isinstance(caught.value.__cause__, ValueError)
    assert not path.exists()

    def load(number: int) -> dict[str, Any]:
        loaded.append(number)
        return {"n": number}

    assert h5s.create(path, range(20), load).n_rows == 20
    assert min(loaded) == 4
    assert h5s.read(path, "n").tolist() == list(range(20))
    with pytest.raises(h5s.ConfigError, match="overwrite=True"):
        h5s.create(path, range(20), load)
    assert h5s.create(path, range(5), load, overwrite=True).n_rows == 5


CREATE = """
import sys, time
import h5stream as h5s
h5s.create
sys.modules["h5stream.creating.create"]._FLUSH_ROWS = 50
def load(number):
    time.sleep(0.0005)
    return [{"n": number, "tokens": list(range(number % 5))}] * (1 + number % 2)
def tell(done, of, failed):
    print(done, flush=True)
h5s.create(sys.argv[1], range(2000), load, progress=tell)
"""


def test_a_run_that_was_killed_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    command = [sys.executable, "-c", CREATE, str(path)]
    generator, begun = random.Random(0), []
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            begun.append(int(process.stdout.readline()))
            time.sleep(generator.uniform(0.1, 0.4))
            process.send_signal(signal.SIGKILL)
    subprocess.run(command, check=True, capture_output=True)
    assert begun == sorted(begun)
    assert begun[-1] > 1
    expected = [number for number in range(2000) for _ in range(1 + number % 2)]
    assert h5s.read(path, "n").tolist() == expected
    with h5py.File(path) as file:
        assert not [name for name in file.attrs if "sources" in name]


def test_sources_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    for sources, message in (
        ([], "there are no sources"),
        (tmp_path / "none*.png", "there are no sources"),
        (5, "must be a path, a pattern or a list"),
        (["a", "b", "a"], "source 'a' is listed twice"),
    ):
        with pytest.raises(h5s.ConfigError, match=message):
            h5s.create(out, sources, h5s.load_image)
    with pytest.raises(h5s.ConfigError, match="on_error must be"):
        h5s.create(out, ["a"], h5s.load_image, on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(h5s.ConfigError, match="no argument 'mode'"):
        h5s.create(out, ["a"], h5s.load_image, mode="new")
    with pytest.raises(h5s.WriteError, match="none of 2 sources gave a sample"):
        h5s.create(out, [1, 2], lambda _source: None)
    with pytest.raises(h5s.WriteError, match=r"source '.*gone.png': .*No such file"):
        h5s.create(out, [tmp_path / "gone.png"], h5s.load_image)
    assert not out.exists()


def test_ready_loaders_load_what_others_wrote(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.ones(4, "f4")}
    np.savez(tmp_path / "x.npz", **arrays)
    np.save(tmp_path / "x.npy", arrays["a"])
    for name, array in h5s.load_numpy(tmp_path / "x.npz").items():
        np.testing.assert_array_equal(array, arrays[name])
    np.testing.assert_array_equal(h5s.load_numpy(tmp_path / "x.npy")["data"], arrays["a"])
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(h5s.DecodeError, match="cannot be read as arrays"):
        h5s.load_numpy(tmp_path / "o.npy")

    sound = np.random.default_rng(0).integers(-9999, 9999, (50, 2), "<i2")
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(sound.tobytes())
    found = h5s.load_audio(tmp_path / "x.wav")
    assert found["rate"] == 8000
    np.testing.assert_array_equal(found["audio"], sound)

    (tmp_path / "x.txt").write_text("eins\nzwei\n\ndrei")
    assert [row["text"] for row in h5s.load_lines(tmp_path / "x.txt")] == [
        "eins",
        "zwei",
        "",
        "drei",
    ]
    (tmp_path / "bad.txt").write_bytes(b"\xff")
    with pytest.raises(h5s.DecodeError, match="is not UTF-8"):
        list(h5s.load_lines(tmp_path / "bad.txt"))

    (tmp_path / "x.csv").write_text('n,f,t\n1,0.5,"a, b"\n2,3,c\n')
    rows = [{"n": 1, "f": 0.5, "t": "a, b"}, {"n": 2, "f": 3.0, "t": "c"}]
    assert list(h5s.load_csv(tmp_path / "x.csv")) == rows
    (tmp_path / "bad.csv").write_text("a,b\n1\n")
    with pytest.raises(h5s.DecodeError, match="line 2 has 1 values, not 2"):
        list(h5s.load_csv(tmp_path / "bad.csv"))

    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "x.parquet")
    assert list(h5s.load_parquet(tmp_path / "x.parquet")) == rows
    with pytest.raises(h5s.DecodeError, match="cannot be read as parquet"):
        list(h5s.load_parquet(tmp_path / "x.csv"))
    done = h5s.create(tmp_path / "rows.h5", [tmp_path / "x.csv"], h5s.load_csv)
    assert h5s.read(done.path, "f").tolist() == [0.5, 3.0]
