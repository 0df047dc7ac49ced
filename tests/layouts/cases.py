"""Small files as public code bases lay them out, how to ask for them, and their rows.

The rows are read sample by sample with h5py, by code that knows nothing of h5stream.
"""

from __future__ import annotations

from tests.layouts.case import Case
from tests.layouts.images import IMAGES
from tests.layouts.particles import PARTICLES
from tests.layouts.robots import ROBOTS
from tests.layouts.signals import SIGNALS
from tests.layouts.simulations import SIMULATIONS

__all__ = ["CASES", "SECTIONS"]

SECTIONS: dict[str, list[Case]] = {
    "Simulations and weather": SIMULATIONS,
    "Images, volumes and slides": IMAGES,
    "Episodes of robots and games": ROBOTS,
    "Signals, recordings and speech": SIGNALS,
    "Particles, molecules, cells and graphs": PARTICLES,
}

CASES = [case for cases in SECTIONS.values() for case in cases]
