import { gunzipSync, inflateRawSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { acceptsGzip, fromCache, fromText, gzip } from "../../lib/platform/compress.ts";

describe("gzip", () => {
  it("makes one member of a head and whatever end", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.json()), fc.string({ unit: "grapheme" }), (head, tail) => {
        const bytes = gzip(fromText(head).deflated(), tail);
        const text = Buffer.from(head + tail).toString();
        expect(gunzipSync(bytes).toString()).toBe(text); // checksum and length are right
        expect(inflateRawSync(bytes.subarray(10, -8)).toString()).toBe(text); // all of it is in the first member
      }),
    );
  });

  it("keeps a head as it was written, with any number of ends", () => {
    const text = JSON.stringify({ data: Array(1_000).fill("漢 👍") });
    const { bytes, crc, length } = fromText(text).deflated();
    const head = fromCache({ bytes, crc, length }, fromText(text).digest());
    expect(head.text()).toBe(text);
    expect(head.digest()).toEqual(fromText(text).digest());
    expect(head.digest()).not.toEqual(fromText(`${text} `).digest());
    for (const tail of ['"1"}', '"2"}']) expect(gunzipSync(gzip(head.deflated(), tail)).toString()).toBe(text + tail);
  });
});

describe("acceptsGzip", () => {
  it.each([
    ["gzip, deflate, br", true],
    ["GZIP", true],
    ["x-gzip", true],
    ["*", true],
    ["br;q=1, gzip;q=0.001", true],
    ["identity;q=0.5, gzip;q=0.5", true],
    [undefined, false],
    ["", false],
    ["br, deflate", false],
    ["identity", false],
    ["gzip;q=0", false],
    ["gzip; Q=0.0 , *", false],
    ["*;q=0", false],
    ["gzip;q=nonsense", false],
    ["identity, gzip;q=0.5", false],
    ["gzipped", false],
  ])("of Accept-Encoding %j: %s", (header, expected) => {
    expect(acceptsGzip(header)).toBe(expected);
  });
});
