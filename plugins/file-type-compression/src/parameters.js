// What people can choose.

const level = (description, byDefault) => ({
  type: "integer",
  minimum: 0,
  maximum: 9,
  default: byDefault,
  description: `gzip level, 0 (stored) to 9 (smallest), ${description}`,
});

export const schema = {
  type: "object",
  additionalProperties: false,
  properties: {
    compressed: level("of files that are compressed already", 0),
    text: level("of texts", 9),
    extensions: {
      type: "object",
      additionalProperties: { type: "integer", minimum: 0, maximum: 9 },
      default: {},
      description: "gzip levels of files with these extensions, such as {\"so\": 6}",
    },
  },
};

/** The parameters of a JSON text. Throws a text that says what is wrong. */
export function parse(json) {
  const given = JSON.parse(json);
  const chosen = { compressed: 0, text: 9, extensions: {}, ...given };
  for (const name of Object.keys(chosen)) {
    if (!Object.hasOwn(schema.properties, name)) {
      throw `there is no parameter ${name}, only ${Object.keys(schema.properties).join(", ")}`;
    }
  }
  const { extensions } = chosen;
  if (typeof extensions !== "object" || extensions === null || Array.isArray(extensions)) {
    throw "extensions must be an object of levels";
  }
  const levels = { compressed: chosen.compressed, text: chosen.text };
  for (const [name, value] of [...Object.entries(levels), ...Object.entries(extensions)]) {
    if (!Number.isInteger(value) || value < 0 || value > 9) {
      throw `the level of ${name} is ${JSON.stringify(value)}, but must be 0 to 9`;
    }
  }
  const spelled = ([name, value]) => [name.replace(/^\./, "").toLowerCase(), value];
  return { ...levels, extensions: new Map(Object.entries(extensions).map(spelled)) };
}
