// How well a file is compressed depends on what it is. What this file exports is what the component exports.
import { parse, schema } from "./parameters.js";
import { extension, type } from "./types.js";

let chosen;

export const plugin = {
  describe: () => ({
    name: "file-type-compression",
    version: "0.1.0",
    summary: "Files that are compressed already are stored, texts are compressed as well as can be",
    parameters: JSON.stringify(schema),
  }),

  configure(parameters) {
    chosen = parse(parameters);
  },
};

export const compression = {
  // As it was asked for.
  choose: () => undefined,

  file({ path }) {
    return chosen.extensions.get(extension(path)) ?? chosen[type(path)];
  },
};
