"""A folder of pictures through PyTorch's DataLoader, as its tutorials do: Pillow opens, resizes and crops each.

Prints pictures a second of one epoch, after one that is not counted: arguments are the folder, the side, the batch
size and the number of processes.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset


class Pictures(Dataset):
    """`side` x `side` RGB in [-1, 1], channels first, and the number of the folder."""

    def __init__(self, folder: Path, side: int):
        self._paths, self._side = sorted(folder.rglob("*.jpg")), side
        self._labels = {name: i for i, name in enumerate(sorted({path.parent.name for path in self._paths}))}

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        path, side = self._paths[i], self._side
        with Image.open(path) as opened:
            opened.draft("RGB", (2 * side, 2 * side))
            picture = opened.convert("RGB")
        scale = side / min(picture.size)
        width, height = (max(side, round(scale * length)) for length in picture.size)
        left, top = (width - side) // 2, (height - side) // 2
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        x = torch.from_numpy(np.asarray(picture.crop((left, top, left + side, top + side))).copy())
        return x.permute(2, 0, 1).float().div_(127.5).sub_(1), self._labels[path.parent.name]


if __name__ == "__main__":
    side, batch_size, processes = map(int, sys.argv[2:])
    pictures = Pictures(Path(sys.argv[1]), side)
    loader = DataLoader(pictures, batch_size, shuffle=True, num_workers=processes, persistent_workers=processes > 0)
    rates = []
    for _ in range(2):
        began, seen = time.perf_counter(), 0
        for x, _ in loader:
            seen += len(x)
        rates.append(seen / (time.perf_counter() - began))
    print(rates[-1])
