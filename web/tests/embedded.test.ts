import { beforeAll, describe, expect, it } from "vitest";
import { EmbeddedSource } from "../src/data/embedded";
import { Fault } from "../src/data/source";

async function pack(resources: Record<string, unknown>): Promise<string> {
  const stream = new Blob([JSON.stringify(resources)]).stream().pipeThrough(new CompressionStream("gzip"));
  return btoa(String.fromCharCode(...new Uint8Array(await new Response(stream).arrayBuffer())));
}

describe("the data of a report", () => {
  const chunks = [{ index: { schema: 1 }, "r/p/overview": { model: "é" } }, { "r/p/graph/f": [1, 2] }];
  let packed: string[] = [];
  beforeAll(async () => {
    packed = await Promise.all(chunks.map(pack));
  });
  const read: number[] = [];
  const source = new EmbeddedSource(
    {
      schema: 1,
      paths: { index: 0, "r/p/overview": 0, "r/p/graph/f": 1, again: "r/p/graph/f", gone: 7, torn: 0 },
    },
    (number) => {
      read.push(number);
      return packed[number] ?? null;
    },
  );

  it("is inflated when it is asked for, once", async () => {
    expect(read).toEqual([]);
    expect(await source.get("index")).toEqual({ schema: 1 });
    expect(await source.get("r/p/overview")).toEqual({ model: "é" });
    expect(read).toEqual([0]);
  });

  it("may stand in for another", async () => {
    expect(await source.get("again")).toEqual([1, 2]);
  });

  it.each(["nowhere", "gone", "torn", "__proto__", "toString"])(
    "says what is not there: %s",
    async (path) => {
      await expect(source.get(path)).rejects.toBeInstanceOf(Fault);
    },
  );
});
