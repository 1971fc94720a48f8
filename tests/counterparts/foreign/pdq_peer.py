"""pdqhash (PyPI): hash and quality of pixels in .npy files; the paths are arguments, the answer is JSON."""

import json
import sys

import numpy as np
import pdqhash


def main():
    found = []
    for path in sys.argv[1:]:
        for pixels in np.load(path):
            vector, quality = pdqhash.compute(pixels)
            found.append([np.packbits(vector).tobytes().hex(), int(quality)])
    sys.stdout.write(json.dumps(found))


main()
