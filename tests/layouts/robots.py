"""Episodes of robots and games."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from tests.layouts.case import Case, Row

__all__ = ["ROBOTS"]


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


def _libero(rng: np.random.Generator) -> None:
    with h5py.File("pick_up_the_bowl_demo.hdf5", "w") as file:
        for number, length in enumerate((6, 3, 8, 5)):
            demo = file.create_group(f"data/demo_{number}")
            demo["actions"] = rng.random((length, 7))
            demo["obs/agentview_rgb"] = rng.integers(0, 255, (length, 4, 4, 3), np.uint8)
            demo["obs/ee_states"] = rng.random((length, 6))
            demo.attrs["num_samples"] = length
        file["data"].attrs["problem_info"] = '{"language_instruction": "pick up the bowl"}'
        file["mask/train"] = np.array([b"demo_3", b"demo_0"])


def _rows_of_libero() -> Iterator[Row]:
    with h5py.File("pick_up_the_bowl_demo.hdf5") as file:
        for number in range(4):
            demo = file[f"data/demo_{number}"]
            if f"demo_{number}".encode() not in file["mask/train"][()]:
                continue
            for at in range(len(demo["actions"]) - 3 + 1):
                yield {
                    "rgb": demo["obs/agentview_rgb"][at : at + 3],
                    "actions": demo["actions"][at : at + 3],
                    "demo": f"demo_{number}",
                    "task": file["data"].attrs["problem_info"],
                }


def _act_jpeg(rng: np.random.Generator) -> None:
    for number, width in enumerate((20, 30, 25)):
        with h5py.File(f"episode_{number}.hdf5", "w") as file:
            lengths = rng.integers(3, width + 1, (1, 5))
            images = rng.integers(1, 255, (5, width), np.uint8)
            images[np.arange(width) >= lengths[0][:, None]] = 0
            file["action"] = rng.random((5, 2)).astype("f4")
            file["observations/images/cam_high"] = images
            file["compress_len"] = lengths.astype("f8")
            file.attrs["compress"] = True


def _rows_of_act_jpeg() -> Iterator[Row]:
    for number in range(3):
        with h5py.File(f"episode_{number}.hdf5") as file:
            for at in range(5):
                action = np.zeros((5, 2), "f4")
                rest = file["action"][at:]
                action[: len(rest)] = rest
                yield {
                    "jpeg": file["observations/images/cam_high"][at],
                    "nbytes": file["compress_len"][0, at],
                    "action": action,
                }


ROBOTS = [
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
        "LIBERO, with a filter key",
        "`data/demo_i/{actions, obs/*}`; `mask/train` names the episodes to train on",
        """"pick_up_the_bowl_demo.hdf5", {
    "rgb": h5s.Slices(h5s.Grouped("data/demo_*/obs/agentview_rgb"), 3),
    "actions": h5s.Slices(h5s.Grouped("data/demo_*/actions"), 3),
    "demo": h5s.Origin("group"),
    "task": h5s.Constant("data", "problem_info"),
}, subset={"demo": train}""",
        _libero,
        _rows_of_libero,
        before="""with h5py.File("pick_up_the_bowl_demo.hdf5") as file:
    train = file["mask/train"].asstr()[:]
""",
    ),
    Case(
        "act-plus-plus, compressed",
        "an episode a file: JPEG bytes, padded to one width in each file, and their lengths",
        """"episode_*.hdf5", {
    "jpeg": h5s.Dense("observations/images/cam_high", ragged=True),
    "nbytes": h5s.Dense("compress_len", axis=1, inner=0),
    "action": h5s.Slices("action", 5, after=4),
}""",
        _act_jpeg,
        _rows_of_act_jpeg,
    ),
]
