"""Networks as files that others compute: as ONNX graphs, with their preprocessing inside, in fewer bits, as a page."""
