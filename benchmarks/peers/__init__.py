"""h5stream beside what people move to when they leave HDF5, or stay with: one module for each peer.

Each module is a peer, in the form that its documentation recommends, behind one small contract:

REQUIREMENTS : list of str
    What pip installs for it, into a virtual environment of its own.
prepare(source, folder) -> None
    Convert the HDF5 file `source` into what the peer reads, in `folder`. Peers that read HDF5 do
    nothing.
batches(source, folder, *, batch_size, workers, case) -> iterable
    One shuffled epoch of batches of tensors; `case.collate` makes a batch of samples, where the
    peer leaves that to its user.

Run ``python -m benchmarks.peers.run``; see there.
"""
