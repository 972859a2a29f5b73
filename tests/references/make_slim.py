"""What flows in TF-Slim's networks, in double precision. TF-Slim needs an older TensorFlow, and so its own environment:

python -m venv slim && slim/bin/pip install 'tensorflow-cpu==2.12.*' tf-slim 'numpy<1.24'
slim/bin/python -m tests.references.make_slim
"""

import tensorflow.compat.v1 as tf
import tf_slim as slim
from tests.references.seeded import SEED, seeded_image, seeded_weights, write
from tf_slim.nets import inception_v1, inception_v2, inception_v3

CLASSES = 7
# Network, depth multiplier, pixels.
CASES = (("inception_v1", 1.0, 224), ("inception_v2", 0.5, 160), ("inception_v3", 0.5, 224), ("inception_v3", 1.0, 299))


def build(name, image, depth):
    module = {"inception_v1": inception_v1, "inception_v2": inception_v2, "inception_v3": inception_v3}[name]
    narrow = {} if depth == 1.0 else {"depth_multiplier": depth}
    with slim.arg_scope(getattr(module, f"{name}_arg_scope")()):
        return getattr(module, name)(image, CLASSES, is_training=False, **narrow)


def keep(name, depth, size):
    with tf.Graph().as_default(), tf.Session() as session:
        image = tf.placeholder(tf.float64, (1, size, size, 3))
        _, ends = build(name, image, depth)
        variables = {variable.op.name: variable for variable in tf.global_variables()}
        shapes = {key: tuple(variable.shape.as_list()) for key, variable in variables.items()}
        for key, value in seeded_weights(shapes, out_first=False, seed=SEED).items():
            variables[key].load(value, session)
        found = session.run(dict(ends), {image: seeded_image(size, seed=SEED)})
    write(f"slim_{name}_{depth:g}_{size}", shapes, size, found)


if __name__ == "__main__":
    tf.disable_eager_execution()
    for case in CASES:
        keep(*case)
