"""The whole account of a function's curvature at a point: spectrum, parts, blocks, planes, figures and a page."""
