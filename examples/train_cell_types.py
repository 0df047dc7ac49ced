"""Train a classifier of blood cells, streamed and shuffled from one HDF5 file.

The file comes with h5stream: 700 cells, 765 genes, and the cluster of each cell. A checksum of a
cell's barcode decides whether it is trained on or held out, so the split is the same in every run.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch

import h5stream as h5s

EPOCHS, BATCH_SIZE, SEED = 20, 64, 0
FIELDS = {"x": "X", "cluster": "obs[louvain]", "barcode": "obs[index]"}


def is_held_out(columns: dict[str, np.ndarray]) -> np.ndarray:
    return np.array([zlib.crc32(barcode) % 5 == 0 for barcode in columns["barcode"].tolist()])


def is_trained_on(columns: dict[str, np.ndarray]) -> np.ndarray:
    return ~is_held_out(columns)


def main() -> None:
    cells = h5s.open_files(h5s.example_file(), FIELDS).list_chunks()
    training = (
        cells.shuffle_chunks(SEED)
        .read_chunks()
        .shuffle_rows()
        .where(is_trained_on)
        .batch(BATCH_SIZE)
        .collate()
    )
    testing = cells.read_chunks().where(is_held_out).batch(BATCH_SIZE).collate()

    torch.set_num_threads(1)  # plenty for this model; the other cores decode
    torch.manual_seed(SEED)
    model = torch.nn.Sequential(
        torch.nn.Dropout(0.5),
        torch.nn.Linear(765, 64),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(64, 11),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    for epoch in range(EPOCHS):
        losses = []
        for batch in training:  # another order in every epoch
            loss = torch.nn.functional.cross_entropy(model(batch["x"]), batch["cluster"].long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1:>2}  loss {np.mean(losses):.3f}")

    model.eval()
    with torch.no_grad():
        right = torch.cat([model(b["x"]).argmax(1) == b["cluster"] for b in testing])
    print(f"{len(right)} held-out cells, {right.double().mean():.1%} classified correctly")


if __name__ == "__main__":
    main()
