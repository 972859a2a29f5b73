"""TF-Slim's own Inception V3 as a graph, seconds a batch of 32: to be read beside `pellucid bench inception_v3`.

It needs an environment of its own: tensorflow-cpu 2.12, tf-slim and numpy below 1.24. Run the two in turn.
"""

import time
from statistics import median

import numpy as np
import tensorflow.compat.v1 as tf
import tf_slim as slim
from tf_slim.nets import inception_v3

BATCH, SIZE, THREADS, BURN_IN, STEPS = 32, 299, 2, 3, 8

if __name__ == "__main__":
    tf.disable_eager_execution()
    images = tf.placeholder(tf.float32, (BATCH, SIZE, SIZE, 3))
    with slim.arg_scope(inception_v3.inception_v3_arg_scope()):
        logits, _ = inception_v3.inception_v3(images, 1000, is_training=False)
    settings = tf.ConfigProto(intra_op_parallelism_threads=THREADS, inter_op_parallelism_threads=1)
    with tf.Session(config=settings) as session:
        session.run(tf.global_variables_initializer())
        noise = np.random.default_rng(0).random((BATCH, SIZE, SIZE, 3), dtype=np.float32)
        seconds = []
        for _ in range(BURN_IN + STEPS):
            began = time.perf_counter()
            session.run(logits, {images: noise})
            seconds.append(time.perf_counter() - began)
    timed = seconds[BURN_IN:]
    print(f"tf-slim: median {median(timed):.3f} s, {min(timed):.3f} to {max(timed):.3f}")
