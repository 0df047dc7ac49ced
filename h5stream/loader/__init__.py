"""Loader: a DataLoader that knows where it stands.

Batch k of an epoch comes from lane ``k % T``, and the workers of a rank take turns. So a rank that
was given m batches since batch K of the epoch was given number K + rank, K + rank + world_size,
and so on: one count in the parent tells the place, for any number of ranks and workers that
divides T.

1. The state is the epoch, the number K of batches that all ranks together were given, and the
   plan (`loader`).
2. To go on after K batches, instance i plays the part of instance ``(i + K) % n`` (`source`): its
   first batch is then number K + i, as a DataLoader asks its first worker first. The places of its
   lanes follow from K (`h5stream.pipes.start`).
3. Where only a run can tell how many items a lane gives (after `where`, or a generator in `map`),
   each item brings the place of its lane along (`run`), and the state holds those of the rank.
   Then the number of workers may change, but not that of ranks.
"""

from h5stream.loader.loader import Loader

__all__ = ["Loader"]
