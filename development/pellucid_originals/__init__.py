"""Networks of Keras and Paddle, run for `pellucid parity` and `bench`: tools for development, outside the wheel.

`PYTHONPATH=development pellucid parity inception_v3 --against keras`, from a checkout. A module here is called as its
library is, and has a function `original`.
"""
