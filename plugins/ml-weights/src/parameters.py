"""What people can choose."""

import json

from spans import Sizes

MIB = 1 << 20


def _size(default: int, description: str) -> dict:
    description += ", in uncompressed bytes"
    return {"type": "integer", "minimum": 1, "maximum": 1 << 40, "default": default, "description": description}


SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "weights": _size(32 * MIB, "largest span in files of weights"),
        "other": _size(2 * MIB, "size of spans elsewhere"),
        "least": _size(16 * MIB, "smallest file that is taken for weights"),
        "extensions": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": [".safetensors", ".gguf", ".ggml", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".h5", ".tflite"],
            "description": "How names of files of weights end, in lower case",
        },
    },
}


def parse(text: str) -> Sizes:
    """The parameters of a JSON text. Raises a ValueError that says what is wrong."""
    given = json.loads(text)
    properties = SCHEMA["properties"]
    for name in given:
        if name not in properties:
            raise ValueError(f"there is no parameter {name}, only {', '.join(properties)}")
    chosen = {name: given.get(name, of["default"]) for name, of in properties.items()}
    for name in ("weights", "other", "least"):
        value, of = chosen[name], properties[name]
        # True is an int, too.
        if type(value) is not int or not of["minimum"] <= value <= of["maximum"]:
            raise ValueError(f"{name} is {json.dumps(value)}, but must be {of['minimum']} to {of['maximum']}")
    extensions = chosen["extensions"]
    if not isinstance(extensions, list) or not all(isinstance(end, str) and end for end in extensions):
        raise ValueError("extensions must be a list of texts")
    return Sizes(chosen["weights"], chosen["other"], chosen["least"], tuple(extensions))
