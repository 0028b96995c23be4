import assert from "node:assert/strict";
import { test } from "node:test";
import { compression, plugin } from "./src/policy.js";

const level = (path) => compression.file({ path }, { bytes: 4096, deflated: 4096 });

test("a file's type chooses", () => {
  plugin.configure("{}");
  assert.equal(level("usr/share/a.tar.GZ"), 0);
  assert.equal(level("usr/lib/python3/os.py"), 9);
  assert.equal(level("usr/share/doc/README"), 9);
  assert.equal(level("usr/bin/python3"), undefined);
  assert.equal(level("usr/lib/libz.so.1"), undefined);
  // A name that begins with a dot is no extension.
  assert.equal(level("root/.zip"), undefined);
});

test("parameters override", () => {
  plugin.configure('{"text": 6, "extensions": {".so": 4, "GZ": 1}}');
  assert.equal(level("a.txt"), 6);
  assert.equal(level("a.so"), 4);
  assert.equal(level("a.gz"), 1);
  assert.equal(level("a.zip"), 0);
});

test("wrong parameters are texts", () => {
  for (const [parameters, why] of [
    ['{"level": 1}', /no parameter level/],
    ['{"text": 10}', /0 to 9/],
    ['{"text": "9"}', /0 to 9/],
    ['{"extensions": {"a": -1}}', /level of a is -1/],
    ['{"extensions": []}', /object/],
  ]) {
    assert.throws(
      () => plugin.configure(parameters),
      (error) => typeof error === "string" && why.test(error),
    );
  }
});

test("the schema says what is taken", () => {
  const { properties } = JSON.parse(plugin.describe().parameters);
  const defaults = Object.entries(properties).map(([name, of]) => [name, of.default]);
  plugin.configure(JSON.stringify(Object.fromEntries(defaults)));
});
