"""A service that predicts with scikit-learn, and starts with Flask alone.

What a request needs is imported by the request: until then, of an image that starts lazily, it has not been downloaded.
"""

import functools
import os

from flask import Flask, jsonify, request
from waitress import serve

app = Flask(__name__)


@functools.cache
def model():
    """Flowers by the lengths and widths of their leaves."""
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier

    flowers = load_iris(as_frame=True)
    names = [str(name) for name in flowers.target_names]
    return RandomForestClassifier(random_state=1).fit(flowers.data.to_numpy(), flowers.target), names


@app.get("/")
def hello():
    return "Hello from an image that is still being downloaded.\n"


@app.get("/healthz")
def healthz():
    return jsonify(status="ok")


@app.get("/predict")
def predict():
    """/predict?leaves=5.1,3.5,1.4,0.2"""
    try:
        leaves = [float(number) for number in request.args.get("leaves", "").split(",")]
    except ValueError:
        leaves = []
    if len(leaves) != 4:
        return jsonify(error="leaves=A,B,C,D: four numbers"), 400
    forest, names = model()
    return jsonify(flower=names[int(forest.predict([leaves])[0])])


if __name__ == "__main__":
    serve(app, host="0.0.0.0", port=int(os.environ.get("PORT", "8080")))
