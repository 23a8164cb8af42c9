from ._launch import browse as browse
